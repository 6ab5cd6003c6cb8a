package engine

import (
	"context"
	"math"
	"sync/atomic"
	"time"

	"github.com/selvedge-mq/selvedge/internal/mailbox"
	"github.com/selvedge-mq/selvedge/routing"
	"github.com/selvedge-mq/selvedge/routing/shard"
)

// The lanes of requests, as they stand in the log.
const (
	laneSettle = byte(1)
	laneSend   = byte(2)
	laneDead   = byte(3) // dead letters of another shard
)

// portal speaks for this node's clients with one shard, wherever its leader is.
// It numbers requests, holds them until they are confirmed, and tells each new
// leader what the node knows.
type portal struct {
	e      *Engine
	shard  int
	box    *mailbox.Mailbox[func()]
	in     intake
	settle settleIntake
	joined atomic.Bool               // the leader has welcomed the portal
	full   atomic.Pointer[time.Time] // until then the shard's log has no room
	heard  atomic.Pointer[time.Time] // the last heartbeat of a leader on another node

	// Owned by the portal's goroutine.
	leader   string
	epoch    uint32
	reported bool   // the leader got a report in this epoch, on this connection
	reports  uint64 // number of that report, or of the next one
	lanes    [2]outLane
	subs     map[uint64]*queueSub
	guests   map[int]*guest                    // by shard
	creating map[routing.Address][]func(error) // temporary queues that are being made, who waits for them
	owed     []*queueSub                       // with credit not told to the leader
	control  []waitingControl                  // that the lane did not take
	owing    int64                             // their cost
	done     completions
	idlers   idlers
	lastRead uint64          // number of the latest read
	awaiting []chan struct{} // closed when the portal follows a leader on another node
	batch    []routing.Delivery
}

func newPortal(e *Engine, n int) *portal {
	p := &portal{e: e, shard: n, box: mailbox.New[func()](), subs: map[uint64]*queueSub{}, guests: map[int]*guest{}, creating: map[routing.Address][]func(error){}}
	p.in.wake, p.settle.wake = p.box.Wake, p.box.Wake
	p.in.parts.window = e.opts.UploadWindow
	p.lanes[0] = newOutLane(laneSettle, LaneSettle)
	p.lanes[1] = newOutLane(laneSend, LaneSend)
	return p
}

// tick is how often a portal looks for requests that wait too long.
const tick = 250 * time.Millisecond

func (p *portal) run(ctx context.Context) {
	timer := time.NewTicker(tick)
	defer timer.Stop()
	var calls []func()
	for {
		select {
		case <-ctx.Done():
			p.abandon()
			return
		case <-timer.C:
			p.expire(time.Now())
		case <-p.box.Ready():
		}
		// Calls are taken first and run last: a close comes after the
		// settlements that its client made before it.
		calls = p.box.Take(calls)
		p.gather()
		for _, f := range calls {
			f()
		}
		p.forward()
		p.done.flush()
		p.wakeIdlers()
	}
}

// gather numbers what the sessions put in.
func (p *portal) gather() {
	now := time.Now()
	if reqs := p.settle.take(); len(reqs) > 0 {
		for i := range reqs {
			r := &reqs[i]
			r.sub.settles++
			r.sub.note(r.key, r.note(p.lanes[0].next+uint64(i)))
		}
		p.lanes[0].addSettles(p.e.session, reqs, now)
	}
	if buf, reqs := p.in.take(); len(reqs) > 0 {
		for i := range reqs {
			if t := reqs[i].step; t != nil && t.part != nil {
				p.settling(t.part, p.lanes[1].next+uint64(i))
			}
		}
		p.lanes[1].addSends(p.e.session, buf, reqs, now)
		if l := &p.lanes[1]; l.ahead > l.lowest {
			p.confirmAhead(l)
		}
	}
}

// forward sends the leader what it has not got, as far as the windows allow.
func (p *portal) forward() {
	if !p.reported && p.reaches() {
		p.report()
	}
	p.flushGrants()
	if !p.flushControl() || !p.joined.Load() {
		return
	}
	for i := range p.lanes {
		l := &p.lanes[i]
		for l.sent < len(l.batches) && p.transmit(l, l.batches[l.sent]) {
			l.sent++
		}
	}
	p.forwardGuests()
}

func (p *portal) head(v verb) head { return head{verb: v, shard: p.shard, epoch: p.epoch} }

