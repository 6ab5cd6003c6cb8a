package shard

import (
	"container/heap"

	"github.com/selvedge-mq/selvedge/routing"
)

// dying are the messages on their way to the dead-letter address in another
// shard. Each is a logged fact with a number of its own: the other shard takes the
// numbers of this one in order, each once, as it takes a node's requests. So a
// leader that goes on where another one died makes no second copy. Since it takes no
// number before the ones below, a number outlives its message: if a queue that is
// deleted takes a dying message along, a letter without a body uses the number up.
//
// Non-persistent messages die without a record and without a number.
type dying struct {
	last    uint64                 // the greatest number given out
	home    uint64                 // sequence of the record that says so
	numbers map[uint64]dyingNumber // whose letters are not known to be answered, by the keys of their messages

	// Soft.
	waiting dyingHeap        // not handed to the leader yet, those with a number
	soft    []uint64         // the same, keys of those without
	under   map[uint64]int64 // handed to the leader: their sizes by key
	bytes   int64            // of those
	next    uint64           // number of the next message to die
}

// dyingNumber is a message's number at the other shard.
type dyingNumber struct {
	number uint64
	home   uint64 // sequence of the record that gives it
	held   bool   // it is live there: its message is gone, or not read yet
	ending bool   // soft: it is answered, and its end is composed and not applied yet
}

const (
	dyingMost  = 64      // under way at once
	dyingBytes = 4 << 20 // the same; one message may be larger
)

type dyingAt struct{ number, key uint64 }

type dyingHeap []dyingAt

func (h dyingHeap) Len() int           { return len(h) }
func (h dyingHeap) Less(i, j int) bool { return h[i].number < h[j].number }
func (h dyingHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *dyingHeap) Push(x any)        { *h = append(*h, x.(dyingAt)) }
func (h *dyingHeap) Pop() any {
	old := *h
	x := old[len(old)-1]
	*h = old[:len(old)-1]
	return x
}

// bury composes a message's way to the dead-letter address: within the shard it is
// one entry, else the message is dying until it has arrived. What is refused at
// the dead-letter address itself has nowhere to go.
func (s *Shard) bury(p uint32, why cause) {
	m := s.store.at(p)
	switch {
	case s.queueOf(m).addr == s.opts.DeadLetter:
		s.composeSettle(m, causeDropped)
	case s.opts.DeadLetterHere:
		s.composeMove(m, why)
	default:
		s.composeDying(m, why)
	}
}

func (s *Shard) composeMove(m *message, why cause) {
	to := s.queueAt(s.opts.DeadLetter)
	if to == nil { // there are too many queues: it waits for a place
		s.composeDying(m, why)
		return
	}
	m.marks |= markSettling
	s.begin()
	if m.has(markSoft) {
		s.compose(soft{kind: softMove, key: m.key, q: to, do: why})
		return
	}
	s.open.buf = appendMove(s.open.buf, m.key, to.id, why)
	s.open.entries++
}

func (s *Shard) composeDying(m *message, why cause) {
	m.marks |= markSettling
	s.begin()
	if m.has(markSoft) {
		s.compose(soft{kind: softDying, key: m.key, do: why})
		return
	}
	s.open.buf = appendDying(s.open.buf, m.key, s.dying.next, why)
	s.open.entries++
	s.dying.next++
}

// applyMove puts a message into the dead-letter queue of this shard. It is as new
// there and does not expire.
func (s *Shard) applyMove(key uint64, to *queue, why cause) {
	p := s.store.find(key)
	if p == 0 {
		return
	}
	m := s.store.at(p)
	q := s.queueOf(m)
	s.countDead(why)
	s.unlist(q, p)
	q.depth--
	q.bytes -= s.weight(m)
	to.depth++
	to.in++
	to.bytes += s.weight(m)
	m.queue, m.failed = to.id, 0
	s.endAttempt(key)
	m.marks = m.marks&^(markSettling|markRedelivered) | markMoved
	s.makeReady(to, p)
}

// applyDying takes a message out of its queue's order for good: it waits for its
// way to the other shard. Key 0 tells the greatest number alone.
func (s *Shard) applyDying(seq uint64, e *entry) {
	d := &s.dying
	if e.next >= d.last {
		if d.home != 0 {
			s.log.release(d.home, entryOverhead)
		}
		d.last, d.home = e.next, seq
		s.log.hold(seq, entryOverhead)
	}
	p := s.store.find(e.key)
	switch {
	case p != 0:
		if !s.store.at(p).has(markDying) {
			s.countDead(e.cause)
		}
		s.die(p, seq, e.next)
	case e.key != 0: // the message is gone, or after a cut comes in a rewrite
		s.number(seq, e.key, e.next)
		s.holdNumber(e.key)
	}
}

// die marks a message as dying. A number of 0 is that of a message that is not logged.
func (s *Shard) die(p uint32, seq, number uint64) {
	m := s.store.at(p)
	s.unlist(s.queueOf(m), p)
	s.endAttempt(m.key)
	m.marks = m.marks&^markSettling | markDying
	if number == 0 {
		s.dying.soft = append(s.dying.soft, m.key)
		return
	}
	s.number(seq, m.key, number)
}

// number takes note of a message's number, as the record at seq gives it. One that
// it had before was answered.
func (s *Shard) number(seq, key, number uint64) {
	d := &s.dying
	old := d.numbers[key]
	s.releaseNumber(old)
	d.numbers[key] = dyingNumber{number: number, home: seq}
	if old.number != number {
		heap.Push(&d.waiting, dyingAt{number: number, key: key})
	}
}

