package stomp

import (
	"testing"

	"pgregory.net/rapid"
)

func TestRingKeepsOrderAndNumbers(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var r ring[uint64]
		next, first := uint64(0), uint64(0)
		for range rapid.IntRange(0, 300).Draw(t, "steps") {
			if rapid.Bool().Draw(t, "push") || r.len() == 0 {
				if n := r.push(next); n != next {
					t.Fatalf("got number %d, want %d", n, next)
				}
				next++
				continue
			}
			if got := r.pop(); got != first {
				t.Fatalf("got %d, want %d", got, first)
			}
			first++
		}
		for n := first; n < next; n++ {
			if !r.has(n) || *r.at(n) != n {
				t.Fatalf("entry %d is not at its place", n)
			}
		}
		if r.has(next) || (first > 0 && r.has(first-1)) {
			t.Error("the ring has entries beyond its ends")
		}
	})
}