// transmit hands a batch to the leader; it reports false when the lane is full.
func (p *portal) transmit(l *outLane, b *outBatch) bool {
	b.setLowest(l.known(p.e.importing.Load()))
	if p.leader == p.e.node {
		if b.sends != nil {
			sends := *b.sends
			return p.e.heed(p.shard, p.e.node, p.epoch, func(at *leader) { at.queueSends(p.e.node, &sends, 0) }, nil)
		}
		settles := *b.settles
		b.own = false
		return p.e.heed(p.shard, p.e.node, p.epoch, func(at *leader) { at.queueSettles(p.e.node, &settles, 0) }, nil)
	}
	if b.sends != nil {
		v := verbSend
		if b.sends.step {
			v = verbStep
		}
		msg := make([]byte, 0, headSize+32+3*len(b.sends.sizes)+len(b.sends.buf))
		return p.e.opts.Peers.Send(p.leader, l.peer, b.sends.append(p.head(v).append(msg)))
	}
	return p.e.opts.Peers.Send(p.leader, l.peer, b.settles.append(p.head(verbSettle).append(nil)))
}

// announce takes note of who leads the shard. A later epoch says that the log has room:
// it took the record with which the epoch begins. A leader may refute one that is in no
// log; 0 for none.
func (p *portal) announce(node string, epoch, refutes uint32) {
	if epoch < p.epoch && p.epoch != refutes || epoch == p.epoch && node == p.leader {
		return
	}
	if epoch < p.epoch {
		p.e.log.Error().Int("shard", p.shard).Uint32("heard", p.epoch).Str("from", p.leader).
			Msg("node spoke of an epoch that is in no log: its memory is damaged, or the log was lost and begun anew while this node ran")
	}
	if refutes > 0 {
		p.e.forgetGuests(p.shard, refutes)
	}
	if epoch != p.epoch {
		p.full.Store(nil)
		p.e.sayRoom(p.shard, node)
	}
	p.rejoin()
	p.leader, p.epoch = node, epoch
}

// heed has the portal take what a leader said that has a report, if that is the latest one
// when it comes to it: each leader gets one, and so does a leader on each connection. What
// has bytes of a window to give back sees to that itself.
func (p *portal) heed(report uint64, f func()) {
	p.box.Put(func() {
		if report == p.reports {
			f()
		}
	})
}

// lost takes note that a node cannot be reached.
func (p *portal) lost(node string) {
	if node == p.leader {
		p.rejoin()
	}
}

// rejoin has the portal report to its leader again.
func (p *portal) rejoin() {
	p.joined.Store(false)
	p.reported = false
	p.reports++
	p.dropControl()
}

// welcome begins the work with a leader: it expects these numbers next.
func (p *portal) welcome(expects [2]uint64) {
	if !p.reported {
		return
	}
	for i := range p.lanes {
		p.neverMade(&p.lanes[i], verbWelcome, expects[i])
		p.lanes[i].rewind(expects[i])
	}
	p.rejoinGuests()
	p.joined.Store(true)
	if p.leader != p.e.node {
		p.tellFollowing()
	}
	for _, q := range p.subs {
		p.opened(q)
	}
	p.askAgain()
}

// openedAt takes the leader's word that a subscription is in force.
func (p *portal) openedAt(sub uint64) {
	if q := p.subs[sub]; q != nil {
		p.opened(q)
	}
}

// closedAt takes the leader's word that a subscription has ended.
func (p *portal) closedAt(sub uint64) {
	if q := p.subs[sub]; q != nil {
		p.endSub(q, nil)
	}
}

func (p *portal) opened(q *queueSub) {
	if q.opened != nil {
		p.done.add(q.opened.c, q.opened.token, nil)
		q.opened = nil
	}
}

// subscribe implements the session's Subscribe for queues.
func (p *portal) subscribe(id uint64, o routing.SubscribeOptions, sink routing.Sink, c routing.Completer, token uint64) *queueSub {
	q := &queueSub{
		p: p, id: id, opts: o, sink: sink, inFlight: map[uint64]unsettled{},
		opened: &call{c, token, time.Now()},
	}
	p.box.Put(func() {
		waiting, ok := p.creating[o.Address]
		if !ok {
			p.addSub(q)
			return
		}
		p.creating[o.Address] = append(waiting, func(err error) {
			if err != nil || q.gone.Load() {
				p.endSub(q, err)
				return
			}
			p.addSub(q)
		})
	})
	return q
}

// addSub tells the leader of a subscription, and of what was asked of it before.
func (p *portal) addSub(q *queueSub) {
	p.subs[q.id] = q
	p.tell(appendSubscribe(p.head(verbSubscribe).append(nil), q.id, q.opts.Address), func(l *leader) {
		l.subscribe(p.e.node, shard.SubID{Session: p.e.session, Sub: q.id}, q.opts.Address)
	})
	if q.credit > 0 {
		q.owed = int32(min(q.credit, 1<<30))
		p.owed = append(p.owed, q)
	}
	if q.draining {
		p.drain(q)
	}
}

func (p *portal) grant(q *queueSub, n int32) {
	if q.closing {
		return
	}
	if n < 0 {
		n = -int32(min(uint32(-int64(n)), q.credit))
	}
	q.credit = uint32(int64(q.credit) + int64(n))
	if q.owed == 0 {
		p.owed = append(p.owed, q)
	}
	q.owed += n
}

