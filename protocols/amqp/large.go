package amqp

import (
	"slices"
	"time"

	"github.com/selvedge-mq/selvedge/protocols"
	"github.com/selvedge-mq/selvedge/routing"
)

// large is which links of a connection write large messages, and which ones wait for
// their turn: it bounds the pieces that the connection holds. Small messages wait
// for none of them.
type large struct {
	writing []*sending
	waiting []*sending
}

// largeLook is the time between two looks at the links that write large messages while
// others wait for their turn.
const largeLook = time.Second

// most is how many links of a connection write large messages at once.
func (*large) most(o *protocols.Limits) int { return max(2, o.InFlightBytes/(4*routing.MaxPart)) }

// mayBegin reports whether the link may begin its next delivery. If that is a large one
// it may have to wait.
func (l *sending) mayBegin() bool {
	return !(*l.queue[0])[l.pos].Envelope.Large() || l.takeTurn()
}

// mayGoOn reports whether the link may write more of the delivery under way. If that is
// a large one, and the link has given its turn away, it may have to wait.
func (l *sending) mayGoOn() bool {
	switch {
	case l.cut.pieces == nil || l.writing:
		return true
	case !l.takeTurn():
		return false
	}
	l.fetch()
	return l.cut.ready(l.frameRoom())
}

// takeTurn reports whether the link may write a large message now; if not, it waits.
func (l *sending) takeTurn() bool {
	c := l.s.c
	w := &c.large
	if len(w.writing) < w.most(&c.f.o.Env.Limits) {
		l.writing, l.stuck = true, false
		w.writing = append(w.writing, l)
		return true
	}
	l.starved = true
	w.waiting = append(w.waiting, l)
	if c.clock.large.IsZero() {
		c.clock.large = time.Now().Add(largeLook)
		c.clock.arm()
	}
	return false
}

// leave forgets a link that waits.
func (w *large) leave(l *sending) {
	if l.starved {
		l.starved = false
		w.waiting = slices.DeleteFunc(w.waiting, func(o *sending) bool { return o == l })
	}
}

// free ends the turn of a link, and has the next one go on.
func (w *large) free(l *sending) {
	if l.writing {
		l.writing = false
		w.writing = slices.DeleteFunc(w.writing, func(o *sending) bool { return o == l })
		w.next(w.most(&l.s.c.f.o.Env.Limits))
	}
}

// next has links that wait try again: as many as have a turn, and those whose clients
// have to open the window first.
func (w *large) next(most int) {
	for turns := most - len(w.writing); turns > 0 && len(w.waiting) > 0; {
		l := w.waiting[0]
		n := copy(w.waiting, w.waiting[1:])
		w.waiting[n] = nil
		w.waiting = w.waiting[:n]
		l.starved = false
		if l.phase != linkAttached || !l.more() {
			continue
		}
		l.enqueue()
		if l.s.out.left > 0 {
			turns--
		}
	}
}

// lookAtLarge takes the turn from links whose clients have not opened the window of the
// session since the last look: other sessions of theirs wait.
func (c *conn) lookAtLarge(now time.Time) {
	w := &c.large
	for _, l := range slices.Clone(w.writing) {
		if l.stuck && l.s.out.left == 0 && len(w.waiting) > 0 {
			l.yield()
		}
		l.stuck = l.s.out.left == 0
	}
	w.next(w.most(&c.f.o.Env.Limits))
	c.clock.large = time.Time{}
	if len(w.waiting) > 0 {
		c.clock.large = now.Add(largeLook)
	}
}

// yield gives the turn away: what was read and not written is read again later.
func (l *sending) yield() {
	if !l.cut.active {
		return
	}
	l.cut.giveBack()
	l.s.c.large.free(l)
	l.enqueue()
}

// giveBack forgets the pieces that are not written.
func (t *cut) giveBack() {
	t.pieces.offset -= int64(len(t.next))
	t.next = nil
	if t.read {
		t.pieces.offset -= int64(len(t.bare))
		t.bare = nil
	}
}
