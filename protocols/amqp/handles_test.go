package amqp

import (
	"testing"

	"pgregory.net/rapid"
)

// TestHandlesAreFreeAndAllowed compares with a set: what is taken was free, is
// the preferred one if that may be, else the lowest, and fails only when all are
// taken.
func TestHandlesAreFreeAndAllowed(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		highest := rapid.SampledFrom([]uint32{0, 1, 63, 64, 200, maxHandle, 1 << 31}).Draw(t, "highest")
		var h handles
		taken := make(map[uint32]bool)
		for range rapid.IntRange(1, 400).Draw(t, "steps") {
			n := rapid.Uint32Range(0, 260).Draw(t, "handle")
			if taken[n] {
				h.drop(n)
				delete(taken, n)
				continue
			}
			want, ok := n, true
			if n > highest {
				want = 0
				for taken[want] {
					want++
				}
				ok = want <= highest
			}
			got, free := h.take(n, highest)
			if free != ok || ok && got != want {
				t.Fatalf("got %d, %v of %v, want %d, %v", got, free, taken, want, ok)
			}
			if ok {
				taken[got] = true
			}
		}
	})
}

// A session has as many handles as it told, and not one more.
func TestHandlesEnd(t *testing.T) {
	var h handles
	for i := range uint32(maxHandle + 1) {
		if got, ok := h.take(0, 1<<32-1); got != i || !ok {
			t.Fatalf("got handle %d, %v, want %d", got, ok, i)
		}
	}
	if got, ok := h.take(0, 1<<32-1); ok {
		t.Errorf("got handle %d, want none", got)
	}
	h.drop(77)
	if got, ok := h.take(5, 1<<32-1); got != 77 || !ok {
		t.Errorf("got handle %d, %v, want 77", got, ok)
	}
}
