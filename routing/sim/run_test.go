package sim_test

import (
	"testing/synctest"
	"time"
)

// seedsUnderRace is how many seeds the race detector gets to see, in `make race`. CI
// runs the simulation without it.
const seedsUnderRace = 60

// begin starts the nodes, the clients and the faults.
func (w *world) begin() {
	storing := w.nodes[:w.plan.nodes]
	for _, n := range storing {
		n.start()
	}
	for _, n := range storing {
		w.after(w.between(time.Millisecond, 100*time.Millisecond), n.proc.serveIfAlive)
	}
	for range w.plan.producers {
		queue, persistent := queueName(w.rng.IntN(w.plan.queues)), w.chance(0.85)
		window := 1 + w.rng.IntN(30)
		w.after(w.between(200*time.Millisecond, 2*time.Second), func() {
			w.produce(queue, persistent, window, w.plan.messages)
		})
	}
	for range w.plan.consumers {
		queue := queueName(w.rng.IntN(w.plan.queues))
		w.after(w.between(200*time.Millisecond, 2*time.Second), func() { w.consume(queue) })
	}
	w.beginRest()
	w.schedule()
	w.after(w.plan.trouble, w.heal)
}

// beginRest starts the clients that do more than send and take, and the import.
func (w *world) beginRest() {
	soon := func(f func()) { w.after(w.between(200*time.Millisecond, 2*time.Second), f) }
	for range w.plan.transactors {
		queue, messages := queueName(w.rng.IntN(w.plan.queues)), 10+w.rng.IntN(30)
		soon(func() { w.transact(queue, messages) })
	}
	for range w.plan.requesters {
		soon(func() { w.request(false) })
	}
	for i := range w.plan.topics {
		window, persistent := 1+w.rng.IntN(30), w.chance(0.5)
		soon(func() { w.produce(topicName(i), persistent, window, w.plan.messages) })
		for range 1 + w.rng.IntN(3) {
			soon(func() { w.listen(topicName(i)) })
		}
	}
	if w.plan.expiry > 0 {
		soon(func() { w.produce(idle, w.chance(0.8), 8, w.plan.messages/2) })
	}
	if w.folder != nil {
		soon(w.nodes[w.plan.nodes].restart)
	}
}

// end closes every engine.
func (w *world) end() {
	for _, n := range w.nodes {
		if n.proc != nil {
			n.crash(false)
		}
	}
	synctest.Wait()
}

// totals counts what happened.
func (w *world) totals() totals {
	t := totals{events: w.count, messages: len(w.ledger.messages), resets: w.resets, uploads: w.uploads, read: w.read}
	for _, m := range w.ledger.messages {
		t.marked += m.deliveries - m.unmarked
	}
	for _, g := range w.groups {
		t.voids += g.truth.voids
		t.elections += g.elections
	}
	for _, n := range w.nodes {
		t.crashes += max(0, n.cycles-1)
	}
	return t
}
