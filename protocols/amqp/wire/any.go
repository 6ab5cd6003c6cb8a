package wire

import "bytes"

// Value reads a value of any type. Nothing in it aliases the reader's bytes.
func (r *Reader) Value() any {
	c := r.code()
	if r.err != nil {
		return nil
	}
	if c == codeDescribed {
		return r.described()
	}
	return r.value(c)
}

func (r *Reader) described() any {
	if !r.enter() {
		return nil
	}
	defer r.leave()
	if !r.spend(2) {
		return nil
	}
	return Described{Descriptor: r.Value(), Value: r.Value()}
}

// value reads what follows the format code of a value.
func (r *Reader) value(c byte) any {
	switch types[c] {
	case TypeNull:
		return nil
	case TypeBinary:
		return bytes.Clone(r.take(r.size(c)))
	case TypeString:
		return r.text(c)
	case TypeSymbol:
		return Symbol(r.symbol(c))
	case TypeList:
		return r.list(c)
	case TypeMap:
		return r.mapping(c)
	case TypeArray:
		return r.array(c)
	case TypeInvalid, TypeDescribed:
		r.failAt(r.off-1, "unknown format code")
		return nil
	default:
		return r.fixed(c)
	}
}

// fixed reads a value of fixed width.
func (r *Reader) fixed(c byte) any {
	switch types[c] {
	case TypeBool:
		return r.boolean(c)
	case TypeUbyte:
		return r.u8()
	case TypeUshort:
		return r.u16()
	case TypeUint:
		return r.uint(c)
	case TypeUlong:
		return r.ulong(c)
	case TypeByte:
		return int8(r.u8()) //nolint:gosec // two's complement
	case TypeShort:
		return int16(r.u16()) //nolint:gosec // two's complement
	case TypeInt:
		return r.int(c)
	case TypeLong:
		return r.long(c)
	case TypeFloat:
		return r.float()
	case TypeDouble:
		return r.double()
	case TypeTimestamp:
		return Timestamp(r.u64()) //nolint:gosec // two's complement
	case TypeChar:
		return r.char()
	default:
		return r.opaque(c)
	}
}

// opaque reads a value that is only carried, never calculated with.
func (r *Reader) opaque(c byte) any {
	switch c {
	case codeUUID:
		return r.uuid()
	case codeDecimal32:
		var d Decimal32
		copy(d[:], r.take(len(d)))
		return d
	case codeDecimal64:
		var d Decimal64
		copy(d[:], r.take(len(d)))
		return d
	default:
		var d Decimal128
		copy(d[:], r.take(len(d)))
		return d
	}
}

// Skip passes over one value by its size, without looking into it.
func (r *Reader) Skip() {
	c := r.code()
	if c == codeDescribed && r.err == nil {
		if r.enter() {
			r.Skip()
			r.Skip()
			r.leave()
		}
		return
	}
	if r.err != nil {
		return
	}
	if types[c] == TypeInvalid {
		r.failAt(r.off-1, "unknown format code")
		return
	}
	if w := widths[c>>4]; w < variable {
		r.take(w)
		return
	}
	size := r.size(c)
	if types[c] >= TypeList && size < widths[c>>4]-variable {
		r.Fail("a size has no room for the count")
		return
	}
	r.take(size)
}

// Raw returns the bytes of the next value, undecoded. They alias the reader's.
func (r *Reader) Raw() []byte {
	start := r.off
	r.Skip()
	if r.err != nil {
		return nil
	}
	return r.buf[start:r.off:r.off]
}

// Begin reads the constructor of the next value and its size field, and returns its
// type and how many bytes are behind them: they need not be there. The size of a
// described value is unknown, it is -1. [types 1.6]
func (r *Reader) Begin() (t Type, size int64) {
	c := r.code()
	if r.err != nil {
		return TypeInvalid, 0
	}
	switch w := widths[c>>4]; {
	case types[c] == TypeInvalid:
		r.failAt(r.off-1, "unknown format code")
		return TypeInvalid, 0
	case c == codeDescribed:
		return TypeDescribed, -1
	case w < variable:
		return types[c], int64(w)
	}
	return types[c], int64(r.number(c))
}

// Descriptor reads the start of a described value whose descriptor is a ulong
// or one of the symbols. The value itself comes next. [types 1.5]
func (r *Reader) Descriptor(symbols map[string]uint64) uint64 {
	if r.err == nil && r.end-r.off > 2 && r.buf[r.off] == codeDescribed && r.buf[r.off+1] == codeSmallUlong {
		r.off += 3 // as nearly everyone sends it
		return uint64(r.buf[r.off-1])
	}
	if c := r.code(); c != codeDescribed {
		r.mismatch(TypeDescribed, c)
		return 0
	}
	start := r.off
	c := r.code()
	switch types[c] {
	case TypeUlong:
		return r.ulong(c)
	case TypeSymbol:
		code, ok := symbols[string(r.symbol(c))]
		if !ok {
			r.failAt(start, "unknown descriptor")
		}
		return code
	default:
		r.failAt(start, "a descriptor is neither ulong nor symbol")
		return 0
	}
}
