package shard

import (
	"fmt"

	"github.com/selvedge-mq/selvedge/internal/cursor"
	"github.com/selvedge-mq/selvedge/routing"
)

// soft is a request of a batch that is not logged. It takes effect between the
// entries of the batch's record, at its place.
type soft struct {
	at   int // number of entries of the record that come before it
	kind softKind
	key  uint64
	q    *queue
	body []byte
	lane LaneID
	next uint64
	do   cause
}

type softKind uint8

const (
	softEnqueue softKind = iota + 1
	softSettle
	softCount
	softRelease
	softLane
	softMove
	softDying
)

// Apply takes one committed record into the state. On the leader, b is the batch
// that was sealed into the record (nil in a replay). Records come in the order
// of their sequences, without gaps; the first one may have any sequence. Nothing of
// rec is kept. A record of a former writer is void; one that comes with its batch must not
// be.
func (s *Shard) Apply(seq uint64, rec []byte, b *Batch) error {
	h, entries, sum, err := parseRecord(rec)
	if err != nil {
		return fmt.Errorf("sequence %d: %w", seq, err)
	}
	if s.pos.begun && seq != s.pos.seq+1 {
		return fmt.Errorf("sequence %d after %d: %w", seq, s.pos.seq, ErrCorrupt)
	}
	s.log.add(seq, len(rec))
	if !s.follows(h) {
		s.pos.seq = seq
		s.counts.Void++
		if b != nil {
			return fmt.Errorf("sequence %d: %w", seq, ErrVoid)
		}
		return nil
	}
	s.pos = position{epoch: h.epoch, number: h.number, link: sum, seq: seq, valid: seq, time: h.time, begun: true}
	if err := s.applyEntries(seq, entries, b); err != nil {
		return fmt.Errorf("sequence %d: %w", seq, err)
	}
	return nil
}

// ApplySoft takes a batch without a record into the state.
func (s *Shard) ApplySoft(b *Batch) { s.applySoft(b, 0, true) }

// follows reports whether a record continues the chain. A record of a former
// writer that arrives late does not: its epoch is lower, or its link is another.
func (s *Shard) follows(h header) bool {
	switch {
	case !s.pos.begun:
		return true
	case h.link != s.pos.link:
		return false
	case h.epoch == s.pos.epoch:
		return h.number == s.pos.number+1
	default:
		return h.epoch > s.pos.epoch && h.number == 1
	}
}

func (s *Shard) applyEntries(seq uint64, entries []byte, b *Batch) error {
	var e entry
	r := entryReader{cursor.New(entries)}
	for n := 0; r.More(); n++ {
		s.applySoft(b, n, false)
		if err := r.next(&e); err != nil {
			return err
		}
		s.applyEntry(seq, &e)
	}
	s.applySoft(b, 0, true)
	return nil
}

func (s *Shard) applyEntry(seq uint64, e *entry) {
	switch e.kind {
	case kindEpoch:
	case kindQueue, kindTemporary:
		s.applyQueue(seq, e)
	case kindGone:
		s.applyGone(e.queue)
	case kindEnqueue:
		s.applyEnqueue(seq, e)
	case kindSettle:
		s.applySettle(e.key, e.cause)
	case kindCount:
		s.applyCount(e.key, e.failed)
	case kindReserve:
		q := s.queues.ensure(e.queue)
		q.reserved = max(q.reserved, e.key)
		q.reserving = 0
		s.touch(q)
	case kindLane:
		s.applyLane(seq, e)
	case kindDrop:
		s.applyDrop(e.session)
	case kindRewrite:
		s.applyRewrite(seq, e)
	case kindMove:
		s.applyMove(e.key, s.queues.ensure(e.queue), e.cause)
	case kindDying:
		s.applyDying(seq, e)
	case kindAttempt:
		s.applyAttempt(e.key, e.session)
	case kindPrepare:
		s.applyPrepare(seq, e)
	case kindFinish:
		s.applyFinish(e.tx, e.flags != 0)
	case kindDecision:
		s.applyDecision(seq, e)
	case kindEnd:
		s.applyEnd(e.tx)
		s.ended.add(e.tx)
	case kindPart:
		s.applyPart(seq, e)
	case kindAbort:
		s.applyAbort(e.upload)
	case kindCut:
		s.cut = max(s.cut, e.next)
		s.log.drop(e.next)
		s.open.cutting = false
		s.fx.Purge = s.cut
	}
}

func (s *Shard) applyQueue(seq uint64, e *entry) {
	q := s.queues.ensure(e.queue)
	if q.home != 0 {
		s.log.release(q.home, q.size)
	}
	q.home, q.size = seq, uint32(len(e.name))+entryOverhead
	s.log.hold(seq, q.size)
	q.declared, q.owner = true, e.session
	q.reserved = max(q.reserved, e.key)
	if q.addr.Name == "" {
		s.queues.name(q, routing.Address{Kind: e.addr, Name: string(e.name)})
	}
}

func (s *Shard) applyEnqueue(seq uint64, e *entry) {
	if s.store.find(e.key) != 0 {
		return
	}
	q := s.queues.ensure(e.queue)
	if e.flags&flagReserve != 0 {
		q.reserved = max(q.reserved, e.key)
	}
	m := s.admit(q, e.key, Body{Seq: seq, Off: uint32(headerSize + e.bodyOff), Size: uint32(len(e.body))}, expiryOf(e.body))
	if e.flags&flagLarge != 0 {
		s.applyLarge(m, e)
	}
	q.coming--
}

