// Package wire is the type system of AMQP 1.0: how values look as bytes. It
// knows no frame, no performative and no message.
package wire

// The format codes. [types 1.6]
const (
	codeDescribed  = 0x00
	codeNull       = 0x40
	codeTrue       = 0x41
	codeFalse      = 0x42
	codeUint0      = 0x43
	codeUlong0     = 0x44
	codeList0      = 0x45
	codeUbyte      = 0x50
	codeByte       = 0x51
	codeSmallUint  = 0x52
	codeSmallUlong = 0x53
	codeSmallInt   = 0x54
	codeSmallLong  = 0x55
	codeBool       = 0x56
	codeUshort     = 0x60
	codeShort      = 0x61
	codeUint       = 0x70
	codeInt        = 0x71
	codeFloat      = 0x72
	codeChar       = 0x73
	codeDecimal32  = 0x74
	codeUlong      = 0x80
	codeLong       = 0x81
	codeDouble     = 0x82
	codeTimestamp  = 0x83
	codeDecimal64  = 0x84
	codeDecimal128 = 0x94
	codeUUID       = 0x98
	codeBinary8    = 0xa0
	codeString8    = 0xa1
	codeSymbol8    = 0xa3
	codeBinary32   = 0xb0
	codeString32   = 0xb1
	codeSymbol32   = 0xb3
	codeList8      = 0xc0
	codeMap8       = 0xc1
	codeList32     = 0xd0
	codeMap32      = 0xd1
	codeArray8     = 0xe0
	codeArray32    = 0xf0
)

// Type is the type of a value, whatever its encoding.
type Type uint8

// The types. TypeInvalid is no type: a format code that AMQP does not define.
const (
	TypeInvalid Type = iota
	TypeDescribed
	TypeNull
	TypeBool
	TypeUbyte
	TypeUshort
	TypeUint
	TypeUlong
	TypeByte
	TypeShort
	TypeInt
	TypeLong
	TypeFloat
	TypeDouble
	TypeDecimal32
	TypeDecimal64
	TypeDecimal128
	TypeChar
	TypeTimestamp
	TypeUUID
	TypeBinary
	TypeString
	TypeSymbol
	TypeList
	TypeMap
	TypeArray
)

var typeNames = [...]string{
	"invalid", "described", "null", "boolean", "ubyte", "ushort", "uint", "ulong", "byte", "short", "int",
	"long", "float", "double", "decimal32", "decimal64", "decimal128", "char", "timestamp", "uuid", "binary",
	"string", "symbol", "list", "map", "array",
}

// String returns the type's name as the specification writes it.
func (t Type) String() string {
	if int(t) < len(typeNames) {
		return typeNames[t]
	}
	return typeNames[TypeInvalid]
}

// types gives the type of each format code.
var types = [256]Type{
	codeDescribed: TypeDescribed, codeNull: TypeNull,
	codeTrue: TypeBool, codeFalse: TypeBool, codeBool: TypeBool,
	codeUbyte: TypeUbyte, codeUshort: TypeUshort,
	codeUint0: TypeUint, codeSmallUint: TypeUint, codeUint: TypeUint,
	codeUlong0: TypeUlong, codeSmallUlong: TypeUlong, codeUlong: TypeUlong,
	codeByte: TypeByte, codeShort: TypeShort,
	codeSmallInt: TypeInt, codeInt: TypeInt, codeSmallLong: TypeLong, codeLong: TypeLong,
	codeFloat: TypeFloat, codeDouble: TypeDouble,
	codeDecimal32: TypeDecimal32, codeDecimal64: TypeDecimal64, codeDecimal128: TypeDecimal128,
	codeChar: TypeChar, codeTimestamp: TypeTimestamp, codeUUID: TypeUUID,
	codeBinary8: TypeBinary, codeBinary32: TypeBinary,
	codeString8: TypeString, codeString32: TypeString,
	codeSymbol8: TypeSymbol, codeSymbol32: TypeSymbol,
	codeList0: TypeList, codeList8: TypeList, codeList32: TypeList,
	codeMap8: TypeMap, codeMap32: TypeMap,
	codeArray8: TypeArray, codeArray32: TypeArray,
}

// widths gives the bytes of data behind a format code, by its upper half:
// fixed widths as they are, the width of the size field plus variable.
var widths = [16]int{
	0x4: 0, 0x5: 1, 0x6: 2, 0x7: 4, 0x8: 8, 0x9: 16,
	0xa: variable + 1, 0xb: variable + 4, 0xc: variable + 1, 0xd: variable + 4, 0xe: variable + 1, 0xf: variable + 4,
}

// variable marks the widths that stand in a size field.
const variable = 100
