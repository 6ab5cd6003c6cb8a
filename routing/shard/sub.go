package shard

import (
	"math"

	"github.com/selvedge-mq/selvedge/routing"
)

// SubID names a subscription: the session of its node, and the number that the
// node gave it.
type SubID struct{ Session, Sub uint64 }

// sub is a subscription on the leader. All of it is soft.
type sub struct {
	id       SubID
	index    uint32 // in Shard.subList
	q        *queue
	credit   uint32
	draining bool
	advanced bool            // it is in attempts.advanced
	again    uint32          // of held: handed out marked as redelivered
	parked   uint64          // the last of held is not handed out: its attempt is not logged yet; 0 for none
	handed   uint64          // deliveries handed out to it
	held     list            // unsettled deliveries, in the order of their dispatch
	avoid    map[uint64]bool // keys not to be delivered here again
}

// Subscribe adds a subscription with no credit. The queue is made if there is
// none. A subscription that exists already is left as it is. It reports false when
// there can be none: a temporary queue is made by its owner, and is its alone; or
// there are too many queues.
func (s *Shard) Subscribe(id SubID, addr routing.Address) bool {
	if s.subs[id] != nil {
		return true
	}
	q := s.queueAt(addr)
	if q == nil || q.going || q.owner != 0 && q.owner != id.Session {
		return false
	}
	u := &sub{id: id, q: q}
	if n := len(s.subFree); n > 0 {
		u.index = s.subFree[n-1]
		s.subFree = s.subFree[:n-1]
		s.subList[u.index] = u
	} else {
		u.index = uint32(len(s.subList))
		s.subList = append(s.subList, u)
	}
	s.subs[id] = u
	q.subs = append(q.subs, u)
	return true
}

// Makes reports whether a subscription to an address makes its queue: it composes.
func (s *Shard) Makes(addr routing.Address) bool {
	return !temporary(addr.Kind) && s.queues.byAddr[addr] == nil
}

// Grant adds credit to a subscription, or takes back what is left of it.
func (s *Shard) Grant(id SubID, n int32) {
	u := s.subs[id]
	if u == nil {
		return
	}
	if n < 0 {
		back := min(uint32(-int64(n)), u.credit)
		u.credit -= back
		u.q.credit -= int64(back)
		return
	}
	u.credit += uint32(n)
	u.q.credit += int64(n)
	s.touch(u.q)
}

// Drain has the credit that is left after the next dispatch given back.
func (s *Shard) Drain(id SubID) {
	if u := s.subs[id]; u != nil {
		u.draining = true
		s.touch(u.q)
	}
}

// Held restores a delivery that a node reported as in flight. It does nothing
// when the message is gone, or was handed out again. A part that pins the message may
// have been given up by that node, whose word of it has not come yet.
func (s *Shard) Held(id SubID, key uint64) { s.held(id, key, false) }

// HeldToLeave is Held for a delivery whose message the consumer is giving back. That
// leaves no trace in the log, so a former leader may have handed the message on: then
// it is the other consumer's, whichever node reports first.
func (s *Shard) HeldToLeave(id SubID, key uint64) { s.held(id, key, true) }

func (s *Shard) held(id SubID, key uint64, leaves bool) {
	u, p := s.subs[id], s.store.find(key)
	if u == nil || p == 0 {
		return
	}
	m := s.store.at(p)
	if m.has(markPinned) {
		s.HeldPinned(id, key)
		return
	}
	switch {
	case m.queue != u.q.id:
		return
	case m.has(markReady):
		s.takeReady(u.q, p)
	case m.has(markLeaving) && !leaves && !m.has(markSettling):
		m.marks &^= markReleasing
		s.unhold(p)
	default:
		return
	}
	s.restore(u, p)
	if leaves {
		m.marks |= markLeaving
	}
}

// restore puts a delivery that a former leader made into the list of a subscription:
// one that came back before is an attempt as soon as the consumer is at it.
func (s *Shard) restore(u *sub, p uint32) {
	s.hold(u, p)
	if m := s.store.at(p); m.has(markRedelivered) {
		m.marks |= markAgain
		u.again++
		s.advance(u)
	}
}

