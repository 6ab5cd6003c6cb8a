package shard

import "github.com/selvedge-mq/selvedge/internal/cursor"

// CleanTarget returns the oldest record that still holds something live, when
// the log holds at least as much garbage as live bytes: the leader reads it and
// calls Rewrite. So every byte is rewritten at most once on average.
func (s *Shard) CleanTarget() (seq uint64, ok bool) {
	if s.log.total < s.opts.CleanAbove || s.log.live*2 > s.log.total {
		return 0, false
	}
	return s.log.oldestLive(s.pos.valid)
}

// Rewrite composes what is live in a record again, at the tail of the log.
// Messages whose settlement is composed already are left: they are garbage soon.
func (s *Shard) Rewrite(seq uint64, rec []byte) error {
	_, entries, _, err := parseRecord(rec)
	if err != nil {
		return err
	}
	var e entry
	r := entryReader{cursor.New(entries)}
	for r.More() {
		if err := r.next(&e); err != nil {
			return err
		}
		s.rewriteEntry(seq, &e)
	}
	return nil
}

func (s *Shard) rewriteEntry(seq uint64, e *entry) {
	switch e.kind {
	case kindEnqueue, kindRewrite:
		s.rewriteMessage(seq, e.key, e.body)
		if e.flags&flagDying != 0 && e.kind == kindRewrite {
			s.rewriteDying(seq, e.key, e.next, causeRejected)
		}
	case kindPrepare:
		s.rewritePrepare(seq, e)
	case kindDecision:
		s.rewriteDecision(seq, e.tx)
	case kindQueue, kindTemporary:
		if int(e.queue) < len(s.queues.list) {
			if q := s.queues.list[e.queue]; q != nil && q.home == seq && !q.going {
				s.composeQueue(q)
			}
		}
	case kindLane:
		id := LaneID{Session: e.session, Lane: e.lane}
		if l := s.lanes[id]; l != nil && l.home == seq {
			s.begin()
			s.touchLane(id, l)
			s.open.due = true
		}
	case kindPart:
		s.rewritePart(seq, e)
	case kindDying:
		s.rewriteDying(seq, e.key, e.next, e.cause)
	default:
	}
}

func (s *Shard) rewriteMessage(seq, key uint64, body []byte) {
	p := s.store.find(key)
	if p == 0 {
		return
	}
	m := s.store.at(p)
	if m.seq != seq || m.has(markMoving|markSettling|markReleasing) || s.queueOf(m).going {
		return
	}
	m.marks |= markMoving
	s.begin()
	s.open.buf = appendRewrite(s.open.buf, m, s.dying.numbers[m.key].number, s.attemptOf(m), s.uploads.byKey[m.key], body)
	s.open.entries++
}

// ComposeCut composes a cut of the prefix in which nothing is live, when it is
// worth one. Once it is applied, Effects.Purge says what may be removed.
func (s *Shard) ComposeCut() {
	upTo, bytes := s.log.dead(s.pos.valid)
	if s.open.cutting || upTo == 0 || bytes < s.opts.CutBytes {
		return
	}
	s.open.cutting = true
	s.begin()
	s.open.buf = appendCut(s.open.buf, upTo)
	s.open.entries++
}
