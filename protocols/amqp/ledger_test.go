package amqp

import (
	"encoding/binary"
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/selvedge-mq/selvedge/protocols/amqp/frames"
	"github.com/selvedge-mq/selvedge/protocols/amqp/wire"
	"github.com/selvedge-mq/selvedge/routing"
)

func tagOf(n int) []byte { return binary.BigEndian.AppendUint32(nil, uint32(n)) }

// told are the tags of an unsettled map.
func told(m wire.Map) []string {
	var tags []string
	for _, e := range m {
		tag, _ := e.Key.([]byte)
		tags = append(tags, string(tag))
	}
	slices.Sort(tags)
	return tags
}

// TestLedgerIsAMap compares with a map: what was begun and not settled is told, by
// its tag, and nothing is left of the rest.
func TestLedgerIsAMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m, model, id := newLedger(), make(map[string]uint32), uint32(0)
		for range rapid.IntRange(0, 300).Draw(t, "steps") {
			switch rapid.IntRange(0, 3).Draw(t, "step") {
			case 0, 1:
				tag := tagOf(rapid.IntRange(0, 20).Draw(t, "tag"))
				id++
				m.begin(id, tag)
				model[string(tag)] = id
				m.judge([]routing.Result{{Token: uint64(newSendToken(id, false, 10))}})
			case 2:
				first := rapid.Uint32Range(0, id).Draw(t, "first")
				last := first + rapid.Uint32Range(0, 3).Draw(t, "more")
				m.settledRange(first, last)
				maps.DeleteFunc(model, func(_ string, id uint32) bool { return id >= first && id <= last })
			case 3:
				a := &frames.Attach{}
				for tag := range model {
					if rapid.Bool().Draw(t, "keep") {
						a.Unsettled = append(a.Unsettled, wire.Entry{Key: []byte(tag)})
					} else {
						delete(model, tag)
					}
				}
				m.adopt(a)
				for tag := range model { // the ids of the former session are nobody's
					model[tag] = 1 << 31
				}
			}
			all, incomplete := m.unsettled(1 << 20)
			if diff := cmp.Diff(slices.Sorted(maps.Keys(model)), told(all)); diff != "" || incomplete {
				t.Fatalf("told incompletely %v (-want +got):\n%s", incomplete, diff)
			}
		}
		if len(m.ids) > len(m.tags) {
			t.Fatalf("got %d ids of %d deliveries", len(m.ids), len(m.tags))
		}
	})
}

// A link is remembered up to a bound, whatever its client never settles: the
// newest are kept.
func TestLedgerIsBounded(t *testing.T) {
	m := newLedger()
	for i := range 5 * maxKept {
		m.begin(uint32(i), tagOf(i))
		m.judge([]routing.Result{{Token: uint64(newSendToken(uint32(i), false, 1))}})
	}
	if len(m.tags) != maxKept || len(m.ids) != maxKept || len(m.order) > 2*maxKept {
		t.Errorf("got %d tags, %d ids and a list of %d, want %d of each at most", len(m.tags), len(m.ids), len(m.order), maxKept)
	}
	if _, known := m.resume(1, tagOf(5*maxKept-1), false); !known {
		t.Error("the newest delivery is forgotten")
	}
	if got, want := m.leave(true), maxKept*keptSize; got != want {
		t.Errorf("got a size of %d, want %d", got, want)
	}
}

// What is under way is waited for, once.
func TestLedgerWaitsForTheEngine(t *testing.T) {
	m, calls := newLedger(), 0
	m.begin(1, tagOf(1))
	m.begin(2, tagOf(2))
	m.judge([]routing.Result{{Token: uint64(newSendToken(1, false, 1))}})
	if !m.whenJudged(func() { calls++ }) {
		t.Fatal("got nothing under way, want delivery 2")
	}
	m.judge([]routing.Result{{Token: uint64(newSendToken(2, false, 1)), Err: &routing.Error{Code: routing.CodeFull, Op: "send"}}})
	if calls != 1 || m.whenJudged(func() { calls++ }) {
		t.Errorf("got %d calls, want one, and nothing under way", calls)
	}
	if state, known := m.resume(9, tagOf(2), false); !known || state.Kind != frames.StateRejected {
		t.Errorf("got state %v, known %v, want rejected", state.Kind, known)
	}
}
