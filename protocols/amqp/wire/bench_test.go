package wire

import "testing"

// benchValues are what messages carry, as they stand on the wire.
func benchValues() map[string][]byte {
	m := Map{}
	for _, key := range []string{"customer", "zone", "priority", "trace", "retries"} {
		m = append(m, Entry{Key: key, Value: "a value of some length"}, Entry{Key: key + "-number", Value: int64(1 << 40)})
	}
	return map[string][]byte{
		"properties": AppendValue(nil, List{"ID:host-40000-1", []byte("user"), "queue://orders", nil, "queue://replies", uint64(7), Symbol("text/plain")}),
		"map":        AppendMap(nil, m),
		"binary":     AppendBinary(nil, make([]byte, 256)),
		"described":  AppendValue(nil, Described{Descriptor: uint64(0x77), Value: "a body"}),
	}
}

var benchNames = []string{"properties", "map", "binary", "described"}

// BenchmarkSkip finds the end of a value, as for sections that nobody reads.
func BenchmarkSkip(b *testing.B) {
	for _, name := range benchNames {
		value := benchValues()[name]
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(value)))
			b.ReportAllocs()
			for b.Loop() {
				r := NewReader(value, Limits{})
				r.Skip()
				if r.Err() != nil {
					b.Fatal(r.Err())
				}
			}
		})
	}
}

// BenchmarkValue decodes a value of any type, as for conversions.
func BenchmarkValue(b *testing.B) {
	for _, name := range benchNames {
		value := benchValues()[name]
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(value)))
			b.ReportAllocs()
			for b.Loop() {
				r := NewReader(value, Limits{})
				r.Value()
				if r.Err() != nil {
					b.Fatal(r.Err())
				}
			}
		})
	}
}

// BenchmarkAppendValue encodes what was decoded.
func BenchmarkAppendValue(b *testing.B) {
	for _, name := range benchNames {
		value := benchValues()[name]
		r := NewReader(value, Limits{})
		v, buf := r.Value(), make([]byte, 0, 1024)
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(value)))
			b.ReportAllocs()
			for b.Loop() {
				buf = AppendValue(buf[:0], v)
			}
		})
	}
}

func TestSkippingDoesNotAllocate(t *testing.T) {
	for name, value := range benchValues() {
		if got := testing.AllocsPerRun(100, func() {
			r := NewReader(value, Limits{})
			r.Skip()
			if r.Err() != nil {
				t.Fatal(r.Err())
			}
		}); got != 0 {
			t.Errorf("%s: got %v allocations, want 0", name, got)
		}
	}
}
