package sim_test

import (
	"slices"
	"time"
)

// aim has something go wrong in the middle of a commit over several shards: its
// steps take less than a millisecond each, so faults at random moments would
// hardly ever meet them.
func (w *world) aim(t *txn) {
	if w.healed || len(t.shards) < 2 || w.plan.aims == 0 || !w.chance(0.3) {
		return
	}
	w.plan.aims--
	var shards []int
	for n := range t.shards {
		shards = append(shards, n)
	}
	slices.Sort(shards) // the first one decides
	at := shards[0]
	if w.chance(0.4) {
		at = shards[1+w.rng.IntN(len(shards)-1)]
	}
	how := w.rng.IntN(5)
	w.after(w.between(50*time.Microsecond, 4*time.Millisecond), func() {
		if leader := w.groups[at].top(); !w.healed && leader != nil {
			w.notef("aim %d at %v in shard %d", how, t, at)
			w.hit(how, t.client.proc.node, leader)
		}
	})
}

// hit makes a fault of the kind at the client's node, at a leader, or between them.
func (w *world) hit(kind int, client *node, leader *replica) {
	switch kind {
	case 0:
		w.crashThis(client)
	case 1:
		w.crashThis(leader.node)
	case 2:
		w.pauseThis(leader.node)
	case 3:
		leader.g.transfer(leader.node)
	default:
		if l, _ := w.link(client, leader.node); l != nil {
			w.cutFor(w.between(500*time.Millisecond, 6*time.Second), []func(on bool){func(on bool) { l.cut = [2]bool{on, on} }})
		}
	}
}
