package wire

import "slices"

// A value of any type is, in Go:
//
//	null       nil            boolean   bool
//	ubyte      uint8          byte      int8
//	ushort     uint16         short     int16
//	uint       uint32         int       int32
//	ulong      uint64         long      int64
//	float      float32        double    float64
//	decimal*   Decimal*       char      Char
//	timestamp  Timestamp      uuid      UUID
//	binary     []byte         string    string
//	symbol     Symbol         list      List
//	map        Map            array     Array
//	described  Described

// Symbol is a value from a constrained domain, in ASCII.
type Symbol string

// UUID is a universally unique id, RFC 4122.
type UUID [16]byte

// Timestamp is a point in time in Unix milliseconds; it may be negative.
type Timestamp int64

// Char is one Unicode code point.
type Char rune

// Decimal32 is an IEEE 754 decimal32, opaque.
type Decimal32 [4]byte

// Decimal64 is an IEEE 754 decimal64, opaque.
type Decimal64 [8]byte

// Decimal128 is an IEEE 754 decimal128, opaque.
type Decimal128 [16]byte

// List is a sequence of values of any types.
type List []any

// Entry is a key of a map and its value.
type Entry struct {
	Key   any
	Value any
}

// Map is a map whose order is kept. Duplicate keys are kept too; [Map.Get]
// finds the last.
type Map []Entry

// Get returns the value of a symbol key; a string key of the same text is
// found too.
func (m Map) Get(key Symbol) (any, bool) {
	for _, e := range slices.Backward(m) {
		switch k := e.Key.(type) {
		case Symbol:
			if k == key {
				return e.Value, true
			}
		case string:
			if k == string(key) {
				return e.Value, true
			}
		}
	}
	return nil, false
}

// Array is a sequence of values of one type.
type Array struct {
	Type        Type  // of the elements
	Descriptors []any // of the elements' type, outermost first; nil when it is not described
	Elements    []any // without their descriptors
}

// Described is a value with a descriptor of its meaning: a ulong or a symbol.
type Described struct {
	Descriptor any
	Value      any
}

// Optional is a field that may be absent.
type Optional[T any] struct {
	Value T
	Set   bool
}

// Some returns a field that is present.
func Some[T any](v T) Optional[T] { return Optional[T]{Value: v, Set: true} }

// Or returns the field's value, or v when it is absent.
func (o Optional[T]) Or(v T) T {
	if o.Set {
		return o.Value
	}
	return v
}
