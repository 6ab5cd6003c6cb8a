package wire

import (
	"encoding/binary"
	"fmt"
)

// AppendValue appends a value of any type in its smallest encoding. A Go type
// that stands for no AMQP type is a bug of the caller: it panics.
func AppendValue(dst []byte, v any) []byte {
	switch v := v.(type) {
	case nil:
		return AppendNull(dst)
	case []byte:
		return AppendBinary(dst, v)
	case string:
		return AppendString(dst, v)
	case Symbol:
		return AppendSymbol(dst, v)
	case List:
		return AppendList(dst, v)
	case Map:
		return AppendMap(dst, v)
	case Array:
		return AppendArray(dst, v)
	case Described:
		dst = AppendValue(append(dst, codeDescribed), v.Descriptor)
		return AppendValue(dst, v.Value)
	}
	return appendFixed(dst, v)
}

func appendFixed(dst []byte, v any) []byte {
	switch v := v.(type) {
	case bool:
		return AppendBool(dst, v)
	case uint8:
		return AppendUbyte(dst, v)
	case uint16:
		return AppendUshort(dst, v)
	case uint32:
		return AppendUint(dst, v)
	case uint64:
		return AppendUlong(dst, v)
	case int8:
		return AppendByte(dst, v)
	case int16:
		return AppendShort(dst, v)
	case int32:
		return AppendInt(dst, v)
	case int64:
		return AppendLong(dst, v)
	case float32:
		return AppendFloat(dst, v)
	case float64:
		return AppendDouble(dst, v)
	case Char:
		return AppendChar(dst, v)
	case Timestamp:
		return AppendTimestamp(dst, v)
	case UUID:
		return AppendUUID(dst, v)
	case Decimal32:
		return append(append(dst, codeDecimal32), v[:]...)
	case Decimal64:
		return append(append(dst, codeDecimal64), v[:]...)
	case Decimal128:
		return append(append(dst, codeDecimal128), v[:]...)
	}
	panic(fmt.Sprintf("wire: no AMQP type for %T", v))
}

// AppendList appends a list.
func AppendList(dst []byte, l List) []byte {
	if len(l) == 0 {
		return append(dst, codeList0)
	}
	start := len(dst)
	dst = append(dst, codeList8, 0, 0)
	for _, v := range l {
		dst = AppendValue(dst, v)
	}
	return closeCompound(dst, start, len(l))
}

// AppendMap appends a map.
func AppendMap(dst []byte, m Map) []byte {
	start := len(dst)
	dst = append(dst, codeMap8, 0, 0)
	for _, e := range m {
		dst = AppendValue(dst, e.Key)
		dst = AppendValue(dst, e.Value)
	}
	return closeCompound(dst, start, 2*len(m))
}

// AppendArray appends an array. Elements of another type than the array's are a
// bug of the caller: it panics.
func AppendArray(dst []byte, a Array) []byte {
	start := len(dst)
	dst = append(dst, codeArray8, 0, 0)
	for _, d := range a.Descriptors {
		dst = AppendValue(append(dst, codeDescribed), d)
	}
	dst = append(dst, elementCodes[a.Type])
	for _, v := range a.Elements {
		dst = appendElement(dst, a.Type, v)
	}
	return closeCompound(dst, start, len(a.Elements))
}

// elementCodes gives the encoding of elements of each type: the one that can
// hold every value.
var elementCodes = [...]byte{
	TypeNull: codeNull, TypeBool: codeBool, TypeUbyte: codeUbyte, TypeUshort: codeUshort, TypeUint: codeUint,
	TypeUlong: codeUlong, TypeByte: codeByte, TypeShort: codeShort, TypeInt: codeInt, TypeLong: codeLong,
	TypeFloat: codeFloat, TypeDouble: codeDouble, TypeDecimal32: codeDecimal32, TypeDecimal64: codeDecimal64,
	TypeDecimal128: codeDecimal128, TypeChar: codeChar, TypeTimestamp: codeTimestamp, TypeUUID: codeUUID,
	TypeBinary: codeBinary32, TypeString: codeString32, TypeSymbol: codeSymbol32, TypeList: codeList32,
	TypeMap: codeMap32, TypeArray: codeArray32,
}

// appendElement appends an element without its format code.
func appendElement(dst []byte, t Type, v any) []byte {
	if got := TypeOf(v); got != t {
		panic(fmt.Sprintf("wire: %v in an array of %v", got, t))
	}
	switch v := v.(type) {
	case nil:
		return dst
	case bool:
		if v {
			return append(dst, 1)
		}
		return append(dst, 0)
	case uint32:
		return binary.BigEndian.AppendUint32(dst, v)
	case uint64:
		return binary.BigEndian.AppendUint64(dst, v)
	case int32:
		return binary.BigEndian.AppendUint32(dst, uint32(v)) //nolint:gosec // two's complement
	case int64:
		return binary.BigEndian.AppendUint64(dst, uint64(v)) //nolint:gosec // two's complement
	case []byte, string, Symbol, List, Map, Array:
		return appendWide(dst, v)
	}
	// Everything else has one encoding: drop its format code.
	start := len(dst)
	dst = appendFixed(dst, v)
	return append(dst[:start], dst[start+1:]...)
}

// appendWide appends the size and the data of a value in its wide encoding.
func appendWide(dst []byte, v any) []byte {
	start := len(dst)
	dst = AppendValue(dst, v)
	switch {
	case dst[start] == codeList0:
		return append(dst[:start], 0, 0, 0, 4, 0, 0, 0, 0)
	case !narrow(dst[start]):
		return append(dst[:start], dst[start+1:]...)
	case dst[start] >= codeList8:
		// format code, size, count: make it size (4), count (4)
		size, count := dst[start+1], dst[start+2]
		dst = append(dst, 0, 0, 0, 0, 0)
		copy(dst[start+8:], dst[start+compoundRoom:])
		binary.BigEndian.PutUint32(dst[start:], uint32(size)+3)
		binary.BigEndian.PutUint32(dst[start+4:], uint32(count))
		return dst
	}
	size := dst[start+1]
	dst = append(dst, 0, 0)
	copy(dst[start+4:], dst[start+2:])
	binary.BigEndian.PutUint32(dst[start:], uint32(size))
	return dst
}

// TypeOf returns the AMQP type of a Go value, TypeInvalid if it has none.
func TypeOf(v any) Type {
	switch v.(type) {
	case nil:
		return TypeNull
	case bool:
		return TypeBool
	case []byte:
		return TypeBinary
	case string:
		return TypeString
	case Symbol:
		return TypeSymbol
	case List:
		return TypeList
	case Map:
		return TypeMap
	case Array:
		return TypeArray
	case Described:
		return TypeDescribed
	}
	return typeOfFixed(v)
}

func typeOfFixed(v any) Type {
	switch v.(type) {
	case uint8:
		return TypeUbyte
	case uint16:
		return TypeUshort
	case uint32:
		return TypeUint
	case uint64:
		return TypeUlong
	case int8:
		return TypeByte
	case int16:
		return TypeShort
	case int32:
		return TypeInt
	case int64:
		return TypeLong
	case float32:
		return TypeFloat
	case float64:
		return TypeDouble
	case Decimal32:
		return TypeDecimal32
	case Decimal64:
		return TypeDecimal64
	case Decimal128:
		return TypeDecimal128
	case Char:
		return TypeChar
	case Timestamp:
		return TypeTimestamp
	case UUID:
		return TypeUUID
	}
	return TypeInvalid
}
