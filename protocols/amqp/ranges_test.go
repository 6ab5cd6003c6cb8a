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
