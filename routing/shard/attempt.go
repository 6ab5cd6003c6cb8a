package shard

import (
	"encoding/binary"
	"slices"
)

// attempts are the logged attempts at messages that may have been handed out before:
// a consumer is at one of them. Whoever ends a consumer's subscription counts its
// attempt; if that leader is gone, and the consumer with it, the next one does, from
// here. (docs/adr/0020-an-attempt-is-logged.md) There is one for each subscription
// at most. It ends with the message, with each count, and when a transaction is about
// to settle the message.
type attempts struct {
	byKey map[uint64]attempt // by keys of messages

	// Soft.
	reported map[uint64]bool // sessions of nodes that have reported in this epoch
	reckoned bool            // due is complete
	due      []uint64        // keys of those of former epochs that are not looked at yet
	ending   []uint64        // keys of those whose ends are composed, not all applied yet
	begun    []*sub          // whose first delivery waited for its attempt, which is logged now
	advanced []*sub          // whose consumers may be at another message than before
}

// attempt is the hand-out of a message to a consumer of a node.
type attempt struct {
	session uint64
	logged  bool // false while it is only composed
}

func appendAttempt(dst []byte, key, session uint64) []byte {
	dst = append(dst, byte(kindAttempt))
	dst = binary.BigEndian.AppendUint64(dst, session)
	return binary.BigEndian.AppendUint64(dst, key)
}

// composeAttempt composes that a subscription's consumer is at a message.
func (s *Shard) composeAttempt(u *sub, key uint64) {
	s.attempts.byKey[key] = attempt{session: u.id.Session}
	s.begin()
	s.open.buf = appendAttempt(s.open.buf, key, u.id.Session)
	s.open.entries++
}

func (s *Shard) applyAttempt(key, session uint64) {
	p := s.store.find(key)
	if p == 0 {
		return // it was settled, or comes in a rewrite that knows of the attempt
	}
	s.attempts.byKey[key] = attempt{session: session, logged: true}
	if u := s.holder(s.store.at(p)); u != nil && u.parked == key {
		s.attempts.begun = append(s.attempts.begun, u)
	}
}

// endAttempt forgets the attempt at a message, if there is one.
func (s *Shard) endAttempt(key uint64) {
	if len(s.attempts.byKey) > 0 {
		delete(s.attempts.byKey, key)
	}
}

// attempted reports whether an attempt at a message is logged, or composed.
func (s *Shard) attempted(key uint64) bool {
	if len(s.attempts.byKey) == 0 {
		return false
	}
	_, ok := s.attempts.byKey[key]
	return ok
}

// attemptOf returns the session of the attempt at a message as a rewrite keeps it, 0
// for none. What is pinned has none any more when the rewrite is applied.
func (s *Shard) attemptOf(m *message) uint64 {
	if m.has(markPinned) {
		return 0
	}
	return s.attempts.byKey[m.key].session
}

// current returns the delivery at which a subscription's consumer is, 0 for none: the
// oldest whose end is not composed.
func (s *Shard) current(u *sub) uint32 {
	p := u.held.head
	for p != 0 && s.store.at(p).has(markSettling|markReleasing|markPinned) {
		p = s.store.at(p).next
	}
	return p
}

// park has a delivery wait until its attempt is logged. The subscription holds the
// message, and gets nothing else meanwhile.
func (s *Shard) park(u *sub, key uint64) {
	u.parked = key
	s.composeAttempt(u, key)
}

// unpark hands out the deliveries whose attempts are logged.
func (s *Shard) unpark() {
	for _, u := range s.attempts.begun {
		if s.subs[u.id] == u && u.parked != 0 {
			p := s.store.find(u.parked)
			u.parked = 0
			s.handOut(u, s.store.at(p))
			s.touch(u.q)
		}
	}
	clear(s.attempts.begun)
	s.attempts.begun = s.attempts.begun[:0]
}

// returned reports whether the messages are back in their places that a consumer of the
// queue waited for when it went: nobody got them, so nothing younger is handed out before.
func (s *Shard) returned(q *queue) bool {
	for len(q.returning) > 0 && !s.attempted(q.returning[0]) {
		q.returning = q.returning[1:]
	}
	return len(q.returning) == 0
}

// advance takes note that a consumer may be at another message than before.
func (s *Shard) advance(u *sub) {
	if u != nil && u.again > 0 && !u.advanced {
		u.advanced = true
		s.attempts.advanced = append(s.attempts.advanced, u)
	}
}

// follow composes the attempts of the consumers that have advanced to messages that
// came back. They have them already: nothing waits for it.
func (s *Shard) follow() {
	a := &s.attempts
	for len(a.advanced) > 0 && !s.Full() {
		u := a.advanced[len(a.advanced)-1]
		a.advanced = a.advanced[:len(a.advanced)-1]
		u.advanced = false
		if p := s.current(u); p != 0 {
			if m := s.store.at(p); m.has(markAgain) && !m.has(markSoft) && !s.attempted(m.key) {
				s.composeAttempt(u, m.key)
			}
		}
	}
}

// reckon composes, once in an epoch, the ends of the attempts of former ones. It reports
// false until all are applied: nothing is handed out before, or younger messages
// would come first.
func (s *Shard) reckon() bool {
	a := &s.attempts
	if !a.reckoned {
		a.reckoned = true
		for key := range a.byKey {
			a.due = append(a.due, key)
		}
		slices.Sort(a.due)
	}
	for len(a.due) > 0 && !s.Full() {
		s.reckonAttempt(a.due[0])
		a.due = a.due[1:]
	}
	for len(a.ending) > 0 && !s.attempted(a.ending[0]) {
		a.ending = a.ending[1:]
	}
	return len(a.due)+len(a.ending) == 0
}

// reckonAttempt ends an attempt whose message no node has in flight: if the consumer's
// node has reported, the delivery did not arrive or is over; else it is gone, and the
// attempt has failed. What is in flight, or about to end, stays as it is.
func (s *Shard) reckonAttempt(key uint64) {
	p := s.store.find(key)
	if p == 0 || !s.store.at(p).has(markReady) {
		return
	}
	s.takeReady(s.queueOf(s.store.at(p)), p)
	s.attempts.ending = append(s.attempts.ending, key)
	if s.attempts.reported[s.attempts.byKey[key].session] {
		s.giveBack(p)
		return
	}
	s.fail(p)
}
