package peers

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

const (
	testBeat    = 100 * time.Millisecond
	testSuspect = 2 * time.Second
)

// newTestRoster returns a roster of a node's session.
func newTestRoster(node string, session, first uint64) *roster {
	with := &pairing{session: session, window: 1000, control: 1000, batch: 1000, pool: &pool{}}
	return newRoster(node, true, testSuspect, with, first)
}

// wire is two rosters and what is on its way between them.
type wire struct {
	ends [2]*roster
	up   [2]*pair // reported up
	way  [2][]notice
	now  time.Duration
	errs []string
}

// do carries out the effects at end i.
func (w *wire) do(i int, effects []effect) {
	for _, e := range effects {
		switch {
		case e.up != nil:
			if w.up[i] != nil {
				w.errs = append(w.errs, "up twice without down")
			}
			w.up[i] = e.up
		case e.down != nil && w.up[i] == e.down:
			w.up[i] = nil
		case e.tell != nil:
			w.way[1-i] = append(w.way[1-i], e.tell.notice)
		case e.clash != nil:
			w.errs = append(w.errs, "clash")
		}
	}
}

// step lets a heartbeat pass; lost says that broadcasts do not arrive.
func (w *wire) step(lost bool) {
	w.now += testBeat
	for i, r := range w.ends {
		w.do(i, r.tick(w.now))
		if !lost {
			w.way[1-i] = append(w.way[1-i], r.beat(kindBeat))
		}
	}
}

// hear delivers the notice at index k on the way to end i.
func (w *wire) hear(i, k int) {
	n := w.way[i][k]
	w.way[i] = append(w.way[i][:k:k], w.way[i][k+1:]...)
	w.do(i, w.ends[i].hear(&n, w.now))
}

// settle lets time pass on a wire without faults.
func (w *wire) settle(beats int) {
	for range beats {
		w.step(false)
		for len(w.way[0])+len(w.way[1]) > 0 {
			for i := range w.way {
				if len(w.way[i]) > 0 {
					w.hear(i, 0)
				}
			}
		}
	}
}

func TestRoster_BothEndsAgreeOnceTheWireIsGood(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := &wire{ends: [2]*roster{newTestRoster("a", 1, 100), newTestRoster("b", 2, 100)}}
		beats := 5
		for range rapid.IntRange(0, 150).Draw(t, "steps") {
			i := rapid.IntRange(0, 1).Draw(t, "end")
			n := len(w.way[i])
			switch rapid.SampledFrom([]string{"step", "hear", "hear", "hear", "drop", "repeat", "silence", "reset"}).Draw(t, "what") {
			case "step":
				w.step(false)
			case "silence":
				for range rapid.IntRange(1, 25).Draw(t, "beats") {
					w.step(true)
				}
			case "reset":
				if w.up[i] != nil {
					w.do(i, w.ends[i].reset(w.up[i], w.now))
					beats = 5 + int(restMost/testBeat)
				}
			case "hear":
				if n > 0 {
					w.hear(i, rapid.IntRange(0, n-1).Draw(t, "which"))
				}
			case "drop":
				if n > 0 {
					w.way[i] = w.way[i][1:]
				}
			case "repeat":
				if n > 0 {
					w.way[i] = append(w.way[i], w.way[i][rapid.IntRange(0, n-1).Draw(t, "which")])
				}
			}
		}
		w.settle(beats)
		a, b := w.up[0], w.up[1]
		switch {
		case a == nil || b == nil:
			t.Fatalf("got up %v and %v, want both", a != nil, b != nil)
		case a.mine != b.theirs || a.theirs != b.mine:
			t.Fatalf("got pairs %d/%d and %d/%d, want the same", a.mine, a.theirs, b.theirs, b.mine)
		case len(w.errs) > 0:
			t.Fatalf("got %v, want no fault", w.errs)
		}
	})
}

func TestRoster_ANewPairHasOtherNumbersAfterSilence(t *testing.T) {
	w := &wire{ends: [2]*roster{newTestRoster("a", 1, 100), newTestRoster("b", 2, 200)}}
	w.settle(2)
	mine, theirs := w.up[0].mine, w.up[0].theirs
	for range int(testSuspect/testBeat) + 2 {
		w.step(true)
	}
	if w.up[0] != nil || w.up[1] != nil {
		t.Fatalf("got peers up after silence, want both down")
	}
	w.settle(2)
	if w.up[0] == nil || w.up[1] == nil {
		t.Fatalf("got peers down after the wire is good again, want both up")
	}
	if w.up[0].mine == mine && w.up[0].theirs == theirs {
		t.Errorf("got the numbers of the former pair, want others")
	}
}

func TestRoster_AResetEndsThePairAtBothEndsAndTheyMeetAnew(t *testing.T) {
	w := &wire{ends: [2]*roster{newTestRoster("a", 1, 100), newTestRoster("b", 2, 200)}}
	w.settle(2)
	former := w.up
	w.do(0, w.ends[0].reset(former[0], w.now))
	if w.up[0] != nil {
		t.Fatal("got the peer up after a reset, want down")
	}
	w.hear(1, 0)
	if w.up[1] != nil {
		t.Fatal("got the other end's peer up after the offer, want down")
	}
	w.settle(5)
	if w.up[0] == nil || w.up[1] == nil || w.up[0] == former[0] || w.up[1] == former[1] {
		t.Fatalf("got pairs %v and %v, want new ones", w.up[0], w.up[1])
	}
	if effects := w.ends[0].reset(former[0], w.now); len(effects) != 0 {
		t.Errorf("got %d effects of a reset of a pair that is over, want none", len(effects))
	}
}

