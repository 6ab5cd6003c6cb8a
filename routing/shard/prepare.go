package shard

import (
	"encoding/binary"
	"maps"
	"slices"

	"github.com/selvedge-mq/selvedge/internal/cursor"
	"github.com/selvedge-mq/selvedge/routing"
)

// prepared is the part of a transaction over several shards that waits in this
// one for the word of its coordinator. Its envelopes are in the log with the keys
// that they will have; the messages that it settles are pinned: nobody else can
// have them or settle them.
type prepared struct {
	node        string // of the session that commits
	coordinator uint16 // shard that decides
	pins        []pin
	sends       []preparedSend
	home        uint64 // sequence of the record with the entry, 0 while it is only composed
	size        uint32 // of the entry, about

	moving    bool // a rewrite is composed and not applied yet
	finishing bool // the end is composed and not applied yet
}

// pin is a message that a transaction settles when it commits.
type pin struct {
	key     uint64
	outcome routing.Outcome
}

// preparedSend is an envelope that becomes a message when its transaction commits.
type preparedSend struct {
	key       uint64
	queue     uint32
	off, size uint32 // of the envelope in the record at home
	expiry    int64
	body      []byte // in an entry only
}

const (
	outcomeFailed = 1 << 4
	outcomeElse   = 1 << 5
)

// Prepare composes a shard's part of a transaction over several shards. It reports
// false like Send. Once it is confirmed without an answer, the part is safe and
// waits for Finish or Resolve; with one, nothing of it stays.
func (s *Shard) Prepare(id LaneID, number uint64, tx TxID, coordinator uint16, part *Part) bool {
	l := s.accept(id, number)
	if l == nil {
		return false
	}
	if s.prepared[tx] != nil {
		l.answer(number, routing.CodeInvalid)
		return true
	}
	targets, _, code := s.judge(part)
	if code != routing.CodeOK {
		s.unpin(part.Settles)
		s.deny(l, number, code)
		return true
	}
	t := &prepared{node: l.node, coordinator: coordinator}
	for _, r := range part.Settles {
		t.pins = append(t.pins, pin{key: r.Key, outcome: r.Outcome})
		s.pin(r.Key, tx)
	}
	for i, env := range part.Sends {
		t.sends = append(t.sends, preparedSend{key: s.key(), queue: targets[i].id, body: env})
	}
	s.prepared[tx] = t
	s.open.buf = appendPrepare(s.open.buf, tx, t, t.sends)
	s.open.entries++
	for i := range t.sends {
		t.sends[i].body = nil
	}
	return true
}

// pin keeps a message from everybody but its transaction.
func (s *Shard) pin(key uint64, tx TxID) {
	s.pinned[key] = tx
	if p := s.store.find(key); p != 0 {
		m := s.store.at(p)
		m.marks |= markPinned
		if m.has(markReady) {
			s.takeReady(s.queueOf(m), p)
		}
		s.advance(s.holder(m))
	}
}

// Finish composes the end of a prepared part, as its node asks for. It reports
// false like Send.
func (s *Shard) Finish(id LaneID, number uint64, tx TxID, commit bool) bool {
	if s.accept(id, number) == nil {
		return false
	}
	s.Resolve(tx, commit)
	return true
}

// Resolve composes the end of a prepared part, as its coordinator says. A part
// that is not here, or about to end, is left.
func (s *Shard) Resolve(tx TxID, commit bool) {
	t := s.prepared[tx]
	if t == nil || t.finishing {
		return
	}
	t.finishing = true
	s.begin()
	s.open.buf = append(appendTx(s.open.buf, kindFinish, tx), flagOf(commit))
	s.open.entries++
	if !commit {
		return
	}
	for _, it := range t.pins {
		if p := s.store.find(it.key); p != 0 {
			s.store.at(p).marks &^= markPinned
			s.end(p, it.outcome)
		}
	}
}

// Conclude ends a part in a state that nobody leads, as its coordinator's log says:
// for a copy of the messages. One that was rejected stays where it was.
func (s *Shard) Conclude(tx TxID, commit bool) {
	t := s.prepared[tx]
	if t == nil {
		return
	}
	s.applyFinish(tx, commit)
	for _, it := range t.pins {
		if commit && it.outcome.Kind == routing.Accepted {
			s.applySettle(it.key, causeAccepted)
		}
	}
}

// Prepared calls f for each part that is in the log and waits for its coordinator,
// in the order of their transactions.
func (s *Shard) Prepared(f func(tx TxID, coordinator uint16, node string)) {
	for _, tx := range slices.SortedFunc(maps.Keys(s.prepared), TxID.Compare) {
		if t := s.prepared[tx]; t.home != 0 && !t.finishing {
			f(tx, t.coordinator, t.node)
		}
	}
}

// Holds reports whether a part of the transaction is here and has not ended.
func (s *Shard) Holds(tx TxID) bool { return s.prepared[tx] != nil }

