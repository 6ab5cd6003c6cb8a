package sim_test

import (
	"slices"
	"time"

	"github.com/selvedge-mq/selvedge/routing"
)

// consumer has a subscription with credit. It accepts most of what it gets, and
// does everything else that a consumer may do.
type consumer struct {
	sub     routing.Subscription
	opts    routing.SubscribeOptions
	granted int // credit given, less what was drained
	got     int
	kind    bool // accepts everything at once
	picky   bool // rejects much
	closing bool
	closed  bool
	asked   bool        // a drain is not answered
	held    []*delivery // neither settled nor to be settled soon
	hand    []*delivery // what it got and has not settled
	unsure  int         // settlements that nobody has confirmed
	order   map[*client]int
	readers map[uint64]*reader // large deliveries that are read, by the token of the read
}

// pickyEvery is how often a consumer that rejects much settles what it got.
const pickyEvery = 20 * time.Millisecond

// delivery is what a consumer got.
type delivery struct {
	routing.Delivery
	m     *message
	at    time.Duration
	from  int  // handovers of the message up to this one
	nth   int  // which delivery of the message it is
	downs int  // connections that had ended when it came
	alone bool // it came again, and its consumer had nothing else to do
}

// consume starts a consumer of a queue.
func (w *world) consume(queue routing.Address) { w.consumeKindly(queue, false) }

func (w *world) consumeKindly(queue routing.Address, kind bool) {
	p := w.anyProcess()
	if p == nil {
		w.after(connectMost, func() { w.consumeKindly(queue, kind || w.healed) })
		return
	}
	if c := w.connect(p, "c", queue); c.alive {
		c.subscribe(kind)
	}
}

// subscribe makes a consumer of a client, of its queue.
func (c *client) subscribe(kind bool) {
	w := c.w
	c.consumer = &consumer{kind: kind, picky: !kind && w.chance(0.08), order: map[*client]int{}}
	c.opts = routing.SubscribeOptions{Address: c.queue, Settled: !kind && c.transactor == nil && w.chance(0.1)}
	c.sub = c.session.Subscribe(c.opts, c, c, c.token(ofStep, func(err error) {
		switch code := routing.CodeOf(err); {
		case code == routing.CodeOK:
		case code == routing.CodeTimeout, code == routing.CodeUnavailable, code == routing.CodeFull: // it is closed
			if c.temp != nil && c.temp.late {
				c.closing, c.closed = true, true
				return
			}
			c.leave()
		case code == routing.CodeNotFound && c.temp != nil && c.temp.gone:
			c.leave()
		default:
			w.violated("%s: subscribe: %v", c.name, err)
		}
	}))
	c.grant(1 + w.rng.IntN(20))
	if kind {
		return
	}
	if c.temp == nil {
		w.after(w.between(300*time.Millisecond, 2*w.plan.trouble), c.finish)
	}
	if w.chance(0.3) {
		w.after(w.between(300*time.Millisecond, w.plan.trouble), c.drain)
	}
}

// leave ends the client; another one comes in its place.
func (c *client) leave() {
	if !c.alive {
		return
	}
	c.alive = false
	c.closed = true
	if c.transactor != nil {
		if c.txn != nil {
			c.txn.state = txVoid
		}
		c.session.Close()
	}
	if c.temp != nil {
		c.temp.gone = true
		c.session.Close()
	}
	c.w.after(c.w.between(connectLeast, connectMost), c.again)
}

func (c *client) grant(n int) {
	c.granted += n
	c.sub.Grant(int32(n))
}

// drain asks for what there is, and grants anew when that was answered.
func (c *client) drain() {
	c.act(func() {
		if c.closing || c.asked || c.kind {
			return
		}
		c.asked = true
		c.w.notef("drain %s", c.name)
		c.sub.Drain()
	})
}

func (c *client) drained(n uint32) {
	c.w.notef("drained %s %d", c.name, n)
	if !c.asked {
		c.w.violated("%s: drained, and has not asked for it", c.name)
	}
	c.asked = false
	c.granted -= int(n)
	if c.granted < c.got {
		c.w.violated("%s: %d credits drained, it had %d left", c.name, n, int(n)+c.granted-c.got)
	}
	if !c.closing {
		c.grant(1 + c.w.rng.IntN(10))
	}
}

// finish closes the subscription, then the client.
func (c *client) finish() {
	c.act(func() {
		if c.closing || c.kind {
			return
		}
		c.closing = true
		c.w.ledger.ends++
		c.w.notef("close %s", c.name)
		c.sub.Close(c, c.token(ofStep, func(err error) {
			switch routing.CodeOf(err) {
			case routing.CodeOK, routing.CodeTimeout, routing.CodeUnavailable, routing.CodeFull:
			default:
				c.w.violated("%s: close: %v", c.name, err)
			}
			c.leave()
		}))
	})
}

