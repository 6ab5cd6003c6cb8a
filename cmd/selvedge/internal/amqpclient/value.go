package amqpclient

import (
	"encoding/binary"
	"errors"
)

// ErrMalformed is the error of bytes that are no AMQP.
var ErrMalformed = errors.New("malformed AMQP")

// value is one encoded value: a number, bytes, or the items of a list or map
// still encoded. Null is the zero value.
type value struct {
	code  byte
	num   uint64 // of fixed-width types up to 8 bytes
	bytes []byte // of variable-width types: content; of lists and maps: the items
	count int    // items

	described  bool
	descriptor uint64 // the numeric one; 0 if it is a symbol
}

// next reads the value at the start of b and returns the rest.
// [types 1.2]
func next(b []byte) (v value, rest []byte, err error) {
	if len(b) > 0 && b[0] == 0 {
		d, rest, err := primitive(b[1:])
		if err != nil {
			return value{}, nil, err
		}
		v, rest, err = primitive(rest)
		v.described, v.descriptor = true, d.num
		return v, rest, err
	}
	return primitive(b)
}

// primitive reads a value without a descriptor. The first half of the code says
// how long it is.
func primitive(b []byte) (v value, rest []byte, err error) {
	if len(b) == 0 {
		return value{}, nil, ErrMalformed
	}
	v.code, b = b[0], b[1:]
	switch v.code >> 4 {
	case 0x4:
		if v.code == codeTrue {
			v.num = 1
		}
		return v, b, nil
	case 0x5, 0x6, 0x7, 0x8, 0x9:
		return fixed(v, b, 1<<(v.code>>4-5))
	case 0xa, 0xb:
		return sized(v, b, v.code>>4 == 0xb, false)
	case 0xc, 0xd, 0xe, 0xf:
		return sized(v, b, v.code>>4&1 == 1, true)
	default:
		return value{}, nil, ErrMalformed
	}
}

func fixed(v value, b []byte, width int) (value, []byte, error) {
	if len(b) < width {
		return value{}, nil, ErrMalformed
	}
	if width <= 8 {
		for _, c := range b[:width] {
			v.num = v.num<<8 | uint64(c)
		}
	}
	v.bytes = b[:width]
	return v, b[width:], nil
}

// sized reads a value whose length, and perhaps count of items, stands in front
// of it, in one byte or in four.
func sized(v value, b []byte, wide, counted bool) (value, []byte, error) {
	width := 1
	if wide {
		width = 4
	}
	n, b, ok := number(b, width)
	if !ok || uint64(len(b)) < n {
		return value{}, nil, ErrMalformed
	}
	v.bytes, b = b[:n], b[n:]
	if counted {
		count, items, ok := number(v.bytes, width)
		if !ok || count > uint64(len(items)) && count > 0 && v.code>>4 < 0xe {
			return value{}, nil, ErrMalformed
		}
		v.count, v.bytes = int(min(count, 1<<31-1)), items
	}
	return v, b, nil
}

func number(b []byte, width int) (uint64, []byte, bool) {
	switch {
	case len(b) < width:
		return 0, nil, false
	case width == 1:
		return uint64(b[0]), b[1:], true
	default:
		return uint64(binary.BigEndian.Uint32(b)), b[4:], true
	}
}

// fields reads the items of a list into a fixed set; those that are absent stay
// null, those beyond it are ignored.
func (v value) fields(into []value) error {
	b := v.bytes
	for i := range min(v.count, len(into)) {
		var err error
		if into[i], b, err = next(b); err != nil {
			return err
		}
	}
	return nil
}

// null reports whether there is no value.
func (v value) null() bool { return v.code == 0 || v.code == codeNull }

// text is a string, symbol or binary as text.
func (v value) text() string {
	if v.code>>4 == 0xa || v.code>>4 == 0xb {
		return string(v.bytes)
	}
	return ""
}

// number is a number, or other if there is none.
func (v value) number(other uint64) uint64 {
	if v.null() {
		return other
	}
	return v.num
}

// truth is a boolean, or false.
func (v value) truth() bool { return v.num == 1 }
