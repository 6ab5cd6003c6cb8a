package wire

// ListWriter appends a described list, field by field. Nulls at its end are
// left out, and the smallest encoding of the list is used. It does not
// allocate, beyond growing the buffer.
type ListWriter struct {
	buf   []byte
	start int
	count int
	nulls int // that were not written yet
}

// BeginList starts a described list at the end of dst.
func BeginList(dst []byte, descriptor uint64) ListWriter {
	dst = AppendDescriptor(dst, descriptor)
	return ListWriter{start: len(dst), buf: append(dst, codeList8, 0, 0)}
}

// End returns the buffer with the whole list.
func (w *ListWriter) End() []byte {
	if w.count == 0 {
		return append(w.buf[:w.start], codeList0)
	}
	return closeCompound(w.buf, w.start, w.count)
}

// Begin returns the buffer, for one value to be appended; give it to Put then.
func (w *ListWriter) Begin() []byte {
	for ; w.nulls > 0; w.nulls-- {
		w.buf = append(w.buf, codeNull)
		w.count++
	}
	return w.buf
}

// Put takes the buffer back, with one more value.
func (w *ListWriter) Put(buf []byte) {
	w.buf = buf
	w.count++
}

// Null leaves a field out.
func (w *ListWriter) Null() { w.nulls++ }

// Bool writes a boolean.
func (w *ListWriter) Bool(v bool) { w.Put(AppendBool(w.Begin(), v)) }

// Flag writes a boolean whose default is false.
func (w *ListWriter) Flag(v bool) {
	if !v {
		w.Null()
		return
	}
	w.Bool(true)
}

// Ubyte writes a ubyte.
func (w *ListWriter) Ubyte(v uint8) { w.Put(AppendUbyte(w.Begin(), v)) }

// Ushort writes a ushort.
func (w *ListWriter) Ushort(v uint16) { w.Put(AppendUshort(w.Begin(), v)) }

// Uint writes a uint.
func (w *ListWriter) Uint(v uint32) { w.Put(AppendUint(w.Begin(), v)) }

// Ulong writes a ulong.
func (w *ListWriter) Ulong(v uint64) { w.Put(AppendUlong(w.Begin(), v)) }

// Timestamp writes a timestamp.
func (w *ListWriter) Timestamp(v Timestamp) { w.Put(AppendTimestamp(w.Begin(), v)) }

// String writes a string.
func (w *ListWriter) String(v string) { w.Put(AppendString(w.Begin(), v)) }

// Symbol writes a symbol.
func (w *ListWriter) Symbol(v Symbol) { w.Put(AppendSymbol(w.Begin(), v)) }

// Binary writes a binary.
func (w *ListWriter) Binary(v []byte) { w.Put(AppendBinary(w.Begin(), v)) }

// Value writes a value of any type.
func (w *ListWriter) Value(v any) {
	if v == nil {
		w.Null()
		return
	}
	w.Put(AppendValue(w.Begin(), v))
}

// Symbols writes symbols with multiple=true, as an array.
func (w *ListWriter) Symbols(v []Symbol) { w.Put(AppendSymbols(w.Begin(), v)) }

// OptBool writes a boolean that may be absent.
func (w *ListWriter) OptBool(v Optional[bool]) {
	if !v.Set {
		w.Null()
		return
	}
	w.Bool(v.Value)
}

// OptUbyte writes a ubyte that may be absent.
func (w *ListWriter) OptUbyte(v Optional[uint8]) {
	if !v.Set {
		w.Null()
		return
	}
	w.Ubyte(v.Value)
}

// OptUshort writes a ushort that may be absent.
func (w *ListWriter) OptUshort(v Optional[uint16]) {
	if !v.Set {
		w.Null()
		return
	}
	w.Ushort(v.Value)
}

// OptUint writes a uint that may be absent.
func (w *ListWriter) OptUint(v Optional[uint32]) {
	if !v.Set {
		w.Null()
		return
	}
	w.Uint(v.Value)
}

// OptTimestamp writes a timestamp that may be absent.
func (w *ListWriter) OptTimestamp(v Optional[Timestamp]) {
	if !v.Set {
		w.Null()
		return
	}
	w.Timestamp(v.Value)
}

// OptString writes a string that may be absent.
func (w *ListWriter) OptString(v Optional[string]) {
	if !v.Set {
		w.Null()
		return
	}
	w.String(v.Value)
}

// Text writes a string; empty means absent.
func (w *ListWriter) Text(v string) {
	if v == "" {
		w.Null()
		return
	}
	w.String(v)
}

// OptSymbol writes a symbol; empty means absent.
func (w *ListWriter) OptSymbol(v Symbol) {
	if v == "" {
		w.Null()
		return
	}
	w.Symbol(v)
}

// OptSymbols writes symbols with multiple=true; nil means absent.
func (w *ListWriter) OptSymbols(v []Symbol) {
	if v == nil {
		w.Null()
		return
	}
	w.Symbols(v)
}

// OptBinary writes a binary; nil means absent.
func (w *ListWriter) OptBinary(v []byte) {
	if v == nil {
		w.Null()
		return
	}
	w.Binary(v)
}

// OptMap writes a map; nil means absent.
func (w *ListWriter) OptMap(v Map) {
	if v == nil {
		w.Null()
		return
	}
	w.Put(AppendMap(w.Begin(), v))
}

// OptUlong writes a ulong that may be absent.
func (w *ListWriter) OptUlong(v Optional[uint64]) {
	if !v.Set {
		w.Null()
		return
	}
	w.Ulong(v.Value)
}
