package amqp

import (
	"bytes"
	"testing"

	"pgregory.net/rapid"
)

// Tags are a set: in whatever order deliveries are settled, a tag is taken while
// its delivery is unsettled, and free again afterwards.
func TestTagsAreASet(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var set tags
		model := make(map[uint32][]byte)
		next := uint32(1<<32 - 5)
		t.Repeat(map[string]func(*rapid.T){
			"take": func(t *rapid.T) {
				tag := rapid.SliceOfN(rapid.Byte(), 0, 2).Draw(t, "tag")
				want := true
				for _, known := range model {
					want = want && !bytes.Equal(known, tag)
				}
				if got := set.take(next, tag); got != want {
					t.Fatalf("take % x: got %v, want %v", tag, got, want)
				}
				if want {
					model[next] = tag
				}
				next++
			},
			"free": func(t *rapid.T) {
				if len(model) == 0 {
					t.Skip("nothing is unsettled")
				}
				ids := make([]uint32, 0, len(model))
				for id := uint32(1<<32 - 5); id != next; id++ {
					if _, ok := model[id]; ok {
						ids = append(ids, id)
					}
				}
				id := rapid.SampledFrom(ids).Draw(t, "id")
				if got := set.free(id); !bytes.Equal(got, model[id]) {
					t.Fatalf("free %d: got % x, want % x", id, got, model[id])
				}
				delete(model, id)
			},
			"trim": func(*rapid.T) { set.trim() },
			"": func(t *rapid.T) {
				if len(set.taken) != len(model) || len(set.order)-set.head != len(model) {
					t.Fatalf("got %d tags taken and %d in order, want %d", len(set.taken), len(set.order)-set.head, len(model))
				}
			},
		})
	})
}

// A link that sends for a long time without a pause keeps what is unsettled alone.
func TestTagsDoNotGrow(t *testing.T) {
	var set tags
	for id := range uint32(100_000) {
		if !set.take(id, []byte{byte(id), byte(id >> 8), byte(id >> 16)}) {
			t.Fatalf("tag %d is taken", id)
		}
		if id >= 100 {
			set.free(id - 100)
		}
	}
	if n := cap(set.order); n > 8192 {
		t.Errorf("got room for %d tags, of which 100 are unsettled", n)
	}
}
