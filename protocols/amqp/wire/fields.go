package wire

// Fields reads the fields of a composite type in their order. A field past the
// end of the list is absent, as null is; fields past the known ones are
// ignored. Failures are kept by the reader. [types 1.4]
type Fields struct {
	r     *Reader
	left  int
	end   int
	outer int
}

// Fields reads the start of a list.
func (r *Reader) Fields() Fields {
	f := Fields{r: r, outer: r.end}
	c := r.code()
	if types[c] != TypeList {
		r.mismatch(TypeList, c)
	}
	if r.err != nil || !r.enter() {
		f.end = r.end
		return f
	}
	f.left, f.end = r.compound(c)
	r.end = f.end
	return f
}

// End passes over the fields that were not read and leaves the list.
func (f *Fields) End() {
	f.r.end = f.outer
	f.r.field = ""
	if f.r.err == nil {
		f.r.off = f.end
		f.r.leave()
	}
}

// Fail makes the reader fail, if it has not failed yet.
func (f *Fields) Fail(reason string) { f.r.Fail(reason) }

// next goes to the next field and reports whether it is present.
func (f *Fields) next(name string) bool {
	if f.left == 0 || f.r.err != nil {
		return false
	}
	f.left--
	f.r.field = name
	return !f.r.Null()
}

// need goes to the next field, which is mandatory.
func (f *Fields) need(name string) bool {
	if f.next(name) {
		return true
	}
	if f.r.err == nil {
		f.r.err = &Error{Offset: f.r.off, Field: name, Reason: "is mandatory", Missing: true}
	}
	return false
}

// Present goes to the next field and reports whether it is there. When it is,
// the caller reads it from the reader.
func (f *Fields) Present(name string) (*Reader, bool) { return f.r, f.next(name) }

// Bool reads a boolean; absent means false.
func (f *Fields) Bool(name string) bool { return f.next(name) && f.r.Bool() }

// OptBool reads a boolean.
func (f *Fields) OptBool(name string) Optional[bool] {
	if !f.next(name) {
		return Optional[bool]{}
	}
	return Some(f.r.Bool())
}

// OptUbyte reads a ubyte.
func (f *Fields) OptUbyte(name string) Optional[uint8] {
	if !f.next(name) {
		return Optional[uint8]{}
	}
	return Some(f.r.Ubyte())
}

// OptUshort reads a ushort.
func (f *Fields) OptUshort(name string) Optional[uint16] {
	if !f.next(name) {
		return Optional[uint16]{}
	}
	return Some(f.r.Ushort())
}

// OptUint reads a uint.
func (f *Fields) OptUint(name string) Optional[uint32] {
	if !f.next(name) {
		return Optional[uint32]{}
	}
	return Some(f.r.Uint())
}

// OptUlong reads a ulong.
func (f *Fields) OptUlong(name string) Optional[uint64] {
	if !f.next(name) {
		return Optional[uint64]{}
	}
	return Some(f.r.Ulong())
}

// OptTimestamp reads a timestamp.
func (f *Fields) OptTimestamp(name string) Optional[Timestamp] {
	if !f.next(name) {
		return Optional[Timestamp]{}
	}
	return Some(f.r.Timestamp())
}

// OptString reads a string.
func (f *Fields) OptString(name string) Optional[string] {
	if !f.next(name) {
		return Optional[string]{}
	}
	return Some(f.r.String())
}

// String reads a string; absent means empty.
func (f *Fields) String(name string) string { return f.OptString(name).Value }

// Symbol reads a symbol; absent means empty.
func (f *Fields) Symbol(name string) Symbol {
	if !f.next(name) {
		return ""
	}
	return f.r.Symbol()
}

// Symbols reads symbols with multiple=true; absent means nil.
func (f *Fields) Symbols(name string) []Symbol {
	if !f.next(name) {
		return nil
	}
	return f.r.Symbols()
}

// Binary reads a binary, which aliases the reader's bytes; absent means nil.
func (f *Fields) Binary(name string) []byte {
	if !f.next(name) {
		return nil
	}
	return f.r.Binary()
}

// Map reads a map; absent means nil.
func (f *Fields) Map(name string) Map {
	if !f.next(name) {
		return nil
	}
	return f.r.Map()
}

// Value reads a value of any type; absent means nil.
func (f *Fields) Value(name string) any {
	if !f.next(name) {
		return nil
	}
	return f.r.Value()
}

// Composite reads the descriptor of a composite type, whose fields come from
// the second result; End it. The third is false when the field is absent or
// the reader failed.
func (f *Fields) Composite(name string, symbols map[string]uint64) (uint64, Fields, bool) {
	if !f.next(name) {
		return 0, Fields{}, false
	}
	code := f.r.Descriptor(symbols)
	in := f.r.Fields()
	return code, in, f.r.err == nil
}

// NeedBool reads a mandatory boolean.
func (f *Fields) NeedBool(name string) bool { return f.need(name) && f.r.Bool() }

// NeedUbyte reads a mandatory ubyte.
func (f *Fields) NeedUbyte(name string) uint8 {
	if !f.need(name) {
		return 0
	}
	return f.r.Ubyte()
}

// NeedUint reads a mandatory uint.
func (f *Fields) NeedUint(name string) uint32 {
	if !f.need(name) {
		return 0
	}
	return f.r.Uint()
}

// NeedUlong reads a mandatory ulong.
func (f *Fields) NeedUlong(name string) uint64 {
	if !f.need(name) {
		return 0
	}
	return f.r.Ulong()
}

// NeedString reads a mandatory string.
func (f *Fields) NeedString(name string) string {
	if !f.need(name) {
		return ""
	}
	return f.r.String()
}

// NeedSymbol reads a mandatory symbol.
func (f *Fields) NeedSymbol(name string) Symbol {
	if !f.need(name) {
		return ""
	}
	return f.r.Symbol()
}

// NeedSymbols reads mandatory symbols with multiple=true.
func (f *Fields) NeedSymbols(name string) []Symbol {
	if !f.need(name) {
		return nil
	}
	return f.r.Symbols()
}

// NeedBinary reads a mandatory binary, which aliases the reader's bytes.
func (f *Fields) NeedBinary(name string) []byte {
	if !f.need(name) {
		return nil
	}
	return f.r.Binary()
}