func (s *Shard) applyPrepare(seq uint64, e *entry) {
	t := s.prepared[e.tx]
	if t == nil {
		t = &prepared{node: string(e.name), coordinator: e.coordinator, pins: append([]pin(nil), e.pins...)}
		s.prepared[e.tx] = t
	}
	if t.home != 0 {
		s.log.release(t.home, t.size)
	}
	t.home, t.moving, t.size = seq, false, entryOverhead
	t.sends = append(t.sends[:0], e.sends...)
	for i := range t.sends {
		it := &t.sends[i]
		it.off += headerSize
		it.expiry = expiryOf(it.body)
		it.body = nil
		t.size += messageCost(it.size)
	}
	t.size += uint32(len(t.pins)) * entryOverhead
	s.log.hold(seq, t.size)
	for _, it := range t.pins {
		s.pin(it.key, e.tx)
	}
	for _, it := range t.pins {
		s.endAttempt(it.key)
	}
}

// applyFinish ends a part: after a commit its envelopes are messages. What it
// settles stands in entries of its own behind this one.
func (s *Shard) applyFinish(tx TxID, commit bool) {
	t := s.prepared[tx]
	if t == nil {
		return
	}
	delete(s.prepared, tx)
	for _, it := range t.pins {
		s.freePin(it.key)
	}
	if commit && t.home != 0 {
		for i := range t.sends {
			it := &t.sends[i]
			if s.store.find(it.key) == 0 {
				s.admit(s.queues.ensure(it.queue), it.key, Body{Seq: t.home, Off: it.off, Size: it.size}, it.expiry)
			}
		}
	}
	s.log.release(t.home, t.size)
}

// freePin gives a pinned message back to its consumer, or to its place in the
// queue if that is gone or about to settle it.
func (s *Shard) freePin(key uint64) {
	delete(s.pinned, key)
	p := s.store.find(key)
	if p == 0 {
		return
	}
	m := s.store.at(p)
	m.marks &^= markPinned
	s.advance(s.holder(m))
	if !m.has(markReady | markHeld | markSettling | markReleasing | markDying) {
		m.marks |= markRedelivered
		s.makeReady(s.queueOf(m), p)
	}
}

// rewritePrepare composes a part again that still waits, or those of its messages
// that are live in the record.
func (s *Shard) rewritePrepare(seq uint64, e *entry) {
	t := s.prepared[e.tx]
	switch {
	case t == nil:
		for i := range e.sends {
			s.rewriteMessage(seq, e.sends[i].key, e.sends[i].body)
		}
	case t.home == seq && !t.moving && !t.finishing:
		t.moving = true
		s.begin()
		kept := e.sends[:0]
		for _, it := range e.sends {
			// One to a queue whose end is composed must not stand behind that end: the
			// queue's id may be another one's by then.
			if t.keeps(it.key) && !s.queues.list[it.queue].going {
				kept = append(kept, it)
			}
		}
		s.open.buf = appendPrepare(s.open.buf, e.tx, t, kept)
		s.open.entries++
	}
}

func appendPrepare(dst []byte, tx TxID, t *prepared, sends []preparedSend) []byte {
	dst = appendTx(dst, kindPrepare, tx)
	dst = binary.AppendUvarint(dst, uint64(t.coordinator))
	dst = cursor.AppendBytes(dst, t.node)
	dst = binary.AppendUvarint(dst, uint64(len(t.pins)))
	for _, it := range t.pins {
		o := byte(it.outcome.Kind)
		if it.outcome.DeliveryFailed {
			o |= outcomeFailed
		}
		if it.outcome.UndeliverableHere {
			o |= outcomeElse
		}
		dst = append(binary.BigEndian.AppendUint64(dst, it.key), o)
	}
	dst = binary.AppendUvarint(dst, uint64(len(sends)))
	for i := range sends {
		it := &sends[i]
		dst = binary.BigEndian.AppendUint64(dst, it.key)
		dst = binary.AppendUvarint(dst, uint64(it.queue))
		dst = cursor.AppendBytes(dst, it.body)
	}
	return dst
}

func (r *entryReader) prepare(e *entry) {
	e.tx, e.coordinator, e.name = r.tx(), uint16(r.Uvarint()), r.Bytes()
	for n := r.Uvarint(); n > 0 && !r.Bad; n-- {
		key, o := r.U64(), r.Octet()
		e.pins = append(e.pins, pin{key: key, outcome: routing.Outcome{
			Kind:              routing.OutcomeKind(o & 0xf),
			DeliveryFailed:    o&outcomeFailed != 0,
			UndeliverableHere: o&outcomeElse != 0,
		}})
	}
	for n := r.Uvarint(); n > 0 && !r.Bad; n-- {
		it := preparedSend{key: r.U64(), queue: r.queue()}
		body, off := r.body()
		it.body, it.off, it.size = body, uint32(off), uint32(len(body))
		e.sends = append(e.sends, it)
	}
}

func flagOf(b bool) byte {
	if b {
		return 1
	}
	return 0
}
