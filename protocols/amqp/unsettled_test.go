package amqp

import (
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/selvedge-mq/selvedge/routing"
)

// TestUnsettledIsAMap holds the ring against a map, with gaps, stragglers and
// ids that wrap.
func TestUnsettledIsAMap(t *testing.T) {
	link := &sending{}
	rapid.Check(t, func(t *rapid.T) {
		var u unsettled
		model := make(map[uint32]uint64)
		next := rapid.Uint32().Draw(t, "first id")
		key := uint64(0)
		steps := rapid.SliceOfN(rapid.IntRange(0, 9), 1, 200).Draw(t, "steps")
		for _, step := range steps {
			switch step {
			case 0: // deliveries that went out settled
				next += rapid.Uint32Range(1, 3*ringMax).Draw(t, "gap")
			case 1, 2, 3, 4:
				for range rapid.IntRange(1, 300).Draw(t, "burst") {
					key++
					u.add(next, sent{link: link, tag: routing.Tag{Key: key}})
					model[next] = key
					next++
				}
			default:
				ids := slices.Sorted(maps.Keys(model))
				if len(ids) == 0 {
					continue
				}
				at := rapid.IntRange(0, len(ids)-1).Draw(t, "at")
				first := ids[at]
				last := first + rapid.Uint32Range(0, 400).Draw(t, "length")
				got := make(map[uint32]uint64)
				want := make(map[uint32]uint64)
				for id, key := range model {
					if id-first <= last-first {
						want[id] = key
						delete(model, id)
					}
				}
				u.each(first, last, func(id uint32, d sent) {
					got[id] = d.tag.Key
					u.remove(id)
				})
				if diff := cmp.Diff(want, got); diff != "" {
					t.Fatalf("deliveries from %d to %d (-want +got):\n%s", first, last, diff)
				}
			}
			if len(u.ring) > 4*ringMax {
				t.Fatalf("got a ring of %d places for %d deliveries", len(u.ring), len(model))
			}
		}
		left := make(map[uint32]uint64)
		u.all(func(id uint32, d sent) { left[id] = d.tag.Key })
		if diff := cmp.Diff(model, left); diff != "" {
			t.Fatalf("deliveries left (-want +got):\n%s", diff)
		}
		for id, key := range model {
			u.tell(id, routing.Accepted)
			if d := u.get(id); d == nil || d.tag.Key != key || d.told != routing.Accepted {
				t.Fatalf("delivery %d: got %v, want key %d", id, d, key)
			}
		}
	})
}