// admit puts a new message into the state.
func (s *Shard) admit(q *queue, key uint64, at Body, expiry int64) *message {
	p, m := s.store.add(key)
	m.queue, m.seq, m.off, m.size = q.id, at.Seq, at.Off, at.Size
	if at.Seq != 0 {
		s.log.hold(at.Seq, messageCost(at.Size))
	}
	q.depth++
	q.in++
	q.bytes += int64(at.Size)
	s.counts.Enqueued++
	s.noteExpiry(key, expiry)
	if len(s.pinned) > 0 {
		if _, ok := s.pinned[key]; ok {
			m.marks |= markPinned
			return m
		}
	}
	s.makeReady(q, p)
	return m
}

func (s *Shard) applyRewrite(seq uint64, e *entry) {
	p := s.store.find(e.key)
	var m *message
	if p == 0 {
		q := s.queues.ensure(e.queue)
		m = s.admit(q, e.key, Body{Seq: seq, Off: uint32(headerSize + e.bodyOff), Size: uint32(len(e.body))}, expiryOf(e.body))
	} else {
		m = s.store.at(p)
		s.log.release(m.seq, messageCost(m.size))
		m.seq, m.off, m.size = seq, uint32(headerSize+e.bodyOff), uint32(len(e.body))
		s.log.hold(seq, messageCost(m.size))
	}
	m.marks &^= markMoving
	if e.flags&flagLarge != 0 {
		s.applyLarge(m, e)
	}
	m.failed = max(m.failed, e.failed)
	if e.flags&flagRedelivered != 0 {
		m.marks |= markRedelivered
	}
	if e.flags&flagMoved != 0 {
		m.marks |= markMoved
	}
	if e.flags&flagAttempt != 0 {
		s.attempts.byKey[e.key] = attempt{session: e.session, logged: true}
	}
	if e.flags&flagDying != 0 {
		s.die(s.store.find(e.key), seq, e.next)
	}
	s.counts.Rewritten++
}

func (s *Shard) applySettle(key uint64, c cause) {
	s.forgetNumber(key)
	p := s.store.find(key)
	if p == 0 {
		s.freeParts(key) // its message ended before the log begins
		return
	}
	q := s.queueOf(s.store.at(p))
	switch c {
	case causeAccepted:
		s.counts.Accepted++
		q.out++
	case causeExpired:
		s.counts.Expired++
	case causeDropped:
		s.counts.Dropped++
	case causeUnreadable:
		s.counts.Unreadable++
	case causeDeadLetter, causeRejected, causeExhausted: // counted when it died
	}
	s.forgetMessage(p)
}

// applyCount sets a message's failed attempts, which may be as many as before; the
// message goes back to its place, and the attempt at it is over.
func (s *Shard) applyCount(key uint64, failed uint16) {
	p := s.store.find(key)
	if p == 0 {
		return
	}
	m := s.store.at(p)
	m.failed = max(m.failed, failed)
	s.endAttempt(key)
	m.marks |= markRedelivered
	m.marks &^= markReleasing
	s.release(p)
	s.touch(s.queueOf(m)) // it may have waited for this message, which may be settled by now
}

// release puts a message that is in no list back to its place, unless its end is
// composed already.
func (s *Shard) release(p uint32) {
	m := s.store.at(p)
	if m.has(markHeld) {
		s.unhold(p)
	}
	if !m.has(markReady | markDying | markSettling | markPinned) {
		s.makeReady(s.queueOf(m), p)
	}
}

func (s *Shard) applyLane(seq uint64, e *entry) {
	id := LaneID{Session: e.session, Lane: e.lane}
	l := s.lanes[id]
	if l == nil {
		l = &lane{}
		s.lanes[id] = l
	}
	if l.home != 0 {
		s.log.release(l.home, l.size)
	}
	l.home = seq
	l.size = uint32(len(e.name)+3*len(e.answers)) + entryOverhead
	s.log.hold(seq, l.size)
	if l.node == "" {
		l.node = string(e.name)
	}
	l.next = max(l.next, e.next)
	l.answers = append(l.answers[:0], e.answers...)
	if l.composed < l.next { // a replay: nobody has opened the lane yet
		l.pending = append(l.pending[:0], e.answers...)
		return
	}
	s.confirm(id, l, l.next)
}

func (s *Shard) applyDrop(session uint64) {
	for id, l := range s.lanes {
		if id.Session == session {
			s.log.release(l.home, l.size)
			delete(s.lanes, id)
		}
	}
	s.dropDecisions(session)
	s.dropUploads(session)
}

// applySoft carries out the requests of b that come before entry n of its
// record, or all that are left.
func (s *Shard) applySoft(b *Batch, n int, rest bool) {
	if b == nil {
		return
	}
	for b.done < len(b.softs) && (rest || b.softs[b.done].at <= n) {
		it := &b.softs[b.done]
		b.done++
		switch it.kind {
		case softEnqueue:
			s.softEnqueue(it)
		case softSettle:
			s.applySettle(it.key, it.do)
		case softCount:
			if p := s.store.find(it.key); p != 0 {
				s.applyCount(it.key, s.store.at(p).failed+1)
			}
		case softRelease:
			if p := s.store.find(it.key); p != 0 && s.store.at(p).has(markReleasing) {
				s.store.at(p).marks &^= markReleasing
				s.release(p)
			}
		case softMove:
			s.applyMove(it.key, it.q, it.do)
		case softDying:
			if p := s.store.find(it.key); p != 0 {
				s.countDead(it.do)
				s.die(p, 0, 0)
			}
		case softLane:
			if l := s.lanes[it.lane]; l != nil {
				s.confirm(it.lane, l, it.next)
			}
		}
	}
}

func (s *Shard) softEnqueue(it *soft) {
	it.q.coming--
	s.soft.put(it.key, it.body)
	m := s.admit(it.q, it.key, Body{Size: uint32(len(it.body))}, expiryOf(it.body))
	m.marks |= markSoft
	s.open.softComing -= int64(len(it.body))
}
