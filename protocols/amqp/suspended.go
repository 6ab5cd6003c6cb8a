package amqp

import (
	"container/list"
	"sync"
	"time"

	"github.com/selvedge-mq/selvedge/protocols/amqp/wire"
	"github.com/selvedge-mq/selvedge/routing"
)

// suspension is what a link left behind that ended before its terminus: of a link
// from the client its sends, of one to the client its deliveries.
// [transport 2.6.13]
type suspension struct {
	key        linkKey
	address    routing.Address
	sends      *ledger
	deliveries *leftover
	size       int // about, in bytes

	metrics *metrics
	timer   *time.Timer   // nil until the timeout of the terminus starts
	place   *list.Element // nil when it is held no more
}

// suspended holds suspensions by what their links are known by. The oldest ones
// give way when there is no room. It is safe for concurrent use; the zero value is
// empty.
type suspended struct {
	mu    sync.Mutex
	held  map[linkKey]*suspension
	order list.List // of *suspension, oldest first
	bytes int
}

// keep holds x until it is taken or its time is over. All together hold no more
// than most bytes.
func (u *suspended) keep(x *suspension, most int) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if old := u.held[x.key]; old != nil {
		u.remove(old)
	}
	if u.held == nil {
		u.held = make(map[linkKey]*suspension)
	}
	u.held[x.key], x.place = x, u.order.PushBack(x)
	u.bytes += x.size
	x.metrics.suspended.Inc()
	for u.bytes > most {
		oldest, _ := u.order.Front().Value.(*suspension)
		u.remove(oldest)
		oldest.metrics.forgotten.WithLabelValues("room").Inc()
	}
}

// take returns what a link of that key left behind and holds it no more; nil when
// there is nothing.
func (u *suspended) take(key linkKey) *suspension {
	u.mu.Lock()
	defer u.mu.Unlock()
	x := u.held[key]
	if x != nil {
		u.remove(x)
	}
	return x
}

// expire forgets x after d, unless it is taken before.
func (u *suspended) expire(x *suspension, d time.Duration) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if x.place == nil || x.timer != nil {
		return
	}
	x.timer = time.AfterFunc(d, func() {
		u.mu.Lock()
		defer u.mu.Unlock()
		if x.place != nil {
			u.remove(x)
			x.metrics.forgotten.WithLabelValues("expired").Inc()
		}
	})
}

// remove takes x out. The lock is held.
func (u *suspended) remove(x *suspension) {
	delete(u.held, x.key)
	u.order.Remove(x.place)
	x.place = nil
	u.bytes -= x.size
	x.metrics.suspended.Dec()
	if x.timer != nil {
		x.timer.Stop()
	}
}

// resumable is a suspension whose timeout starts with the end of its session or
// connection.
type resumable struct {
	x *suspension
	s *session
	r retention
}

// retain notes how long what is unsettled is kept. A client that names no container
// cannot be known again.
func (l *link) retain(policy wire.Symbol, seconds uint32) {
	most := l.s.c.f.o.SuspendedTime
	if l.key.conn != nil {
		most = 0
	}
	l.retention = retain(policy, seconds, most)
}

// suspend keeps what the link left behind for as long as its terminus lasts.
func (l *link) suspend(x *suspension, o occasion) {
	c, r := l.s.c, l.retention
	if x.size == 0 || !r.outlives(o) {
		return
	}
	x.key, x.metrics = l.key, c.f.metrics
	c.f.o.Names.left.keep(x, c.f.o.SuspendedBytes)
	if r.starts(o) || len(c.suspended) >= c.f.o.Links {
		c.f.o.Names.left.expire(x, r.timeout)
		return
	}
	c.suspended = append(c.suspended, resumable{x, l.s, r})
}

// recall returns what a link of the same name, direction and address left behind,
// nil when there is nothing.
func (l *link) recall(address routing.Address) *suspension {
	c := l.s.c
	x := c.f.o.Names.left.take(l.key)
	if x == nil {
		return nil
	}
	for i := range c.suspended {
		if c.suspended[i].x == x {
			last := len(c.suspended) - 1
			c.suspended[i] = c.suspended[last]
			c.suspended[last] = resumable{}
			c.suspended = c.suspended[:last]
			break
		}
	}
	if x.address != address {
		return nil
	}
	return x
}

// expireSuspended starts the timeouts that wait for the end of a session, or all
// of them when the connection ends and s is nil.
func (c *conn) expireSuspended(s *session) {
	wait := c.suspended[:0]
	for _, w := range c.suspended {
		if s == nil || w.s == s && w.r.starts(sessionEnded) {
			c.f.o.Names.left.expire(w.x, w.r.timeout)
			continue
		}
		wait = append(wait, w)
	}
	clear(c.suspended[len(wait):])
	c.suspended = wait
}

// ending is the occasion at which a link ends that the client has not detached.
func (l *link) ending() occasion {
	switch c := l.s.c; {
	case l.robbed:
		return linkEnded
	case c.broken || c.state >= closing:
		return connectionEnded
	}
	return sessionEnded
}
