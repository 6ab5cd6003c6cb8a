package sim_test

import (
	"fmt"
	"strings"
	"time"

	"github.com/selvedge-mq/selvedge/routing"
)

// tempQueue is a temporary queue, as those see it that use it.
type tempQueue struct {
	addr    routing.Address
	owner   *client
	made    bool          // its owner was told that it exists
	late    bool          // it was not made in time, and its owner goes on without it
	gone    bool          // it ends, or has ended: what is in it may be lost
	deleted time.Duration // when its owner was told of its end, 0 if it never was
}

// nowhere is a temporary queue that never was, in any of the shards.
func (w *world) nowhere() *tempQueue {
	name := fmt.Sprintf("nowhere%d", w.seed%7)
	return &tempQueue{addr: routing.Address{Kind: routing.KindTempQueue, Name: name}, gone: true, deleted: time.Nanosecond}
}

func (w *world) temp(a routing.Address) *tempQueue {
	for _, t := range w.temps {
		if t.addr == a {
			return t
		}
	}
	return nil
}

// request starts a client with a temporary queue, and one that sends to it.
func (w *world) request(kind bool) {
	p := w.anyProcess()
	if w.healed && !kind {
		return
	}
	if p == nil {
		w.after(connectMost, func() { w.request(kind) })
		return
	}
	c := w.connect(p, "r", routing.Address{})
	if !c.alive {
		return
	}
	t := &tempQueue{owner: c}
	c.temp = t
	t.addr = c.session.CreateTemporary(routing.KindTempQueue, c, c.token(ofStep, func(err error) { c.created(t, err, kind) }))
	c.queue = t.addr
	w.temps = append(w.temps, t)
	w.notef("create %s %s", c.name, t.addr.Name)
	c.subscribe(kind)
	if w.chance(0.3) {
		w.after(w.between(time.Millisecond, time.Second), func() { w.intrude(t) })
	}
	if !kind {
		w.after(w.between(300*time.Millisecond, w.plan.trouble), func() { c.act(c.endTemporary) })
	}
}

// created takes the answer to the creation of a temporary queue.
func (c *client) created(t *tempQueue, err error, calm bool) {
	switch routing.CodeOf(err) {
	case routing.CodeOK:
		t.made = true
		c.w.produce(t.addr, c.w.chance(0.8), 1+c.w.rng.IntN(10), 4+c.w.rng.IntN(12))
	case routing.CodeTimeout, routing.CodeUnavailable:
		if t.gone, t.late = true, c.w.chance(0.7); calm {
			c.w.violated("%s: no temporary queue though nothing is wrong: %v", c.name, err)
		}
	default:
		c.w.violated("%s: no temporary queue: %v", c.name, err)
	}
}

// endTemporary ends a temporary queue, by name or with its session.
func (c *client) endTemporary() {
	t := c.temp
	if c.closing {
		return
	}
	t.gone, c.closing = true, true
	if c.w.chance(0.5) {
		c.w.notef("close %s", c.name)
		c.closed = true
		c.hangUp()
		return
	}
	c.w.ledger.ends++
	c.w.notef("close %s subscription", c.name)
	c.sub.Close(c, c.token(ofStep, func(error) {
		c.closed = true
		c.w.notef("delete %s %s", c.name, t.addr.Name)
		c.session.DeleteTemporary(t.addr, c, c.token(ofStep, func(err error) {
			switch routing.CodeOf(err) {
			case routing.CodeOK:
				t.deleted = c.w.now()
			case routing.CodeTimeout, routing.CodeUnavailable:
			default:
				if t.made {
					c.w.violated("%s: its temporary queue was not deleted: %v", c.name, err)
				}
			}
			c.leave()
		}))
	}))
}

// intrude has another client try to read a temporary queue.
func (w *world) intrude(t *tempQueue) {
	p := w.anyProcess()
	if p == nil {
		return
	}
	c := w.connect(p, "i", t.addr)
	if !c.alive {
		return
	}
	c.session.Subscribe(routing.SubscribeOptions{Address: t.addr}, c, c, c.token(ofStep, func(err error) {
		c.alive = false
		switch routing.CodeOf(err) {
		case routing.CodeLocked, routing.CodeNotFound, routing.CodeTimeout, routing.CodeUnavailable, routing.CodeFull:
		default:
			w.violated("%s: it subscribes to somebody else's temporary queue and hears %v", c.name, err)
		}
	}))
}

// closeTemporaries ends every temporary queue that is left.
func (w *world) closeTemporaries() {
	for _, c := range w.clients {
		if c.alive && c.temp != nil {
			c.act(c.endTemporary)
		}
	}
}

// ownedByLiving reports whether a temporary queue in a list belongs to a client
// that has not ended it.
func (w *world) ownedByLiving(name string) bool {
	for _, t := range w.temps {
		if t.addr.String() == name {
			return !t.gone
		}
	}
	return false
}

// isTemporary reports whether a queue in a list is a temporary one.
func isTemporary(name string) bool { return strings.HasPrefix(name, "temp-queue://") }
