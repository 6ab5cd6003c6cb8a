package sim_test

import (
	"time"

	"github.com/selvedge-mq/selvedge/routing/engine"
)

// away is how long the one that led for a moment is down: until it was seen whether
// everything goes well without it.
const away = recovery + 2*time.Second + calmMost + time.Second

// usurp has another node lead a shard for a moment while everything is at rest: it
// begins an epoch, says so to all but the leader before it, and dies, and that one leads
// again and never heard that it did not. Then everything has to go well, for the clients
// of a node that has heard of the epoch.
func (w *world) usurp() {
	g := w.groups[w.rng.IntN(len(w.groups))]
	top := g.top()
	witness := w.witness(g, top)
	if witness == nil {
		w.probe()
		return
	}
	var by *replica
	for _, r := range g.replicas {
		if r != top && r.node != witness {
			by = r
		}
	}
	l, end := w.link(by.node, top.node)
	w.healedAt, w.prober = w.now(), witness.proc
	w.notef("%s leads shard %d for a moment instead of %s", by.name, g.shard, top.name)
	l.lag[end][engine.LaneControl], top.untold = time.Minute, true
	g.handTo(top, by)
	w.after(w.between(60*time.Millisecond, 200*time.Millisecond), func() {
		g.giveBack(top, mostTries)
		w.after(w.between(time.Millisecond, 40*time.Millisecond), func() {
			l.lag[end][engine.LaneControl], top.untold = 0, false
			by.crash(w.chance(0.5))
			w.after(away, by.restart) // earlier it would have that leader look
			if top.lead == nil {      // it does not lead again
				top.announce(false)
			}
		})
	})
	w.after(recovery+2*time.Second, w.probe)
}

// witness returns a node that is neither the leader of a shard nor the only other one
// with its log, nil if there is none.
func (w *world) witness(g *group, top *replica) *node {
	if top == nil || len(g.replicas) < 3 {
		return nil
	}
	for _, n := range w.nodes[:w.plan.nodes] {
		if n != top.node && n.running() {
			return n
		}
	}
	return nil
}
