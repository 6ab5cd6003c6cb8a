package shard

// Dispatch hands ready messages to subscriptions with credit, in the queues that
// changed since the last call: first in, first out, the subscriptions in turn.
// A persistent message is handed out only below its queue's logged reservation.
func (s *Shard) Dispatch() {
	if !s.serving || !s.reckon() {
		return
	}
	s.unpark()
	work := s.dirty
	s.dirty = nil
	for _, q := range work {
		q.dirty = false
		s.dispatchQueue(q)
		s.finishDrains(q)
	}
	if s.dirty == nil {
		s.dirty = work[:0]
	}
	s.follow()
}

func (s *Shard) dispatchQueue(q *queue) {
	if !s.returned(q) {
		return
	}
	for q.credit > 0 && q.ready.head != 0 {
		u, p := s.pick(q)
		if u == nil {
			return
		}
		m := s.store.at(p)
		if m.failed >= s.opts.MaxFailed {
			if s.Full() {
				s.touch(q)
				return
			}
			s.takeReady(q, p)
			s.bury(p, causeExhausted)
			continue
		}
		if !m.has(markSoft) && m.key > q.reserved {
			s.reserve(q, p)
			return
		}
		if !s.give(u, p) {
			s.touch(q)
			return
		}
		u.credit--
		q.credit--
	}
}

// give gives a ready message to a subscription: it is handed out, or waits until its
// attempt is logged. It reports false when there is no room for that in the record.
func (s *Shard) give(u *sub, p uint32) bool {
	m, q := s.store.at(p), u.q
	again := m.has(markRedelivered) || !m.has(markSoft) && m.key <= q.former
	first := again && !m.has(markSoft) && s.current(u) == 0
	if first && s.Full() {
		return false
	}
	s.takeReady(q, p)
	s.hold(u, p)
	if again {
		m.marks |= markAgain
		u.again++
	}
	if first {
		s.park(u, m.key)
	} else {
		s.handOut(u, m)
	}
	return true
}

// handOut hands a message to the subscription that holds it.
func (s *Shard) handOut(u *sub, m *message) {
	u.handed++
	again := m.has(markAgain)
	if again {
		s.counts.Redelivered++
	}
	s.fx.Deliveries = append(s.fx.Deliveries, Delivery{
		Sub: u.id, Key: m.key, Address: u.q.addr, Body: s.bodyOf(m),
		Failed: uint32(m.failed), Redelivered: again,
	})
}

// pick returns the subscription whose turn it is, and the first message for it.
func (s *Shard) pick(q *queue) (*sub, uint32) {
	n := len(q.subs)
	for i := range n {
		u := q.subs[(q.turn+i)%n]
		if u.credit == 0 || u.parked != 0 {
			continue
		}
		if p := s.firstFor(u); p != 0 {
			q.turn = (q.turn + i + 1) % n
			return u, p
		}
	}
	return nil, 0
}

// firstFor returns the first ready message that the subscription may have.
func (s *Shard) firstFor(u *sub) uint32 {
	p := u.q.ready.head
	for p != 0 && u.avoid[s.store.at(p).key] {
		p = s.store.at(p).next
	}
	return p
}

const (
	reserveLeast = 64
	reserveMost  = 4096
)

// reserve composes a reservation for a backlog, from the message at place p on: as
// many ahead as the consumers will take soon.
func (s *Shard) reserve(q *queue, p uint32) {
	if q.reserving != 0 {
		return
	}
	for n := min(max(2*q.credit, reserveLeast), reserveMost); n > 1 && s.store.at(p).next != 0; n-- {
		p = s.store.at(p).next
	}
	q.reserving = s.store.at(p).key
	q.promised = max(q.promised, q.reserving)
	s.begin()
	s.open.buf = appendReserve(s.open.buf, q.id, q.reserving)
	s.open.entries++
}

// finishDrains gives the rest of the credit back to those that asked for it and
// have got everything there is.
func (s *Shard) finishDrains(q *queue) {
	for _, u := range q.subs {
		if !u.draining || u.parked != 0 || u.credit > 0 && s.firstFor(u) != 0 {
			continue
		}
		s.fx.Drained = append(s.fx.Drained, Drained{Sub: u.id, Credit: u.credit})
		q.credit -= int64(u.credit)
		u.credit, u.draining = 0, false
	}
}
