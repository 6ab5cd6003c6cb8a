package wire

import (
	"encoding/binary"
	"math"
)

// AppendNull appends null.
func AppendNull(dst []byte) []byte { return append(dst, codeNull) }

// AppendBool appends a boolean.
func AppendBool(dst []byte, v bool) []byte {
	if v {
		return append(dst, codeTrue)
	}
	return append(dst, codeFalse)
}

// AppendUbyte appends a ubyte.
func AppendUbyte(dst []byte, v uint8) []byte { return append(dst, codeUbyte, v) }

// AppendUshort appends a ushort.
func AppendUshort(dst []byte, v uint16) []byte {
	return binary.BigEndian.AppendUint16(append(dst, codeUshort), v)
}

// AppendUint appends a uint in its smallest encoding.
func AppendUint(dst []byte, v uint32) []byte {
	switch {
	case v == 0:
		return append(dst, codeUint0)
	case v <= math.MaxUint8:
		return append(dst, codeSmallUint, byte(v))
	}
	return binary.BigEndian.AppendUint32(append(dst, codeUint), v)
}

// AppendUlong appends a ulong in its smallest encoding.
func AppendUlong(dst []byte, v uint64) []byte {
	switch {
	case v == 0:
		return append(dst, codeUlong0)
	case v <= math.MaxUint8:
		return append(dst, codeSmallUlong, byte(v))
	}
	return binary.BigEndian.AppendUint64(append(dst, codeUlong), v)
}

// AppendByte appends a byte.
func AppendByte(dst []byte, v int8) []byte { return append(dst, codeByte, byte(v)) } //nolint:gosec // two's complement

// AppendShort appends a short.
func AppendShort(dst []byte, v int16) []byte {
	return binary.BigEndian.AppendUint16(append(dst, codeShort), uint16(v)) //nolint:gosec // two's complement
}

// AppendInt appends an int in its smallest encoding.
func AppendInt(dst []byte, v int32) []byte {
	if v >= math.MinInt8 && v <= math.MaxInt8 {
		return append(dst, codeSmallInt, byte(v)) //nolint:gosec // two's complement
	}
	return binary.BigEndian.AppendUint32(append(dst, codeInt), uint32(v)) //nolint:gosec // two's complement
}

// AppendLong appends a long in its smallest encoding.
func AppendLong(dst []byte, v int64) []byte {
	if v >= math.MinInt8 && v <= math.MaxInt8 {
		return append(dst, codeSmallLong, byte(v)) //nolint:gosec // two's complement
	}
	return binary.BigEndian.AppendUint64(append(dst, codeLong), uint64(v)) //nolint:gosec // two's complement
}

// AppendFloat appends a float.
func AppendFloat(dst []byte, v float32) []byte {
	return binary.BigEndian.AppendUint32(append(dst, codeFloat), math.Float32bits(v))
}

// AppendDouble appends a double.
func AppendDouble(dst []byte, v float64) []byte {
	return binary.BigEndian.AppendUint64(append(dst, codeDouble), math.Float64bits(v))
}

// AppendChar appends a char.
func AppendChar(dst []byte, v Char) []byte {
	return binary.BigEndian.AppendUint32(append(dst, codeChar), uint32(v)) //nolint:gosec // code points are positive
}

// AppendTimestamp appends a timestamp.
func AppendTimestamp(dst []byte, v Timestamp) []byte {
	return binary.BigEndian.AppendUint64(append(dst, codeTimestamp), uint64(v)) //nolint:gosec // two's complement
}

// AppendUUID appends a uuid.
func AppendUUID(dst []byte, v UUID) []byte { return append(append(dst, codeUUID), v[:]...) }

// AppendBinary appends a binary.
func AppendBinary(dst, v []byte) []byte {
	return append(appendSize(dst, codeBinary8, len(v)), v...)
}

// AppendBinaryHead appends the constructor and the size of a binary whose bytes come
// behind it.
func AppendBinaryHead(dst []byte, size uint32) []byte {
	return binary.BigEndian.AppendUint32(append(dst, codeBinary32), size)
}

// AppendString appends a string, which must be valid UTF-8.
func AppendString[T string | []byte](dst []byte, v T) []byte {
	return append(appendSize(dst, codeString8, len(v)), v...)
}

// AppendSymbol appends a symbol, which must be ASCII.
func AppendSymbol(dst []byte, v Symbol) []byte {
	return append(appendSize(dst, codeSymbol8, len(v)), v...)
}

// appendSize appends a format code and a size; code is the narrow one, the wide
// one is in the next row of the table.
func appendSize(dst []byte, code byte, n int) []byte {
	if n <= math.MaxUint8 {
		return append(dst, code, byte(n)) //nolint:gosec // checked above
	}
	return binary.BigEndian.AppendUint32(append(dst, code|0x10), uint32(n)) //nolint:gosec // lengths of messages
}

// AppendDescriptor appends the start of a described value. The value comes next.
func AppendDescriptor(dst []byte, code uint64) []byte {
	return AppendUlong(append(dst, codeDescribed), code)
}

// AppendSymbols appends symbols with multiple=true as an array, even a single
// one: this is what every client reads.
func AppendSymbols(dst []byte, v []Symbol) []byte {
	start := len(dst)
	longest := 0
	for _, s := range v {
		longest = max(longest, len(s))
	}
	dst = append(dst, codeArray8, 0, 0)
	code := byte(codeSymbol8)
	if longest > math.MaxUint8 {
		code = codeSymbol32
	}
	dst = append(dst, code)
	for _, s := range v {
		if code == codeSymbol8 {
			dst = append(dst, byte(len(s))) //nolint:gosec // no symbol is longer
		} else {
			dst = binary.BigEndian.AppendUint32(dst, uint32(len(s))) //nolint:gosec // lengths of messages
		}
		dst = append(dst, s...)
	}
	return closeCompound(dst, start, len(v))
}

// compoundRoom is what closeCompound expects between the start and the first
// element: format code, size and count.
const compoundRoom = 3

// closeCompound fills in the size and the count of the list, map or array that
// starts at start, and moves its elements when they need the wide encoding.
func closeCompound(dst []byte, start, count int) []byte {
	n := len(dst) - start - compoundRoom
	if n < math.MaxUint8 && count <= math.MaxUint8 {
		dst[start+1], dst[start+2] = byte(n+1), byte(count) //nolint:gosec // checked above
		return dst
	}
	dst = append(dst, 0, 0, 0, 0, 0, 0)
	copy(dst[start+9:], dst[start+compoundRoom:start+compoundRoom+n])
	dst[start] |= 0x10
	binary.BigEndian.PutUint32(dst[start+1:], uint32(n+4))   //nolint:gosec // lengths of messages
	binary.BigEndian.PutUint32(dst[start+5:], uint32(count)) //nolint:gosec // as above
	return dst
}
