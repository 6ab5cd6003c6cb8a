package amqp

import (
	"maps"
	"runtime"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// TestSlotsAreAMap compares with a map, low and high numbers together.
func TestSlotsAreAMap(t *testing.T) {
	number := rapid.OneOf(rapid.Uint32Max(2*lowSlots), rapid.Uint32())
	rapid.Check(t, func(t *rapid.T) {
		var s slots[int]
		model := make(map[uint32]int)
		for i := range rapid.IntRange(0, 200).Draw(t, "steps") {
			n := number.Draw(t, "number")
			if rapid.Bool().Draw(t, "drop") {
				s.drop(n)
				delete(model, n)
			} else {
				s.put(n, i+1)
				model[n] = i + 1
			}
			if got := s.get(n); got != model[n] {
				t.Fatalf("got %d at %d, want %d", got, n, model[n])
			}
		}
		if diff := cmp.Diff(slices.Sorted(maps.Values(model)), slices.Sorted(s.all())); diff != "" {
			t.Fatalf("all (-want +got):\n%s", diff)
		}
		for v := range s.all() { // it may be dropped on the way
			for n, w := range model {
				if v == w {
					s.drop(n)
				}
			}
		}
		if left := slices.Collect(s.all()); len(left) > 0 {
			t.Fatalf("got %v left, want nothing", left)
		}
	})
}

// A client that chooses great numbers costs no more than one that begins at 0: a
// handle used to cost an array up to it.
func TestGreatNumbersCostNoMore(t *testing.T) {
	const n, limit = 100, 1 << 10
	var before, after runtime.MemStats
	all := make([]slots[endpoint], n)
	runtime.ReadMemStats(&before)
	for i := range all {
		all[i].put(1<<32-1, &receiving{})
	}
	runtime.ReadMemStats(&after)
	if got := (after.TotalAlloc - before.TotalAlloc) / n; got > limit {
		t.Errorf("got %d bytes for a link, want at most %d", got, limit)
	}
	if all[0].get(1<<32-1) == nil {
		t.Error("the link is gone")
	}
}
