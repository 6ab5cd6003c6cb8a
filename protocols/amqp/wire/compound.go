package wire

// compound reads the size and the count of a list or map and checks them: the
// bytes are there, and each element has one at least. It returns where the
// compound ends.
func (r *Reader) compound(c byte) (count, end int) {
	if c == codeList0 {
		return 0, r.off
	}
	size := r.size(c)
	start := r.off
	end = start + size
	n := r.number(c)
	if r.err == nil && (r.off > end || uint64(n) > uint64(end-r.off)) { //nolint:gosec // the left side guards
		r.failAt(start, "more elements than bytes")
	}
	if r.err != nil {
		return 0, r.off
	}
	return int(n), end
}

func (r *Reader) list(c byte) List {
	if !r.enter() {
		return nil
	}
	defer r.leave()
	n, end := r.compound(c)
	if !r.spend(n) {
		return nil
	}
	outer := r.end
	r.end = end
	l := make(List, 0, n)
	for range n {
		l = append(l, r.Value())
		if r.err != nil {
			break
		}
	}
	r.finish(end, outer)
	return l
}

// finish checks that a compound is read to its end, and goes back to what
// encloses it.
func (r *Reader) finish(end, outer int) {
	if r.err == nil && r.off != end {
		r.Fail("elements do not fill their list, map or array")
	}
	r.end = outer
}

// Map reads a map.
func (r *Reader) Map() Map {
	c := r.code()
	if types[c] != TypeMap {
		r.mismatch(TypeMap, c)
		return nil
	}
	return r.mapping(c)
}

func (r *Reader) mapping(c byte) Map {
	if !r.enter() {
		return nil
	}
	defer r.leave()
	n, end := r.compound(c)
	if n%2 != 0 {
		r.Fail("a map has a key without a value")
	}
	if !r.spend(n) {
		return nil
	}
	outer := r.end
	r.end = end
	m := make(Map, 0, n/2)
	for range n / 2 {
		m = append(m, Entry{Key: r.Value(), Value: r.Value()})
		if r.err != nil {
			break
		}
	}
	r.finish(end, outer)
	return m
}

// arrayHead reads an array up to its elements. [types 1.6.24]
func (r *Reader) arrayHead(c byte) (n, end int, descriptors []any, elem byte) {
	size := r.size(c)
	end = r.off + size
	count := r.number(c)
	if r.err == nil && r.off > end {
		r.Fail("an array has no room for its count")
	}
	outer := r.end
	r.end = end
	for elem = r.code(); elem == codeDescribed && r.err == nil; elem = r.code() {
		if len(descriptors) >= r.depth {
			r.Fail("values are nested too deep")
			break
		}
		descriptors = append(descriptors, r.Value())
	}
	r.end = outer
	if r.err != nil {
		return 0, end, nil, elem
	}
	if types[elem] == TypeInvalid {
		r.failAt(r.off-1, "unknown format code")
		return 0, end, nil, elem
	}
	width := widths[elem>>4] % variable                                                        // at least that many bytes each
	if uint64(count)*uint64(width) > uint64(end-r.off) || uint64(count) > uint64(r.elements) { //nolint:gosec // both are positive
		r.Fail("too many elements")
		return 0, end, nil, elem
	}
	return int(count), end, descriptors, elem
}

func (r *Reader) array(c byte) Array {
	if !r.enter() {
		return Array{}
	}
	defer r.leave()
	n, end, descriptors, elem := r.arrayHead(c)
	if !r.spend(n) {
		return Array{}
	}
	outer := r.end
	r.end = end
	a := Array{Type: types[elem], Descriptors: descriptors, Elements: make([]any, 0, n)}
	for range n {
		a.Elements = append(a.Elements, r.value(elem))
		if r.err != nil {
			break
		}
	}
	r.finish(end, outer)
	return a
}

// Symbols reads a field of symbols with multiple=true: null, one symbol, or an
// array of them; a list is taken too. It returns nil for null. [transport 1.4]
func (r *Reader) Symbols() []Symbol {
	switch r.Peek() {
	case TypeNull:
		r.Null()
		return nil
	case TypeArray:
		return r.symbolsOf(r.array(r.code()).Elements)
	case TypeList:
		return r.symbolsOf(r.list(r.code()))
	default:
		return []Symbol{r.Symbol()}
	}
}

func (r *Reader) symbolsOf(values []any) []Symbol {
	s := make([]Symbol, 0, len(values))
	for _, v := range values {
		symbol, ok := v.(Symbol)
		if !ok {
			r.Fail("an element is no symbol")
			return nil
		}
		s = append(s, symbol)
	}
	return s
}