// flushGrants tells the leader the credit granted in this turn, once for each
// subscription.
func (p *portal) flushGrants() {
	for _, q := range p.owed {
		n := q.owed
		q.owed = 0
		if n == 0 || p.subs[q.id] != q {
			continue
		}
		p.tell(appendGrant(p.head(verbGrant).append(nil), q.id, n), func(l *leader) {
			l.grant(shard.SubID{Session: p.e.session, Sub: q.id}, n)
		})
	}
	p.owed = p.owed[:0]
}

func (p *portal) drain(q *queueSub) {
	p.flushGrants()
	q.draining = true
	p.tell(appendSub(p.head(verbDrain).append(nil), q.id), func(l *leader) {
		l.drain(shard.SubID{Session: p.e.session, Sub: q.id})
	})
}

// drained takes note that the leader took the rest of the credit back.
func (p *portal) drained(sub uint64, n uint32) {
	q := p.subs[sub]
	if q == nil {
		return
	}
	q.credit -= min(n, q.credit)
	q.draining = false
	q.sink.Drained(n)
}

func (p *portal) closeSub(q *queueSub, by call) {
	if q.closing || p.subs[q.id] != q {
		p.done.add(by.c, by.token, nil)
		return
	}
	p.grant(q, -int32(min(q.credit, math.MaxInt32)))
	q.closing, q.closer = true, &by
	p.finishClose(q)
}

// finishClose ends a subscription at the leader once its settlements are confirmed.
// Those of a part that waits for other shards do not hold it: they are the leader's.
// Without a leader it ends here: the next one hears nothing of it.
func (p *portal) finishClose(q *queueSub) {
	switch {
	case !q.closing || q.settles > 0 || q.closeSent:
	case !p.reported, !p.reaches():
		p.endSub(q, nil)
	default:
		q.closeSent = true
		p.tellClose(q.id, q.seen)
	}
}

// tellClose has the leader end a subscription that has seen so many deliveries.
func (p *portal) tellClose(sub, seen uint64) {
	p.tell(appendSub(appendSub(p.head(verbClose).append(nil), sub), seen), func(l *leader) {
		l.closeSub(p.e.node, shard.SubID{Session: p.e.session, Sub: sub}, seen)
	})
}

// endSub forgets a subscription and tells those who wait.
func (p *portal) endSub(q *queueSub, err error) {
	delete(p.subs, q.id)
	q.gone.Store(true)
	q.endReads()
	if q.opened != nil {
		p.done.add(q.opened.c, q.opened.token, err)
		q.opened = nil
	}
	if q.closer != nil {
		p.done.add(q.closer.c, q.closer.token, nil)
		q.closer = nil
	}
}

// deliver hands deliveries of the current leader to their subscriptions. Those that go by
// a former report went back when it ended. [invariant 2]
func (p *portal) deliver(report uint64, ds []handed) {
	if report != p.reports {
		p.e.metrics.refused.Add(float64(len(ds)))
		return
	}
	var q *queueSub
	for i := range ds {
		d := &ds[i]
		if q == nil || q.id != d.sub {
			p.handOver(q)
			if q = p.subs[d.sub]; q == nil {
				p.disown(d.sub)
			}
		}
		if q == nil || q.gone.Load() {
			continue
		}
		if q.opened != nil { // nobody gets a delivery before the subscription's result
			p.opened(q)
			p.done.flush()
		}
		if q.closing || q.credit == 0 {
			p.sendBack(q, d)
			continue
		}
		q.credit--
		q.take(d.key)
		p.collect(q, d)
	}
	p.handOver(q)
}

// sendBack releases a delivery that nobody has seen: its subscription waits for its
// settlements to end, or took its credit back while the delivery was on its way. What
// comes behind the close the leader takes back.
func (p *portal) sendBack(q *queueSub, d *handed) {
	if q.closeSent {
		return
	}
	q.take(d.key)
	p.settle.put(settleRequest{sub: q, key: d.key, outcome: routing.Outcome{Kind: routing.Released}})
	p.gather() // the close comes behind it
}

// disown has the leader end a subscription that this node does not have any more.
func (p *portal) disown(sub uint64) { p.tellClose(sub, 0) }

func (p *portal) handOver(q *queueSub) {
	if q == nil || len(p.batch) == 0 {
		return
	}
	p.e.given.Add(uint64(len(p.batch)))
	q.sink.Deliver(p.batch)
	clear(p.batch)
	p.batch = p.batch[:0]
}

func (p *portal) idle(ctx context.Context) error {
	return p.idlers.wait(ctx, p.box)
}

func (p *portal) wakeIdlers() {
	if len(p.idlers) == 0 || len(p.lanes[0].batches)+len(p.lanes[1].batches) > 0 {
		return
	}
	p.idlers.wake()
}
