package sim_test

import (
	"time"

	"github.com/selvedge-mq/selvedge/routing"
)

const (
	connectLeast = 50 * time.Millisecond
	connectMost  = 900 * time.Millisecond
)

// producer sends numbered messages to one queue, several without waiting for
// their confirmations, and never sends one again.
type producer struct {
	persistent  bool
	window      int
	limit, sent int
	open        int // unconfirmed
	last        int // the latest confirmed number
	pace        time.Duration
	writing     bool // a large message, part by part
}

// produce starts a producer of n messages.
func (w *world) produce(queue routing.Address, persistent bool, window, n int) {
	p := w.anyProcess()
	if p == nil {
		w.after(connectMost, func() { w.produce(queue, persistent, window, n) })
		return
	}
	w.produceAt(p, queue, persistent, window, n)
}

func (w *world) produceAt(p *process, queue routing.Address, persistent bool, window, n int) {
	c := w.connect(p, "p", queue)
	c.producer = &producer{
		persistent: persistent, window: window, limit: n, last: -1,
		pace: w.pace(n),
	}
	c.sendSome()
}

// pace draws how often a producer of n messages sends.
func (w *world) pace(n int) time.Duration {
	if w.healed {
		return w.between(time.Millisecond, 20*time.Millisecond)
	}
	return w.between(time.Millisecond, max(2*time.Millisecond, w.plan.trouble/time.Duration(n+1)*2))
}

// sendSome sends as many messages as the window allows, a few at once.
func (c *client) sendSome() {
	if !c.alive || c.sent >= c.limit {
		return
	}
	c.act(func() {
		for n := 1 + c.w.rng.IntN(4); n > 0 && c.open < c.window && c.sent < c.limit && !c.writing; n-- {
			c.sendOne()
		}
	})
	c.w.after(c.w.between(c.pace/2, c.pace*2), c.sendSome)
}

func (c *client) sendOne() {
	m := c.w.ledger.send(c, c.queue, c.sent, c.persistent)
	c.sent++
	c.open++
	token := c.token(ofSend, func(err error) {
		c.open--
		c.w.ledger.confirmed(m, err)
		if routing.CodeOf(err) == routing.CodeNotFound {
			c.limit = c.sent // the queue was a temporary one
		}
		if err != nil {
			return
		}
		if m.number <= c.last {
			c.w.violated("%v: confirmed after number %d", m, c.last)
		}
		c.last = m.number
	})
	c.w.notef("send %s message %d request %d", c.name, m.id, token)
	if m.persistent && !m.topic && c.w.chance(0.05) {
		c.sendLarge(m, token)
		return
	}
	c.session.Send(m.envelope(c.w), c, token)
}
