package sim_test

import (
	"time"

	"github.com/selvedge-mq/selvedge/routing"
)

// transactor does things in transactions: it sends, it settles what its
// subscription gets, then it commits, rolls back, or goes.
type transactor struct {
	txn    *txn // that is open, nil for none
	busy   bool // its commit is not answered
	over   bool // it begins none any more
	left   int  // messages that it may still send
	number int  // of its messages
	beat   time.Duration
}

// transact starts a consumer of a queue that works in transactions.
func (w *world) transact(queue routing.Address, messages int) {
	p := w.anyProcess()
	if w.healed {
		return
	}
	if p == nil {
		w.after(connectMost, func() { w.transact(queue, messages) })
		return
	}
	c := w.connect(p, "x", queue)
	if !c.alive {
		return
	}
	c.transactor = &transactor{left: messages, beat: w.pace(messages)}
	c.subscribe(false)
	c.stepTransaction()
}

// transactCalmly has a client commit transactions when nothing is wrong any more.
func (w *world) transactCalmly() {
	c := w.connect(w.anyProcess(), "x", queueName(0))
	c.transactor = &transactor{left: 12, beat: w.pace(12)}
	c.stepTransaction()
}

// stepTransaction does a bit of a transaction, time and again.
func (c *client) stepTransaction() {
	x := c.transactor
	if !c.alive || x.over || c.consumer != nil && c.closing {
		return
	}
	c.act(func() {
		switch {
		case x.busy:
		case x.txn != nil && x.txn.asked == 0 && (x.left == 0 || c.w.chance(0.4)):
			c.endTransaction()
		case x.left > 0:
			for range min(x.left, 1+c.w.rng.IntN(3)) {
				c.sendInTransaction()
			}
		}
	})
	c.w.after(c.w.between(x.beat/2, x.beat*2), c.stepTransaction)
}

// openTransaction returns the open transaction, a new one if there is none.
func (c *client) openTransaction() *txn {
	if c.txn == nil {
		c.txn = c.w.ledger.begin(c)
		c.w.notef("begin %s transaction %d", c.name, c.txn.number)
	}
	return c.txn
}

func (c *client) sendInTransaction() {
	x, t := c.transactor, c.openTransaction()
	m := c.w.ledger.send(c, c.w.anyTarget(), x.number, c.w.chance(0.9))
	m.txn = t
	t.doomed = t.doomed || m.temp == c.w.temps[0]
	t.sends = append(t.sends, m)
	x.number++
	x.left--
	t.asked++
	token := c.token(ofSend, func(err error) { c.w.ledger.held(m, err) })
	c.w.notef("send %s message %d transaction %d", c.name, m.id, t.number)
	t.handle.Send(m.envelope(c.w), c, token)
}

// anyTarget draws an address to send to.
func (w *world) anyTarget() routing.Address {
	switch x := w.rng.Float64(); {
	case x < 0.06 && w.plan.topics > 0:
		return topicName(w.rng.IntN(w.plan.topics))
	case x < 0.2 && len(w.temps) > 1:
		if t := w.temps[w.rng.IntN(len(w.temps))]; !t.gone {
			return t.addr
		}
	case x < 0.22 && !w.healed: // then nothing of the transaction takes effect
		return w.temps[0].addr
	}
	return queueName(w.rng.IntN(w.plan.queues))
}

// settleInTransaction adds the end of a delivery to the open transaction.
func (c *client) settleInTransaction(d *delivery) {
	t, o := c.openTransaction(), routing.Outcome{Kind: accepted}
	switch x := c.w.rng.Float64(); {
	case x < 0.04:
		o.Kind = rejected
		d.m.rejects++
	case x < 0.08:
		o = routing.Outcome{Kind: routing.Modified, DeliveryFailed: true}
		d.m.fails++
	}
	t.settles = append(t.settles, &txSettle{d: d, outcome: o})
	c.w.notef("settle %s message %d outcome %d transaction %d", c.name, d.m.id, o.Kind, t.number)
	if !t.handle.Settle(c.sub, d.Tag, o) {
		c.w.violated("%v: it finds no room for a settlement", t)
	}
}

// endTransaction commits, or rolls back, or goes and leaves that to the broker.
func (c *client) endTransaction() {
	t, x := c.txn, c.w.rng.Float64()
	c.txn = nil
	switch {
	case c.consumer == nil || x < 0.8:
		c.commit(t)
	case x < 0.95:
		t.state = txVoid
		c.w.notef("roll back %s transaction %d", c.name, t.number)
		t.handle.Rollback()
		c.settleAnew(t)
	default:
		t.state = txVoid
		c.w.notef("close %s transaction %d", c.name, t.number)
		c.hangUp()
	}
}

func (c *client) commit(t *txn) {
	c.busy = true
	c.w.ledger.asks(t)
	c.w.notef("commit %s transaction %d shards %d", c.name, t.number, len(t.shards))
	t.handle.Commit(c, c.token(ofCommit, func(err error) {
		c.busy = false
		c.w.ledger.answered(t, err)
		switch t.state {
		case txVoid:
			c.settleAnew(t)
		case txUnknown:
			c.hangUp()
		default:
		}
	}))
}

// hangUp ends the client's session with all that it has; another one comes.
func (c *client) hangUp() {
	c.alive = false
	c.w.ledger.ends++
	c.session.Close()
	c.w.after(c.w.between(connectLeast, connectMost), c.again)
}

// settleAnew settles what a transaction that did not take effect has left to its
// client, at once or after a while, in which it is the client's alone.
func (c *client) settleAnew(t *txn) {
	settle := func() {
		if c.consumer == nil || c.closing {
			return
		}
		for _, s := range t.settles {
			c.settle(s.d, routing.Outcome{Kind: accepted})
		}
	}
	if len(t.settles) == 0 || c.w.chance(0.5) {
		settle()
		return
	}
	c.w.after(c.w.between(time.Millisecond, time.Second), func() { c.act(settle) })
}

// concludeTransactions has the client end what it has begun, and begin no more.
func (c *client) concludeTransactions() {
	c.act(func() {
		if c.over = true; c.txn != nil {
			t := c.txn
			c.txn = nil
			c.commit(t)
		}
	})
}