// take takes a delivery.
func (c *client) take(d *routing.Delivery) {
	if c.consumer == nil || c.closed {
		c.w.violated("%s: a delivery after the end of its subscription", c.name)
		return
	}
	c.got++
	if c.got > c.granted {
		c.w.violated("%s: %d deliveries for %d credits", c.name, c.got, c.granted)
	}
	m := c.w.ledger.delivered(c, d)
	if m == nil {
		return
	}
	c.w.notef("deliver %s message %d epoch %d failed %d redelivered %v", c.name, m.id, d.Tag.Epoch, d.Failed, d.Redelivered)
	c.inOrder(m, d)
	if c.opts.Settled {
		m.asked++
		again := func() {
			c.w.after(c.w.between(time.Millisecond, 30*time.Millisecond), func() { c.act(func() { c.regrant() }) })
		}
		if d.Envelope.Large() {
			c.readLarge(d, m, again)
			return
		}
		again()
		return
	}
	got := &delivery{
		Delivery: *d, m: m, at: c.w.now(), from: m.handed, nth: m.deliveries, downs: c.w.ledger.downs,
		alone: d.Redelivered && len(c.hand) == 0 && c.unsure == 0,
	}
	c.hand = append(c.hand, got)
	if c.queue == m.queue {
		m.holder, m.heldAt, m.heldKey = c, c.w.now(), d.Tag.Key
	}
	if c.killed(m) {
		return
	}
	think := c.w.between(100*time.Microsecond, 20*time.Millisecond)
	if !c.kind && c.w.chance(0.02) {
		think = c.w.between(time.Second, 4*time.Second)
	}
	if c.picky { // it settles what it has all at once
		think = pickyEvery - c.w.now()%pickyEvery
	}
	decide := func() { c.w.after(think, func() { c.act(func() { c.decide(got) }) }) }
	if d.Envelope.Large() {
		c.readLarge(&got.Delivery, m, decide)
		return
	}
	decide()
}

// killed reports whether the message is the deadly one: it kills the node of whoever
// gets it, in that moment.
func (c *client) killed(m *message) bool {
	w, n := c.w, c.proc.node
	if m.id != w.plan.deadly || m.queue != c.queue || c.kind || w.healed {
		return false
	}
	w.notef("%s dies of message %d", c.name, m.id)
	n.crash(w.chance(0.5))
	w.after(w.between(minElection, 3*time.Second), n.restart)
	return true
}

// inOrder checks the first deliveries of a producer's messages. [invariant 9]
func (c *client) inOrder(m *message, d *routing.Delivery) {
	if !m.persistent || d.Redelivered || m.returns > 0 || m.queue != c.queue {
		return
	}
	if last, ok := c.order[m.producer]; ok && m.number <= last {
		c.w.violated("%v: delivered to %s after number %d", m, c.name, last)
	}
	c.order[m.producer] = m.number
}

func (c *client) regrant() {
	if !c.closing {
		c.grant(1)
	}
}

// decide settles a delivery in one of the ways there are.
func (c *client) decide(d *delivery) {
	if c.closing {
		return
	}
	if c.transactor != nil && !c.busy && !c.over && !c.kind && c.w.chance(0.7) {
		c.settleInTransaction(d)
		c.regrant()
		return
	}
	o := routing.Outcome{Kind: routing.Accepted}
	if !c.kind && c.queue.Name != deadLetters {
		switch x := c.w.rng.Float64(); {
		case c.picky && x > 0.4:
			o.Kind = routing.Rejected
		case x < 0.06:
			o.Kind = routing.Released
		case x < 0.12:
			o = routing.Outcome{Kind: routing.Modified, DeliveryFailed: true}
		case x < 0.14:
			o = routing.Outcome{Kind: routing.Modified, UndeliverableHere: true}
		case x < 0.16:
			o = routing.Outcome{Kind: routing.Modified, DeliveryFailed: true, UndeliverableHere: true}
		case x < 0.18:
			o.Kind = routing.Rejected
		case x < 0.20:
			c.held = append(c.held, d)
			return
		}
	}
	c.settle(d, o)
	c.regrant()
}

func (c *client) settle(d *delivery, o routing.Outcome) {
	dead := c.queue != d.m.queue
	c.hand = slices.DeleteFunc(c.hand, func(at *delivery) bool { return at == d })
	c.unsure++
	d.m.letGo(c)
	d.m.asked++
	switch {
	case dead:
	case o.Kind == routing.Rejected:
		d.m.rejects++
	case o.DeliveryFailed:
		d.m.fails++
	case o.Kind != routing.Accepted:
		d.m.returns++
	}
	token := c.token(ofSettle, func(err error) {
		if err == nil {
			c.unsure--
		}
		if routing.CodeOf(err) == routing.CodeStale && !dead && c.owns(d) {
			c.w.violated("%v: %s settles it and is told that it was handed out again, and nobody got it", d.m, c.name)
		}
		c.w.ledger.settled(c, d, o, err, dead)
	})
	c.w.notef("settle %s message %d outcome %d request %d", c.name, d.m.id, o.Kind, token)
	c.sub.Settle(d.Tag, o, c, token)
}

// owns reports whether nothing has taken a delivery from its consumer, whose node was
// always there.
func (c *client) owns(d *delivery) bool {
	m := d.m
	return c.w.quiet(d.at) && !c.closing && m.persistent && m.temp == nil && !m.over && !m.accepted && m.handed == d.from
}

// becomeKind has the consumer accept everything from now on.
func (c *client) becomeKind() {
	c.kind = true
	c.act(func() {
		held := c.held
		c.held = nil
		for _, d := range held {
			if !c.closing {
				c.settle(d, routing.Outcome{Kind: routing.Accepted})
				c.regrant()
			}
		}
	})
}
