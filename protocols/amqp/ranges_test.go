package amqp

import (
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// TestSpansHoldWhatWasAdded checks that ranges hold exactly what was added, in
// ascending order, apart, and without a wrap.
func TestSpansHoldWhatWasAdded(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		near := rapid.OneOf(rapid.Uint32Range(0, 40), rapid.Uint32Range(math.MaxUint32-40, math.MaxUint32))
		ids := rapid.SliceOfNDistinct(near, 0, 60, rapid.ID[uint32]).Draw(t, "ids")
		var r spans
		for _, id := range ids {
			r.add(id)
		}
		var got []uint32
		for _, s := range r.take() {
			if s.first > s.last {
				t.Fatalf("got the range %d to %d", s.first, s.last)
			}
			if n := len(got); n > 0 && got[n-1] >= s.first-1 {
				t.Fatalf("ranges touch at %d", s.first)
			}
			for id := s.first; ; id++ {
				got = append(got, id)
				if id == s.last {
					break
				}
			}
		}
		slices.Sort(ids)
		if !slices.Equal(got, ids) {
			t.Fatalf("got %v, want %v", got, ids)
		}
		if len(r.take()) != 0 {
			t.Fatal("the ranges are still there")
		}
	})
}

func TestBetween(t *testing.T) {
	var b between
	if b.meets(0, math.MaxUint32) {
		t.Error("nothing meets a range")
	}
	for _, id := range []uint32{math.MaxUint32 - 1, 2} {
		b.add(id)
	}
	for _, r := range []struct {
		first, last uint32
		want        bool
	}{{2, 2, true}, {3, 9, false}, {math.MaxUint32 - 9, math.MaxUint32 - 2, false}, {math.MaxUint32 - 9, math.MaxUint32 - 1, true}, {0, 1, true}} {
		if got := b.meets(r.first, r.last); got != r.want {
			t.Errorf("%d to %d: got %v, want %v", r.first, r.last, got, r.want)
		}
	}
	for id := uint32(2); id < 1<<31+widest; id += widest {
		b.add(id)
	}
	if b.meets(2, 2) || !b.meets(b.last-1, b.last-1) {
		t.Errorf("got %d to %d, want the last %d ids alone", b.first, b.last, widest)
	}
}