// orphan keeps the number of a message that goes before its letter is answered.
func (s *Shard) orphan(m *message) {
	n, ok := s.dying.numbers[m.key]
	if !ok {
		return
	}
	n.ending = m.has(markSettling)
	s.dying.numbers[m.key] = n
	s.holdNumber(m.key)
}

// holdNumber has the log keep the entry that gave a number.
func (s *Shard) holdNumber(key uint64) {
	n := s.dying.numbers[key]
	n.held = true
	s.dying.numbers[key] = n
	s.log.hold(n.home, entryOverhead)
}

func (s *Shard) releaseNumber(n dyingNumber) {
	if n.held {
		s.log.release(n.home, entryOverhead)
	}
}

// forgetNumber ends a number: its letter is answered.
func (s *Shard) forgetNumber(key uint64) {
	s.releaseNumber(s.dying.numbers[key])
	delete(s.dying.numbers, key)
}

// orphaned reports whether a number is all that is left of a message, and waits for
// its answer.
func (s *Shard) orphaned(key uint64) (dyingNumber, bool) {
	n, ok := s.dying.numbers[key]
	return n, ok && !n.ending && s.store.find(key) == 0
}

// rewriteDying composes what is live of an entry that gave a number: the number, if
// its message is gone, and that it was the greatest.
func (s *Shard) rewriteDying(seq, key, number uint64, why cause) {
	n, ok := s.orphaned(key)
	ok = ok && n.home == seq && n.number == number
	if !ok && (s.dying.home != seq || s.dying.last != number) {
		return
	}
	if !ok {
		key = 0
	}
	s.begin()
	s.open.buf = appendDying(s.open.buf, key, number, why)
	s.open.entries++
}

// unlist takes a message out of the list that it is in.
func (s *Shard) unlist(q *queue, p uint32) {
	m := s.store.at(p)
	if m.has(markReady) {
		s.takeReady(q, p)
	}
	if m.has(markHeld) {
		s.unhold(p)
	}
	s.unavoid(q, m)
}

func (s *Shard) countDead(why cause) {
	s.counts.DeadLettered++
	if why == causeExhausted {
		s.counts.Exhausted++
	} else {
		s.counts.Rejected++
	}
}

// Numbered reports whether a message has a number at the other shard.
func (s *Shard) Numbered(key uint64) bool { return s.dying.numbers[key].number > 0 }

// Bury hands dying messages to the leader, in the order of their numbers, as many
// as may be under way at once; those with a number only if it is time for them.
func (s *Shard) Bury(numbered bool) {
	d := &s.dying
	for len(d.under) < dyingMost && (d.bytes < dyingBytes || len(d.under) == 0) {
		at, ok := d.pop(numbered)
		if !ok {
			return
		}
		p := s.store.find(at.key)
		if p == 0 {
			if at.number != 0 {
				d.under[at.key] = 0
				s.fx.DeadLetters = append(s.fx.DeadLetters, DeadLetter{Key: at.key, Number: at.number})
			}
			continue
		}
		m := s.store.at(p)
		d.under[m.key] = int64(m.size)
		d.bytes += int64(m.size)
		s.fx.DeadLetters = append(s.fx.DeadLetters, DeadLetter{
			Key: m.key, Number: at.number, Address: s.queueOf(m).addr, Body: s.bodyOf(m), Failed: uint32(m.failed),
		})
	}
}

// pop returns the next message to be handed out.
func (d *dying) pop(numbered bool) (dyingAt, bool) {
	if len(d.soft) > 0 {
		at := dyingAt{key: d.soft[0]}
		d.soft = d.soft[1:]
		return at, true
	}
	for numbered && len(d.waiting) > 0 {
		at := heap.Pop(&d.waiting).(dyingAt)
		if d.numbers[at.key].number == at.number {
			return at, true
		}
	}
	return dyingAt{}, false
}

// back takes note that a message is not under way any more, and returns it if it
// is still dying.
func (s *Shard) back(key uint64) *message {
	d := &s.dying
	d.bytes -= d.under[key]
	delete(d.under, key)
	if p := s.store.find(key); p != 0 {
		if m := s.store.at(p); m.has(markDying) && !m.has(markSettling) {
			return m
		}
	}
	return nil
}

// Buried composes the end of a message that has arrived at the dead-letter address,
// or of the number that is left of it.
func (s *Shard) Buried(key uint64) {
	if m := s.back(key); m != nil {
		s.composeSettle(m, causeDeadLetter)
		return
	}
	s.endNumber(key)
}

// endNumber composes the end of a number whose message is gone.
func (s *Shard) endNumber(key uint64) {
	n, ok := s.orphaned(key)
	if !ok {
		return
	}
	n.ending = true
	s.dying.numbers[key] = n
	s.begin()
	s.open.buf = appendSettle(s.open.buf, key, causeDeadLetter)
	s.open.entries++
}

// Unburied composes what becomes of a message that the dead-letter address did
// not take. Its number is used up: it gets another one, or if it can never be taken
// since its bytes are no message, it is dropped.
func (s *Shard) Unburied(key uint64, code routing.Code) {
	m := s.back(key)
	switch {
	case m == nil:
		s.endNumber(key)
	case code == routing.CodeInvalid:
		s.composeSettle(m, causeUnreadable)
	case m.has(markSoft):
		s.dying.soft = append(s.dying.soft, key)
	default:
		s.composeDying(m, causeRejected)
	}
}
