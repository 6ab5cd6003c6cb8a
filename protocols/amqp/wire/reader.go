package wire

import "encoding/binary"

// Limits bound what decoding may cost. Zero fields mean the default.
type Limits struct {
	Depth    int // of nested lists, maps, arrays and described values; default 32
	Elements int // of all lists, maps and arrays together; default 65536
}

// The default limits.
const (
	DefaultDepth    = 32
	DefaultElements = 1 << 16
)

// Reader reads values from bytes. Its first failure is kept: reads after it
// return zero values, [Reader.Err] returns it. Binaries alias the bytes,
// everything else is copied. It never panics.
type Reader struct {
	buf      []byte
	off      int
	end      int // of the enclosing list, or of buf
	depth    int // levels left
	elements int // elements left
	field    string
	err      *Error
}

// NewReader returns a reader of the bytes.
func NewReader(b []byte, l Limits) Reader {
	var r Reader
	r.Reset(b, l)
	return r
}

// Reset makes r a new reader of the bytes.
func (r *Reader) Reset(b []byte, l Limits) {
	if l.Depth == 0 {
		l.Depth = DefaultDepth
	}
	if l.Elements == 0 {
		l.Elements = DefaultElements
	}
	*r = Reader{buf: b, end: len(b), depth: l.Depth, elements: l.Elements}
}

// Err returns the first failure, an *[Error], or nil.
func (r *Reader) Err() error {
	if r.err == nil {
		return nil
	}
	return r.err
}

// Offset returns where the next value starts.
func (r *Reader) Offset() int { return r.off }

// Len returns the number of bytes that are not read yet.
func (r *Reader) Len() int { return r.end - r.off }

// Rest returns the bytes that are not read yet.
func (r *Reader) Rest() []byte { return r.buf[r.off:r.end] }

// Fail makes the reader fail, if it has not failed yet.
func (r *Reader) Fail(reason string) { r.failAt(r.off, reason) }

func (r *Reader) failAt(off int, reason string) {
	if r.err == nil {
		r.err = &Error{Offset: off, Field: r.field, Reason: reason}
		r.off = r.end
	}
}

// Peek returns the type of the next value: TypeInvalid at the end.
func (r *Reader) Peek() Type {
	if r.err != nil || r.off >= r.end {
		return TypeInvalid
	}
	return types[r.buf[r.off]]
}

// Null consumes the next value if it is null, and reports whether it was.
func (r *Reader) Null() bool {
	if r.err == nil && r.off < r.end && r.buf[r.off] == codeNull {
		r.off++
		return true
	}
	return false
}

// take returns the next n bytes; nil when there are fewer.
func (r *Reader) take(n int) []byte {
	if r.err != nil {
		return nil
	}
	if n > r.end-r.off {
		r.Fail("the data ends inside a value")
		return nil
	}
	b := r.buf[r.off : r.off+n : r.off+n]
	r.off += n
	return b
}

func (r *Reader) code() byte { return r.u8() }

func (r *Reader) u8() uint8 {
	if r.err != nil || r.off >= r.end {
		r.Fail("the data ends inside a value")
		return 0
	}
	b := r.buf[r.off]
	r.off++
	return b
}

func (r *Reader) u16() uint16 {
	if b := r.take(2); b != nil {
		return binary.BigEndian.Uint16(b)
	}
	return 0
}

func (r *Reader) u32() uint32 {
	if b := r.take(4); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

func (r *Reader) u64() uint64 {
	if b := r.take(8); b != nil {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}

// size reads the size or count field of a format code with variable width: it
// has one byte in the even rows (0xa, 0xc, 0xe) and four in 0xb, 0xd and 0xf.
// A number greater than the bytes left is a failure; zero is returned then.
func (r *Reader) size(code byte) int {
	n := r.number(code)
	if uint64(n) > uint64(r.end-r.off) { //nolint:gosec // off never passes end
		r.Fail("a size is larger than what encloses it")
		return 0
	}
	return int(n)
}

func (r *Reader) number(code byte) uint32 {
	if narrow(code) {
		return uint32(r.u8())
	}
	return r.u32()
}

func narrow(code byte) bool { return code&0x10 == 0 }

// enter goes one level down; false means too deep.
func (r *Reader) enter() bool {
	if r.depth == 0 {
		r.Fail("values are nested too deep")
		return false
	}
	r.depth--
	return r.err == nil
}

func (r *Reader) leave() { r.depth++ }

// spend counts n elements; false means too many.
func (r *Reader) spend(n int) bool {
	if n > r.elements {
		r.Fail("too many elements")
		return false
	}
	r.elements -= n
	return r.err == nil
}

// mismatch fails because the value at the byte before is of another type.
func (r *Reader) mismatch(want Type, code byte) {
	if r.err == nil {
		r.failAt(r.off-1, "got "+types[code].String()+", want "+want.String())
	}
}