// HeldPinned restores a delivery that a node reported as settled by a transaction
// that waits: it is the consumer's again if the transaction does not commit.
func (s *Shard) HeldPinned(id SubID, key uint64) {
	u, p := s.subs[id], s.store.find(key)
	if u == nil || p == 0 {
		return
	}
	if m := s.store.at(p); m.has(markPinned) && !m.has(markHeld) && m.queue == u.q.id {
		s.restore(u, p)
	}
}

// CloseSub ends a subscription whose node has seen that many of the deliveries that
// were handed out to it. What it held goes back to the queue: its oldest
// unsettled delivery, at which the consumer was when it went, as a failed attempt; the
// rest, which it may never have looked at, only marked. So a message that kills
// its consumers reaches its limit, and takes no other along.
func (s *Shard) CloseSub(id SubID, seen uint64) {
	u := s.subs[id]
	if u == nil {
		return
	}
	oldest := s.oldestHeld(u, seen)
	if u.parked != 0 {
		u.q.returning = append(u.q.returning, u.parked)
	}
	for u.held.tail != 0 { // from the newest: each finds its place at the front
		p := u.held.tail
		m := s.store.at(p)
		s.unhold(p)
		switch {
		case m.has(markSettling | markReleasing | markPinned): // its settlement is under way
		case p == oldest:
			s.fail(p)
		default:
			m.marks |= markRedelivered
			s.giveBack(p)
		}
	}
	s.removeSub(u)
}

// oldestHeld returns the delivery at which a consumer is that has seen some of what
// was handed out, 0 for none. What it has not seen is the end of the list.
func (s *Shard) oldestHeld(u *sub, seen uint64) uint32 {
	unseen := u.handed - min(seen, u.handed)
	if u.parked != 0 {
		unseen++
	}
	p := u.held.head
	for n := u.held.len; p != 0 && uint64(n) > unseen; n-- {
		if !s.store.at(p).has(markSettling | markReleasing | markPinned) {
			return p
		}
		p = s.store.at(p).next
	}
	return 0
}

// CloseSession ends every subscription of a node's session: the node is gone.
func (s *Shard) CloseSession(session uint64) {
	for _, u := range s.subList {
		if u != nil && u.id.Session == session {
			s.CloseSub(u.id, math.MaxUint64)
		}
	}
}

func (s *Shard) removeSub(u *sub) {
	u.q.credit -= int64(u.credit)
	u.credit = 0
	for i, other := range u.q.subs {
		if other == u {
			u.q.subs = append(u.q.subs[:i], u.q.subs[i+1:]...)
			break
		}
	}
	s.touch(u.q)
	delete(s.subs, u.id)
	s.subList[u.index] = nil
	s.subFree = append(s.subFree, u.index)
}

// unavoid has the subscriptions of a queue forget that they did not want a message.
func (s *Shard) unavoid(q *queue, m *message) {
	if !m.has(markAvoided) {
		return
	}
	for _, u := range q.subs {
		delete(u.avoid, m.key)
	}
	m.marks &^= markAvoided
}

// hold puts a message into the list of those that a subscription has in flight.
func (s *Shard) hold(u *sub, p uint32) {
	m := s.store.at(p)
	m.marks |= markHeld
	m.sub = u.index
	s.store.pushBack(&u.held, p)
}

// unhold takes a message out of its subscription's list.
func (s *Shard) unhold(p uint32) {
	m := s.store.at(p)
	if u := s.holder(m); u != nil {
		s.store.unlink(&u.held, p)
		if m.has(markAgain) {
			u.again--
		}
		if u.parked == m.key {
			u.parked = 0
		}
	}
	m.marks &^= markHeld | markAgain | markLeaving
	m.sub = 0
}

// holder returns the subscription that has a message in flight, nil for none.
func (s *Shard) holder(m *message) *sub {
	if !m.has(markHeld) {
		return nil
	}
	return s.subList[m.sub]
}
