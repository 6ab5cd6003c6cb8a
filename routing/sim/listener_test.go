package sim_test

import (
	"fmt"
	"time"

	"github.com/selvedge-mq/selvedge/routing"
)

// listener has a subscription to a topic.
type listener struct {
	ear    routing.Subscription
	since  time.Duration // when it was told that its subscription is in force, 0 before
	ended  bool
	lapsed bool // it closes its subscription
	latest map[*client]int
}

func topicName(i int) routing.Address { return routing.Topic(fmt.Sprintf("t%d", i)) }

// listen starts a listener of a topic.
func (w *world) listen(topic routing.Address) {
	p := w.anyProcess()
	if p == nil {
		w.after(connectMost, func() { w.listen(topic) })
		return
	}
	c := w.connect(p, "l", topic)
	if !c.alive {
		return
	}
	c.listener = &listener{latest: map[*client]int{}}
	c.ear = c.session.Subscribe(routing.SubscribeOptions{Address: topic}, c, c, c.token(ofStep, func(err error) {
		switch routing.CodeOf(err) {
		case routing.CodeOK:
			if c.since = w.now(); w.calm(c.since) {
				w.after(time.Nanosecond, func() { w.publishTo(c) })
			}
		case routing.CodeTimeout, routing.CodeUnavailable:
			c.stopListening()
		default:
			w.violated("%s: subscribe: %v", c.name, err)
		}
	}))
	c.ear.Grant(int32(1 + w.rng.IntN(20)))
	w.after(w.between(300*time.Millisecond, 2*w.plan.trouble), func() {
		c.act(func() {
			if w.healed || c.lapsed {
				return
			}
			c.lapsed = true
			c.ear.Close(c, c.token(ofStep, func(error) { c.stopListening() }))
		})
	})
}

// publishTo has clients of all other nodes publish to a listener that was told just now
// that its subscription is in force.
func (w *world) publishTo(c *client) {
	for _, n := range w.nodes[:w.plan.nodes] {
		if n.proc != c.proc && n.running() && n.proc.eng != nil {
			w.produceAt(n.proc, c.queue, true, 1, 1)
		}
	}
}

func (c *client) stopListening() {
	c.listener.ended, c.alive = true, false
	c.w.after(c.w.between(connectLeast, connectMost), c.again)
}

// hear judges a message of a topic: at most once, in the order of its producer,
// and none that nobody sent.
func (c *client) hear(d *routing.Delivery) {
	if c.listener.ended {
		c.w.violated("%s: a message after the end of its subscription", c.name)
	}
	m := c.w.ledger.heard(c, d)
	if m == nil {
		return
	}
	c.w.notef("hear %s message %d", c.name, m.id)
	if last, ok := c.latest[m.producer]; ok && m.number <= last {
		c.w.violated("%v: %s hears it after number %d", m, c.name, last)
	}
	c.latest[m.producer] = m.number
	c.w.after(c.w.between(100*time.Microsecond, 20*time.Millisecond), func() {
		c.act(func() {
			if !c.lapsed {
				c.ear.Grant(1)
			}
		})
	})
}

// heard judges the arrival of a message at a listener.
func (l *ledger) heard(c *client, d *routing.Delivery) *message {
	at := marks(d.Envelope.Payload)
	if len(at) != 1 || at[0].id >= len(l.messages) || l.messages[at[0].id].queue != c.queue {
		l.w.violated("%s hears what nobody sent to %v: %q", c.name, c.queue, d.Envelope.Payload)
		return nil
	}
	m := l.messages[at[0].id]
	if m.hearers[c] {
		l.w.violated("%v: %s hears it twice", m, c.name)
	}
	if d.Tag.Shard != routing.TopicShard || d.Redelivered || d.Failed > 0 {
		l.w.violated("%v: %s hears it with tag %+v, redelivered %v, %d failed attempts", m, c.name, d.Tag, d.Redelivered, d.Failed)
	}
	m.hearers[c] = true
	l.arrived(m)
	return m
}

// unheard looks for listeners that missed a message that was sent when nothing was
// wrong, after they were told that their subscription is in force.
func (m *message) unheard(w *world) string {
	if !m.ended || m.txn != nil || !w.calm(m.at) {
		return ""
	}
	for _, c := range w.clients {
		if c.alive && c.listener != nil && !c.lapsed && c.queue == m.queue && c.since > 0 && c.since < m.at && !m.hearers[c] {
			return fmt.Sprintf("%s, which has subscribed before, does not hear it", c.name)
		}
	}
	return ""
}
