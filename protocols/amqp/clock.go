package amqp

import (
	"errors"
	"time"

	"github.com/selvedge-mq/selvedge/protocols/amqp/frames"
)

// clock holds the owner's times; a zero time is off. One timer serves them all.
type clock struct {
	timer   *time.Timer
	open    time.Time // until when the peer's open must have come
	grace   time.Time // until when a close waits for what is under way, or for the peer's close
	hear    time.Time // next look at the incoming side
	speak   time.Time // next look at the outgoing side
	settle  time.Time // next look at what clients are to settle
	large   time.Time // next look at the links that write large messages
	silent  int       // looks in a row without incoming bytes
	heard   uint64    // the reader's count at the last look
	written bool      // something was handed to the writer since the last look
}

// looks is how many times each side is looked at within its time-out.
const looks = 4

// arm sets the timer to the earliest time that is on.
func (k *clock) arm() {
	var next time.Time
	for _, t := range [...]time.Time{k.open, k.grace, k.hear, k.speak, k.settle, k.large} {
		if !t.IsZero() && (next.IsZero() || t.Before(next)) {
			next = t
		}
	}
	if next.IsZero() {
		k.timer.Stop()
		return
	}
	k.timer.Reset(time.Until(next))
}

// due reports whether t is on and has come.
func due(t, now time.Time) bool { return !t.IsZero() && !now.Before(t) }

// tick looks at every time that is due.
func (c *conn) tick(now time.Time) {
	k := &c.clock
	if due(k.open, now) {
		k.open = time.Time{}
		c.err = errors.New("amqp: no open in time")
		c.state = ended
		return
	}
	if due(k.grace, now) {
		k.grace = time.Time{}
		c.graceOver()
	}
	if due(k.hear, now) {
		k.hear = now.Add(c.f.o.IdleTimeout / looks)
		c.listen()
		c.expireTransactions(now.UnixMilli())
	}
	if due(k.settle, now) {
		c.settleLate(now)
	}
	if due(k.large, now) {
		c.lookAtLarge(now)
	}
	if due(k.speak, now) {
		k.speak = now.Add(c.peer.idle / looks)
		if !k.written && len(c.buf) == 0 && c.state < closeSent {
			c.emptyFrame()
		}
		k.written = false
	}
	k.arm()
}

// listen ends a connection on which nothing came for the idle time-out. Any
// byte counts, so that a large frame on a slow line does. [transport 2.4.5]
func (c *conn) listen() {
	heard := c.reader.count.Load()
	if heard != c.clock.heard || c.paused() {
		c.clock.heard, c.clock.silent = heard, 0
		return
	}
	c.clock.silent++
	if c.clock.silent == 1 {
		c.trim()
	}
	if c.clock.silent >= looks && c.state < closeSent {
		c.fail(connectionError(frames.ResourceLimitExceeded, "nothing was received for %v", c.f.o.IdleTimeout))
	}
}

// trim gives back what a busy time left behind.
func (c *conn) trim() {
	c.events = c.box.Take(nil)
	for i := range c.events {
		c.events[i].apply(c)
	}
	c.events = nil
	for s := range c.sessions.all() {
		s.trim()
	}
}
