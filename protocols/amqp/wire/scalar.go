package wire

import (
	"math"
	"unicode/utf8"
)

// Bool reads a boolean.
func (r *Reader) Bool() bool {
	c := r.code()
	if types[c] != TypeBool {
		r.mismatch(TypeBool, c)
		return false
	}
	return r.boolean(c)
}

func (r *Reader) boolean(c byte) bool {
	if c != codeBool {
		return c == codeTrue
	}
	b := r.u8()
	if b > 1 {
		r.failAt(r.off-1, "a boolean is neither 0 nor 1")
	}
	return b == 1
}

// Ubyte reads a ubyte.
func (r *Reader) Ubyte() uint8 {
	if c := r.code(); c != codeUbyte {
		r.mismatch(TypeUbyte, c)
		return 0
	}
	return r.u8()
}

// Ushort reads a ushort.
func (r *Reader) Ushort() uint16 {
	if c := r.code(); c != codeUshort {
		r.mismatch(TypeUshort, c)
		return 0
	}
	return r.u16()
}

// Uint reads a uint.
func (r *Reader) Uint() uint32 {
	c := r.code()
	if types[c] != TypeUint {
		r.mismatch(TypeUint, c)
		return 0
	}
	return r.uint(c)
}

func (r *Reader) uint(c byte) uint32 {
	switch c {
	case codeUint:
		return r.u32()
	case codeSmallUint:
		return uint32(r.u8())
	}
	return 0
}

// Ulong reads a ulong.
func (r *Reader) Ulong() uint64 {
	c := r.code()
	if types[c] != TypeUlong {
		r.mismatch(TypeUlong, c)
		return 0
	}
	return r.ulong(c)
}

func (r *Reader) ulong(c byte) uint64 {
	switch c {
	case codeUlong:
		return r.u64()
	case codeSmallUlong:
		return uint64(r.u8())
	}
	return 0
}

func (r *Reader) int(c byte) int32 {
	if c == codeSmallInt {
		return int32(int8(r.u8())) //nolint:gosec // two's complement
	}
	return int32(r.u32()) //nolint:gosec // two's complement
}

func (r *Reader) long(c byte) int64 {
	if c == codeSmallLong {
		return int64(int8(r.u8())) //nolint:gosec // two's complement
	}
	return int64(r.u64()) //nolint:gosec // two's complement
}

func (r *Reader) float() float32  { return math.Float32frombits(r.u32()) }
func (r *Reader) double() float64 { return math.Float64frombits(r.u64()) }

// Timestamp reads a timestamp.
func (r *Reader) Timestamp() Timestamp {
	if c := r.code(); c != codeTimestamp {
		r.mismatch(TypeTimestamp, c)
		return 0
	}
	return Timestamp(r.u64()) //nolint:gosec // two's complement
}

func (r *Reader) char() Char {
	c := r.u32()
	if c > utf8.MaxRune || !utf8.ValidRune(rune(c)) {
		r.failAt(r.off-4, "a char is no code point")
		return 0
	}
	return Char(c)
}

func (r *Reader) uuid() UUID {
	var u UUID
	copy(u[:], r.take(len(u)))
	return u
}

// Binary reads a binary. It aliases the reader's bytes and is not nil, unless
// the reader failed.
func (r *Reader) Binary() []byte {
	c := r.code()
	if types[c] != TypeBinary {
		r.mismatch(TypeBinary, c)
		return nil
	}
	return r.take(r.size(c))
}

// String reads a string.
func (r *Reader) String() string {
	c := r.code()
	if types[c] != TypeString {
		r.mismatch(TypeString, c)
		return ""
	}
	return r.text(c)
}

func (r *Reader) text(c byte) string { return string(r.textBytes(c)) }

func (r *Reader) textBytes(c byte) []byte {
	b := r.take(r.size(c))
	if !utf8.Valid(b) {
		r.failAt(r.off-len(b), "a string is not valid UTF-8")
		return nil
	}
	return b
}

// Symbol reads a symbol.
func (r *Reader) Symbol() Symbol {
	c := r.code()
	if types[c] != TypeSymbol {
		r.mismatch(TypeSymbol, c)
		return ""
	}
	return Symbol(r.symbol(c))
}

func (r *Reader) symbol(c byte) []byte {
	b := r.take(r.size(c))
	for _, ch := range b {
		if ch >= utf8.RuneSelf {
			r.failAt(r.off-len(b), "a symbol is not ASCII")
			return nil
		}
	}
	return b
}

// Text reads a string as bytes, which alias the reader's.
func (r *Reader) Text() []byte {
	c := r.code()
	if types[c] != TypeString {
		r.mismatch(TypeString, c)
		return nil
	}
	return r.textBytes(c)
}