// A node that did not keep up would be met and given up many times in a minute, and
// each time what its consumers have in flight counts as an attempt.
func TestRoster_ResetsInARowRestLongerEachTime(t *testing.T) {
	w := &wire{ends: [2]*roster{newTestRoster("a", 1, 100), newTestRoster("b", 2, 200)}}
	w.settle(2)
	reset := func() (rest time.Duration) {
		w.do(0, w.ends[0].reset(w.up[0], w.now))
		for at := w.now; w.up[0] == nil || w.up[1] == nil; rest = w.now - at {
			w.settle(1)
		}
		return rest
	}
	const least = testSuspect / restPart
	for _, want := range []time.Duration{least, 2 * least, 4 * least, 8 * least, 16 * least, 32 * least, 64 * least, restMost, restMost} {
		if got := reset(); got < want || got > want+2*testBeat {
			t.Errorf("got a rest of %v, want %v", got, want)
		}
	}
	w.settle(int(calmAfter / testBeat))
	if got := reset(); got > least+2*testBeat {
		t.Errorf("got a rest of %v after a long calm, want %v", got, least)
	}
	if len(w.errs) > 0 {
		t.Errorf("got %v, want no fault", w.errs)
	}
}

func TestRoster_AStallOfTheOwnProcessIsNotTheOthersSilence(t *testing.T) {
	w := &wire{ends: [2]*roster{newTestRoster("a", 1, 100), newTestRoster("b", 2, 200)}}
	w.settle(2)
	w.now += 10 * testSuspect
	w.do(0, w.ends[0].tick(w.now))
	if w.up[0] == nil {
		t.Errorf("got the peer down at the first tick after a stall, want up")
	}
	for range int(testSuspect/testBeat) + 1 {
		w.now += testBeat
		w.do(0, w.ends[0].tick(w.now))
	}
	if w.up[0] != nil {
		t.Errorf("got the peer up though it stayed silent, want down")
	}
}

func TestRoster_TwoLiveProcessesOfOneNameAreReported(t *testing.T) {
	count := func(effects []effect) (n int) {
		for _, e := range effects {
			if e.clash != nil {
				n++
			}
		}
		return n
	}
	r := newTestRoster("a", 1, 100)
	first := &notice{kind: kindHello, node: "b", session: 2, conn: 5}
	second := &notice{kind: kindHello, node: "b", session: 3, conn: 5}
	now := time.Second
	got := count(r.hear(first, now)) + count(r.hear(second, now)) + count(r.hear(first, now))
	if got != 0 {
		t.Errorf("got %d reports just after a restart, want none", got)
	}
	now += testSuspect
	if got := count(r.hear(second, now)) + count(r.hear(first, now)) + count(r.hear(first, now)); got != 1 {
		t.Errorf("got %d reports of the other process, want 1", got)
	}
	self := &notice{kind: kindBeat, node: "a", session: 9}
	if got := count(newTestRoster("a", 1, 100).hear(self, now)); got != 1 {
		t.Errorf("got %d reports of a process with this node's name, want 1", got)
	}
}

// A second process of a name ended the pair of the first one at every other node.
func TestRoster_ALiveProcessKeepsItsPair(t *testing.T) {
	w := &wire{ends: [2]*roster{newTestRoster("a", 1, 100), newTestRoster("b", 2, 200)}}
	w.settle(2)
	former := w.up[0]
	rival := newTestRoster("b", 3, 900)
	hear := func(want *pair) {
		t.Helper()
		n := rival.beat(kindHello)
		n.conn = 901
		w.do(0, w.ends[0].hear(&n, w.now))
		if w.up[0] != want {
			t.Fatalf("at %v: got the pair %v, want %v", w.now, w.up[0], want)
		}
	}
	for range int(2 * testSuspect / testBeat) {
		w.settle(1)
		hear(former)
	}
	if len(w.errs) != 1 || w.errs[0] != "clash" {
		t.Errorf("got %v, want the clash reported once", w.errs)
	}
	w.now += testSuspect/rivalPart - time.Millisecond
	hear(former)
	w.now += time.Millisecond
	hear(nil) // the first one is gone, and the other one takes its place
}

func TestRoster_AGoodbyeIsNotUndoneByLateWords(t *testing.T) {
	w := &wire{ends: [2]*roster{newTestRoster("a", 1, 100), newTestRoster("b", 2, 200)}}
	w.settle(2)
	bye := w.ends[1].beat(kindGoodbye)
	late := w.ends[1].beat(kindBeat)
	w.do(0, w.ends[0].hear(&bye, w.now))
	if w.up[0] != nil {
		t.Fatalf("got the peer up after its goodbye, want down")
	}
	if got := w.ends[0].hear(&late, w.now); len(got) != 0 {
		t.Errorf("got %d effects of a late heartbeat, want none", len(got))
	}
	if got := w.ends[0].members(time.Time{}); len(got) != 1 || got[0].Up || got[0].Session != 2 || !got[0].Storage {
		t.Errorf("got members %+v, want b, down, session 2, with storage", got)
	}
}
