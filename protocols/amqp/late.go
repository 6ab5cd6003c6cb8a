package amqp

import (
	"slices"
	"time"

	"github.com/selvedge-mq/selvedge/protocols/amqp/frames"
)

// settleWait is how long a client that settles second may take.
const settleWait = time.Second

// confirmed is a range of transfers from the peer of which it has been told the
// outcome, and that it is to settle. [transport 2.6.12] There are clients that ask
// for this and never do: they wait for us. Nothing is remembered of the deliveries
// here, so that we settle them when the client has had its time.
type confirmed struct {
	span
	state frames.State
	until time.Time
}

// awaitSettled notes ranges that were just told.
func (s *session) awaitSettled(state frames.State, ids []span) {
	if len(ids) == 0 {
		return
	}
	k := &s.c.clock
	until := time.Now().Add(settleWait)
	for _, r := range ids {
		s.confirmed = append(s.confirmed, confirmed{r, state, until})
	}
	if k.settle.IsZero() {
		k.settle = until
		k.arm()
	}
}

// peerSettled takes the client's settling of its transfers.
func (s *session) peerSettled(first, last uint32) {
	s.unconfirm(first, last)
	s.forgetSends(first, last)
}

// unconfirm takes ids out of the ranges that are to be settled.
func (s *session) unconfirm(first, last uint32) {
	if len(s.confirmed) == 0 || before(last, first) {
		return
	}
	var keep []confirmed
	for _, r := range s.confirmed {
		if before(last, r.first) || before(r.last, first) {
			keep = append(keep, r)
			continue
		}
		front, back := r, r
		if front.last = first - 1; before(r.first, first) {
			keep = append(keep, front)
		}
		if back.first = last + 1; before(last, r.last) {
			keep = append(keep, back)
		}
	}
	s.confirmed = keep
}

// forgetSends takes ids out of the unsettled maps of the session's links.
func (s *session) forgetSends(first, last uint32) {
	for l := range s.links.all() {
		if r, ok := l.(*receiving); ok && r.ledger != nil {
			r.ledger.settledRange(first, last)
		}
	}
}

// settleLate settles what clients had time for. It sets when to look again.
func (c *conn) settleLate(now time.Time) {
	k := &c.clock
	k.settle = time.Time{}
	for s := range c.sessions.all() {
		if s.phase == sessionDiscarded {
			continue
		}
		n := 0
		for ; n < len(s.confirmed) && due(s.confirmed[n].until, now); n++ {
			r := &s.confirmed[n]
			s.dispositions(&frames.Disposition{Role: frames.RoleReceiver, Settled: true, State: r.state}, []span{r.span})
			s.forgetSends(r.first, r.last)
		}
		s.confirmed = slices.Delete(s.confirmed, 0, n)
		if len(s.confirmed) > 0 && (k.settle.IsZero() || s.confirmed[0].until.Before(k.settle)) {
			k.settle = s.confirmed[0].until
		}
	}
}
