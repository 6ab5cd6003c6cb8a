package wire

import (
	"bytes"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"
)

// genScalar draws a value of any type that is neither compound nor described.
func genScalar(t *rapid.T) any {
	return rapid.OneOf(
		rapid.Just[any](nil),
		rapid.Bool().AsAny(),
		rapid.Uint8().AsAny(), rapid.Uint16().AsAny(), rapid.Uint32().AsAny(), rapid.Uint64().AsAny(),
		rapid.Int8().AsAny(), rapid.Int16().AsAny(), rapid.Int32().AsAny(), rapid.Int64().AsAny(),
		rapid.Float32().AsAny(), rapid.Float64().AsAny(),
		rapid.SliceOfN(rapid.Byte(), 0, 300).AsAny(),
		rapid.String().AsAny(),
		rapid.Map(rapid.StringMatching(`[ -~]{0,40}`), func(s string) Symbol { return Symbol(s) }).AsAny(),
		rapid.Map(rapid.Rune(), func(r rune) Char { return Char(r) }).AsAny(),
		rapid.Map(rapid.Int64(), func(v int64) Timestamp { return Timestamp(v) }).AsAny(),
		rapid.Custom(func(t *rapid.T) UUID { return UUID(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "uuid")) }).AsAny(),
		rapid.Custom(func(t *rapid.T) Decimal32 { return Decimal32(rapid.SliceOfN(rapid.Byte(), 4, 4).Draw(t, "d")) }).AsAny(),
		rapid.Custom(func(t *rapid.T) Decimal64 { return Decimal64(rapid.SliceOfN(rapid.Byte(), 8, 8).Draw(t, "d")) }).AsAny(),
		rapid.Custom(func(t *rapid.T) Decimal128 { return Decimal128(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "d")) }).AsAny(),
	).Draw(t, "scalar")
}

func genList(t *rapid.T, depth int) List {
	l := List{}
	for range rapid.IntRange(0, 4).Draw(t, "n") {
		l = append(l, genValue(t, depth-1))
	}
	return l
}

func genMap(t *rapid.T, depth int) Map {
	m := Map{}
	for range rapid.IntRange(0, 4).Draw(t, "n") {
		m = append(m, Entry{Key: genValue(t, 0), Value: genValue(t, depth-1)})
	}
	return m
}

func genArray(t *rapid.T, depth int) Array {
	first := genValue(t, depth-1)
	a := Array{Elements: []any{}}
	for {
		d, ok := first.(Described)
		if !ok {
			break
		}
		a.Descriptors = append(a.Descriptors, d.Descriptor)
		first = d.Value
	}
	a.Type = TypeOf(first)
	most := 300 // elements enough for sizes of four bytes
	if depth > 1 {
		most = 3
	}
	for range rapid.IntRange(0, most).Draw(t, "n") {
		a.Elements = append(a.Elements, first)
	}
	return a
}

func genValue(t *rapid.T, depth int) any {
	if depth <= 0 {
		return genScalar(t)
	}
	switch rapid.IntRange(0, 5).Draw(t, "shape") {
	case 0:
		return genList(t, depth)
	case 1:
		return genMap(t, depth)
	case 2:
		return genArray(t, depth)
	case 3:
		return Described{Descriptor: genScalar(t), Value: genValue(t, depth-1)}
	}
	return genScalar(t)
}

// [168] [171] Whatever the value.
func TestEveryValueComesBackFromItsEncoding(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := genValue(t, 3)
		b := AppendValue([]byte("before"), want)[6:]
		r := NewReader(b, Limits{})
		got := r.Value()
		if r.Err() != nil || r.Len() != 0 {
			t.Fatalf("got error %v and %d bytes left, want none", r.Err(), r.Len())
		}
		if diff := cmp.Diff(want, got, cmpopts.EquateNaNs(), cmpopts.EquateEmpty()); diff != "" {
			t.Fatalf("value (-want +got):\n%s", diff)
		}
		if s := NewReader(b, Limits{}); !bytes.Equal(s.Raw(), b) {
			t.Fatal("Raw does not return the whole value")
		}
	})
}

