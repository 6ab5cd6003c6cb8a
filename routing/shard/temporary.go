package shard

import (
	"encoding/binary"

	"github.com/selvedge-mq/selvedge/internal/cursor"
	"github.com/selvedge-mq/selvedge/routing"
)

// A temporary queue is a queue with an owner, the session of a node. It is made by
// name, never by its first use, and ends by name or with its owner's lanes. What
// is in it then is dropped and counted.

func temporary(k routing.Kind) bool { return k == routing.KindTempQueue || k == routing.KindTempTopic }

// Create composes a temporary queue of the lane's session. It reports false like
// Send.
func (s *Shard) Create(id LaneID, number uint64, addr routing.Address) bool {
	l := s.accept(id, number)
	if l == nil {
		return false
	}
	if addr.Kind != routing.KindTempQueue || s.queues.byAddr[addr] != nil {
		l.answer(number, routing.CodeInvalid)
		return true
	}
	if s.makeQueue(addr, id.Session) == nil {
		s.deny(l, number, routing.CodeFull)
	}
	return true
}

// Delete composes the end of a temporary queue of the lane's session. It reports
// false like Send.
func (s *Shard) Delete(id LaneID, number uint64, addr routing.Address) bool {
	l := s.accept(id, number)
	if l == nil {
		return false
	}
	q := s.queues.byAddr[addr]
	if q == nil || q.going || q.owner != id.Session {
		s.deny(l, number, routing.CodeNotFound)
		return true
	}
	s.composeGone(q)
	return true
}

// Whose answers somebody who would like to read a temporary queue and does not own
// it: CodeLocked if there is one, else CodeNotFound. It reports false like Send.
func (s *Shard) Whose(id LaneID, number uint64, addr routing.Address) bool {
	l := s.accept(id, number)
	if l == nil {
		return false
	}
	if q := s.queues.byAddr[addr]; q != nil && !q.going {
		s.deny(l, number, routing.CodeLocked)
	} else {
		s.deny(l, number, routing.CodeNotFound)
	}
	return true
}

// goWith composes the ends of a session's temporary queues, and marks the uploads
// that end with it. Each queue has an entry of its own: where the log is cut between
// the queue's state and what is in it, a replay does not know its owner.
func (s *Shard) goWith(session uint64) {
	for _, q := range s.queues.list {
		if q != nil && q.owner == session && !q.going {
			s.composeGone(q)
		}
	}
	s.endUploads(session)
}

// composeGone composes the end of a temporary queue.
func (s *Shard) composeGone(q *queue) {
	q.going = true
	s.open.buf = appendGone(s.open.buf, q.id)
	s.open.entries++
}

// applyGone removes a temporary queue and what is in it.
func (s *Shard) applyGone(id uint32) {
	for _, t := range s.prepared {
		t.dropSends(id)
	}
	if int(id) >= len(s.queues.list) || s.queues.list[id] == nil {
		return // its state and its messages were cut before this entry
	}
	q := s.queues.list[id]
	s.counts.Deleted += uint64(q.depth)
	for len(q.subs) > 0 {
		u := q.subs[0]
		for u.held.head != 0 {
			s.forgetMessage(u.held.head)
		}
		s.removeSub(u)
	}
	for q.ready.head != 0 {
		s.forgetMessage(q.ready.head)
	}
	if q.depth > 0 { // what is in no list: dying, pinned, or about to come back
		s.forgetAll(q)
	}
	if q.home != 0 {
		s.log.release(q.home, q.size)
	}
	s.queues.drop(q)
}

// forgetAll looks for a queue's messages everywhere.
func (s *Shard) forgetAll(q *queue) {
	for p := uint32(1); p < s.store.used && q.depth > 0; p++ {
		if m := s.store.at(p); m.key != 0 && m.queue == q.id {
			delete(s.pinned, m.key)
			s.forgetMessage(p)
		}
	}
}

// dropSends takes the messages for a queue that is gone out of a prepared part.
func (t *prepared) dropSends(queue uint32) {
	kept := t.sends[:0]
	for _, it := range t.sends {
		if it.queue != queue {
			kept = append(kept, it)
		}
	}
	t.sends = kept
}

// keeps reports whether a message of the part's record is still to come.
func (t *prepared) keeps(key uint64) bool {
	for i := range t.sends {
		if t.sends[i].key == key {
			return true
		}
	}
	return false
}

func appendTemporary(dst []byte, q *queue) []byte {
	dst = append(dst, byte(kindTemporary))
	dst = binary.BigEndian.AppendUint64(dst, q.owner)
	dst = binary.AppendUvarint(dst, uint64(q.id))
	dst = append(dst, byte(q.addr.Kind))
	dst = binary.BigEndian.AppendUint64(dst, max(q.reserved, q.promised))
	return cursor.AppendBytes(dst, q.addr.Name)
}

func appendGone(dst []byte, queue uint32) []byte {
	return binary.AppendUvarint(append(dst, byte(kindGone)), uint64(queue))
}
