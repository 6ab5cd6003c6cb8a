package amqp

import (
	"testing"

	"pgregory.net/rapid"
)

// TestUnconfirmIsASubtraction compares with a set: what a client settles in the
// middle of a range leaves both ends of it to be settled.
func TestUnconfirmIsASubtraction(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		base := rapid.SampledFrom([]uint32{0, 1000, 1<<32 - 60}).Draw(t, "base")
		s, model, next := &session{}, make(map[uint32]bool), uint32(0)
		for range rapid.IntRange(1, 5).Draw(t, "ranges") {
			first := base + next + rapid.Uint32Range(0, 2).Draw(t, "gap")
			last := first + rapid.Uint32Range(0, 7).Draw(t, "length")
			next = last - base + 1
			s.confirmed = append(s.confirmed, confirmed{span: span{first, last}})
			for id := first; id != last+1; id++ {
				model[id] = true
			}
		}
		for range rapid.IntRange(1, 5).Draw(t, "settled") {
			first := base + rapid.Uint32Range(0, 55).Draw(t, "first")
			last := first + rapid.Uint32Range(0, 9).Draw(t, "more")
			s.unconfirm(first, last)
			for id := first; id != last+1; id++ {
				delete(model, id)
			}
		}
		for _, r := range s.confirmed {
			for id := r.first; id != r.last+1; id++ {
				if !model[id] {
					t.Fatalf("got %d in %v, which is settled or there twice", id, s.confirmed)
				}
				delete(model, id)
			}
		}
		if len(model) > 0 {
			t.Fatalf("got %v, want %v in it too", s.confirmed, model)
		}
	})
}
