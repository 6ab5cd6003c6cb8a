package amqp

import (
	"slices"

	"github.com/selvedge-mq/selvedge/routing"
)

// backlog is what the links of a connection hold of messages that are not written yet. It is
// bounded in octets too, by [protocols.Limits.InFlightBytes]: credit counts messages,
// which may be large. What comes beyond that goes back to its queue, unmarked. The engine
// gives its credit back, and gets it again as the client reads, by the size that messages
// have.
type backlog struct {
	held  int        // octets
	short []*sending // links that have credit for which there is no room
}

// holds counts octets that the link holds.
func (l *sending) holds(n int) {
	l.held += n
	l.s.c.backlog.held += n
}

// admit counts deliveries that were put to the queue, and gives back those for which there
// is no room. There is for one, always.
func (l *sending) admit(ds *[]routing.Delivery) {
	r, limit := &l.s.c.backlog, l.s.c.f.o.Env.Limits.InFlightBytes
	back, excess := l.recalled, 0
	for i := range *ds {
		size := len((*ds)[i].Envelope.Payload)
		l.size = max(size, l.size-l.size/8)
		l.holds(size)
		if !back && r.held > limit && r.held > size {
			l.takeBack()
			back = true
		}
		if back && l.returns {
			excess++
		}
	}
	if excess > 0 {
		l.giveBack(excess)
		l.s.c.f.metrics.returned.Add(float64(excess))
	}
}

// takeBack has the engine give its credit back. What it has handed out until then is still
// on its way: the drain is answered behind it.
func (l *sending) takeBack() {
	k := &l.credit
	if !k.short {
		k.short = true
		l.s.c.backlog.short = append(l.s.c.backlog.short, l)
	}
	k.most = 0
	if k.granted > 0 {
		l.sub.Grant(-int32(k.granted)) //nolint:gosec // at most grantMax
		k.granted = 0
		l.drain()
		k.again = true
	}
	l.recalled = k.draining
}

// giveBack releases the last n of the waiting deliveries.
func (l *sending) giveBack(n int) {
	for range n {
		last := l.queue[len(l.queue)-1]
		end := len(*last) - 1
		d := &(*last)[end]
		l.sub.Settle(d.Tag, routing.Outcome{Kind: routing.Released}, nil, 0)
		l.holds(-len(d.Envelope.Payload))
		*d = routing.Delivery{}
		*last = (*last)[:end]
		l.credit.waiting--
		if end == 0 || len(l.queue) == 1 && end == l.pos {
			l.s.c.f.pools.putDeliveries(last)
			l.queue = l.queue[:len(l.queue)-1]
			if len(l.queue) == 0 {
				l.pos = 0
			}
		}
	}
	if l.credit.waiting == 0 && !l.cut.active { // the large one that waited for its turn is gone, too
		l.s.c.large.leave(l)
	}
}

// refill gives the engine credit again, when half of the room is free: for as many
// messages as fit, and for one at least.
func (c *conn) refill() {
	r, limit := &c.backlog, c.f.o.Env.Limits.InFlightBytes
	if len(r.short) == 0 {
		return
	}
	if r.held > limit/2 && len(c.buf) < outHigh {
		c.evict()
	}
	if r.held > limit/2 {
		return
	}
	room := limit - r.held
	for _, l := range r.short {
		room -= int(l.credit.granted) * l.size
	}
	r.short = slices.DeleteFunc(r.short, func(l *sending) bool {
		if l.recalled || l.s.out.left == 0 {
			return false
		}
		before := l.credit.granted
		l.refill(room / max(1, l.size))
		room -= int(l.credit.granted-before) * l.size
		return !l.credit.short
	})
}

// refill grants credit for as many messages more as fit.
func (l *sending) refill(fit int) {
	k := &l.credit
	if k.granted == 0 {
		fit = max(1, fit)
	}
	k.most = k.granted + uint32(max(0, min(fit, grantMax)))
	l.align(true)
	if k.parched {
		k.parched = false
		l.drain()
	}
	k.short = false
	k.short = k.want() > 0
}

// evict gives the messages back that wait for clients to open the windows of their
// sessions, when nothing else can be written: other sessions need the room.
func (c *conn) evict() {
	for s := range c.sessions.all() {
		if s.out.left > 0 {
			continue
		}
		for e := range s.links.all() {
			if l, ok := e.(*sending); ok && l.returns && l.credit.waiting > 0 && l.phase == linkAttached && !l.over {
				l.takeBack()
				l.giveBack(int(l.credit.waiting))
			}
		}
	}
}

// leaveRoom forgets what the link holds.
func (l *sending) leaveRoom() {
	l.holds(-l.held)
	l.recalled = false
	if l.credit.short {
		r := &l.s.c.backlog
		r.short = slices.DeleteFunc(r.short, func(o *sending) bool { return o == l })
	}
}
