package sim_test

import (
	"context"
	"fmt"
	"sync"
	"testing/synctest"
	"time"

	"github.com/selvedge-mq/selvedge/routing"
	"github.com/selvedge-mq/selvedge/routing/engine"
)

// drainTime is how long a node that stops waits for its clients' requests.
const drainTime = time.Second

// handOverTime is how long it waits before that until others lead its shards.
const handOverTime = 3 * time.Second

// drain stops a process in order: if handsOver, others lead its shards first. It
// runs in a goroutine of its own.
func (p *process) drain(ctx context.Context, handsOver bool) {
	if handsOver {
		hctx, stop := context.WithTimeout(ctx, handOverTime)
		_ = p.eng.HandOver(hctx) // not in time, or to nobody: it goes all the same
		stop()
	}
	ctx, stop := context.WithTimeout(ctx, drainTime)
	defer stop()
	_ = p.eng.Drain(ctx) // the same
	p.w.emit(source{kind: outCall, node: p.index, who: 2}, func() {
		p.when(func() {
			p.goodbye()
			p.crash(false)
			p.w.after(p.w.between(minElection, 3*time.Second), p.restart)
		})
	})
}

// goodbye tells all others that the process ends.
func (p *process) goodbye() {
	p.w.notef("goodbye %s", p.name)
	p.w.left.add(p.session)
	for _, l := range p.w.links {
		for end, n := range l.ends {
			if n == p.node {
				l.leave(end)
			}
		}
	}
}

// beKind has every message consumed: what is left after it is lost or stuck.
func (w *world) beKind() {
	for _, c := range w.clients {
		if c.transactor != nil && c.alive {
			c.concludeTransactions()
		}
		if c.consumer != nil && c.alive {
			if c.picky { // it rejects some more, of which nothing comes behind
				w.after(w.between(time.Millisecond, time.Second), c.becomeKind)
				continue
			}
			c.becomeKind()
		}
	}
	for i := range w.plan.queues {
		w.consumeKindly(queueName(i), true)
	}
	w.consumeKindly(routing.Queue(deadLetters), true)
	w.after(recovery+time.Second, w.probe)
}

// probe sends to every queue once more: now everything has to go well.
func (w *world) probe() {
	for i := range w.plan.queues {
		w.produce(queueName(i), true, 4, 4)
	}
	for i := range w.plan.topics {
		w.produce(topicName(i), true, 4, 4)
		w.listen(topicName(i))
	}
	if w.chance(0.3) {
		w.after(w.between(time.Microsecond, 20*time.Millisecond), w.handOverCalmly)
	}
	if w.plan.requesters > 0 {
		w.request(true)
	}
	if w.plan.transactors > 0 {
		w.transactCalmly()
	}
	w.awaitRest(w.now()+time.Minute, func() {
		if w.plan.usurps {
			w.plan.usurps = false
			w.usurp()
			return
		}
		w.closeTemporaries()
		w.awaitRest(w.now()+time.Minute, w.stop)
	})
}

// handOverMost is how long it may take to give shards away when nothing is wrong.
const handOverMost = time.Second

// handOverCalmly has a node give its shards away when nothing is wrong: that takes no
// time to speak of, and nobody notices.
func (w *world) handOverCalmly() {
	p, began := w.anyProcess(), w.now()
	ctx, stop := context.WithCancel(context.Background())
	p.atEnd = append(p.atEnd, stop)
	w.handing = true
	w.notef("%s hands over", p.name)
	go func() {
		err := p.eng.HandOver(ctx)
		w.emit(source{kind: outCall, node: p.index, who: 4}, func() {
			w.handing = false
			if took := w.now() - began; err != nil || took > handOverMost {
				w.violated("%s hands its shards over though nothing is wrong: after %v %v", p.name, took, err)
			}
		})
	}()
}

// awaitRest goes on with next when nothing is left to do. [everything ends]
func (w *world) awaitRest(deadline time.Duration, next func()) {
	left := w.unfinished()
	switch {
	case left == "":
		next()
	case w.now() > deadline:
		w.violated("still unfinished a minute after everything was healed: %s", left)
	default:
		w.after(500*time.Millisecond, func() { w.awaitRest(deadline, next) })
	}
}

// unfinished says what is still to be done, nothing if all is at rest.
func (w *world) unfinished() string {
	for _, c := range w.clients {
		if !c.alive {
			continue
		}
		if c.producer != nil && c.sent < c.limit {
			return fmt.Sprintf("%s has sent %d messages of %d", c.name, c.sent, c.limit)
		}
		if c.transactor != nil && (c.txn != nil || !c.over && c.left > 0) {
			return fmt.Sprintf("%s has transactions to do", c.name)
		}
		if len(c.calls) > 0 {
			return fmt.Sprintf("%s waits for the end of %d requests", c.name, len(c.calls))
		}
	}
	if w.handing {
		return "a node hands its shards over"
	}
	for _, m := range w.ledger.messages {
		if what := m.unfinished(w); what != "" {
			return fmt.Sprintf("%v: %s", m, what)
		}
	}
	if what := w.ledger.transactionsLeft(); what != "" {
		return what
	}
	if w.folder != nil && !w.folder.done {
		return "the import is not done"
	}
	if what := w.leftOver(); what != "" {
		return what
	}
	return w.windowsLeft()
}

// unfinished says what is to happen with a message. [invariant 1]
func (m *message) unfinished(w *world) string {
	switch {
	case m.topic:
		return m.unheard(w)
	case m.maybeGone(w):
		return ""
	case m.deliveries > 0 || m.dead > 0:
	case m.persistent && m.committed:
		return "committed, and never delivered"
	case !m.confirmed:
	case m.persistent:
		return "confirmed, and never delivered"
	case m.handed >= w.plan.maxDeliveries: // it may have died, and was lost with a leader of the dead letters
	case m.epoch == w.groups[w.shardOf(m.queue)].truth.epoch:
		return "confirmed by the leader that still leads, and never delivered"
	}
	if m.rejected && m.persistent && m.dead == 0 && m.deliveries < 2 { // a leader that ends may hand it out again
		return "rejected, and neither in the dead-letter queue nor delivered again"
	}
	return ""
}

// leftOver looks for queues that are not empty.
func (w *world) leftOver() string {
	p := w.anyProcess()
	if p == nil {
		return "no node runs"
	}
	var (
		queues []engine.QueueInfo
		wg     sync.WaitGroup
	)
	wg.Go(func() { queues, _ = p.eng.Queues(context.Background()) })
	wg.Wait()
	synctest.Wait()
	for _, q := range queues {
		if q.Depth > 0 {
			return fmt.Sprintf("queue %s has %d messages, %d of them in flight", q.Name, q.Depth, q.InFlight)
		}
		if isTemporary(q.Name) && !w.ownedByLiving(q.Name) {
			return fmt.Sprintf("%s is still there", q.Name)
		}
	}
	return ""
}

// windowsLeft looks for lanes whose bytes were not given back. [invariant 8]
func (w *world) windowsLeft() string {
	for _, l := range w.links {
		if l.ends[0].retired || l.ends[1].retired {
			continue
		}
		if !l.up[0] || !l.up[1] {
			return fmt.Sprintf("%s and %s have not met again", l.ends[0].name, l.ends[1].name)
		}
		for end := range l.lanes {
			for ln, at := range l.lanes[end] {
				if ln != int(engine.LaneControl) && at.unread > 0 {
					return fmt.Sprintf("lane %d of %s to %s: %d bytes were not given back", ln, l.ends[end].name, l.ends[1-end].name, at.unread)
				}
			}
		}
	}
	return ""
}