// [172] [173] [174] What would cost much more than its bytes is refused.
func TestLimitsStopBombs(t *testing.T) {
	list := func(levels int) []byte {
		b := []byte{codeNull}
		for range levels {
			b = append([]byte{codeList32, 0, 0, 0, byte(len(b) + 4), 0, 0, 0, 1}, b...)
		}
		return b
	}
	nulls := []byte{codeArray32, 0, 0, 0, 5, 0, 0, 0x10, 0, codeNull}
	for _, c := range []struct {
		name string
		b    []byte
		l    Limits
		want string
	}{
		{"lists within the depth pass", list(5), Limits{Depth: 5}, ""},
		{"lists below the depth fail", list(6), Limits{Depth: 5}, "nested too deep"},
		{"described values below the depth fail", append(bytes.Repeat([]byte{0, codeUlong0}, 6), codeNull), Limits{Depth: 5}, "nested too deep"},
		{"described descriptors below the depth fail", bytes.Repeat([]byte{0}, 1<<16), Limits{}, "nested too deep"},
		{"described elements below the depth fail", append([]byte{codeArray8, 14, 0}, append(bytes.Repeat([]byte{0, codeUlong0}, 6), codeNull)...), Limits{Depth: 5}, "nested too deep"},
		{"elements without bytes within the limit pass", nulls, Limits{Elements: 0x1000}, ""},
		{"elements without bytes above the limit fail", nulls, Limits{Elements: 0xfff}, "too many elements"},
		{"elements of all lists together count", AppendList(nil, List{List{nil, nil}, List{nil, nil}}), Limits{Elements: 5}, "too many elements"},
		{"entries of a map count", AppendMap(nil, Map{{1, 2}, {3, 4}}.ints()), Limits{Elements: 3}, "too many elements"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := NewReader(c.b, c.l)
			r.Value()
			switch err := r.Err(); {
			case c.want == "" && err != nil:
				t.Errorf("got error %v, want none", err)
			case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
				t.Errorf("got error %v, want one with %q", err, c.want)
			}
		})
	}
}

// ints turns the untyped integers of a map into longs.
func (m Map) ints() Map {
	for i, e := range m {
		m[i] = Entry{Key: int64(e.Key.(int)), Value: int64(e.Value.(int))}
	}
	return m
}

func TestSkipOfNestedDescriptorsIsBounded(t *testing.T) {
	r := NewReader(bytes.Repeat([]byte{0}, 1<<20), Limits{})
	if r.Skip(); r.Err() == nil {
		t.Error("got no error, want one")
	}
}

// [53] [175] Null, one symbol, and an array of them.
func TestSymbolsTakeEveryFormOfMultiple(t *testing.T) {
	ab := []Symbol{"a", "b"}
	for _, c := range []struct {
		name string
		b    []byte
		want []Symbol
		fail bool
	}{
		{"null is none", AppendNull(nil), nil, false},
		{"one symbol is one", AppendSymbol(nil, "a"), []Symbol{"a"}, false},
		{"an array is all of them", AppendSymbols(nil, ab), ab, false},
		{"a wide array is all of them", AppendArray(nil, Array{Type: TypeSymbol, Elements: []any{ab[0], ab[1]}}), ab, false},
		{"a list is taken too", AppendList(nil, List{Symbol("a"), Symbol("b")}), ab, false},
		{"an empty array is empty", AppendSymbols(nil, nil), []Symbol{}, false},
		{"long symbols are taken", AppendSymbols(nil, []Symbol{Symbol(strings.Repeat("x", 300))}), []Symbol{Symbol(strings.Repeat("x", 300))}, false},
		{"a string is none", AppendString(nil, "a"), nil, true},
		{"an array of strings is none", AppendArray(nil, Array{Type: TypeString, Elements: []any{"a"}}), nil, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := NewReader(c.b, Limits{})
			got := r.Symbols()
			if c.fail {
				if r.Err() == nil {
					t.Errorf("got %v, want an error", got)
				}
				return
			}
			if diff := cmp.Diff(c.want, got); diff != "" || r.Err() != nil || r.Len() != 0 {
				t.Errorf("error %v, %d bytes left (-want +got):\n%s", r.Err(), r.Len(), diff)
			}
		})
	}
}

func TestMapGetFindsTheLastSymbolOrString(t *testing.T) {
	m := Map{{Symbol("a"), 1}, {"b", 2}, {int32(7), 3}, {Symbol("a"), 4}}
	for _, c := range []struct {
		key  Symbol
		want any
	}{{"a", 4}, {"b", 2}, {"c", nil}} {
		if got, ok := m.Get(c.key); got != c.want || ok != (c.want != nil) {
			t.Errorf("Get(%s): got %v, %v, want %v", c.key, got, ok, c.want)
		}
	}
}

func TestAppendValueRefusesForeignTypes(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("got no panic, want one")
		}
	}()
	AppendValue(nil, struct{}{})
}

func FuzzDecode(f *testing.F) {
	for _, c := range readGolden(f) {
		f.Add(c.Bytes)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r := NewReader(b, Limits{})
		v := r.Value()
		s := NewReader(b, Limits{})
		s.Skip()
		if r.Err() != nil {
			return
		}
		if s.Err() != nil || s.Offset() != r.Offset() {
			t.Fatalf("skip ends at %d with %v, decoding at %d", s.Offset(), s.Err(), r.Offset())
		}
		again := AppendValue(nil, v)
		r = NewReader(again, Limits{Depth: math.MaxInt32, Elements: math.MaxInt32})
		w := r.Value()
		if r.Err() != nil || r.Len() != 0 {
			t.Fatalf("own encoding % x: error %v, %d bytes left", again, r.Err(), r.Len())
		}
		if got, want := show(w), show(v); got != want {
			t.Fatalf("own encoding: got %s, want %s", got, want)
		}
	})
}
