package shard

import (
	"cmp"
	"encoding/binary"

	"github.com/selvedge-mq/selvedge/routing"
)

// TxID names a transaction: the session of the node that commits it, and the
// number that the node gave it.
type TxID struct{ Session, Number uint64 }

// Compare orders transactions by their sessions, then by their numbers.
func (t TxID) Compare(o TxID) int {
	return cmp.Or(cmp.Compare(t.Session, o.Session), cmp.Compare(t.Number, o.Number))
}

// Part is what a transaction does in one shard.
type Part struct {
	Settles []Settlement
	Sends   [][]byte // envelopes
}

// Transact composes a transaction that is in this shard alone: all of it stands in
// one record, so all of it takes effect or nothing. It reports false like Send.
// The answer is CodeStale when one of the deliveries cannot be settled any more.
func (s *Shard) Transact(id LaneID, number uint64, part *Part) bool {
	l := s.accept(id, number)
	if l == nil {
		return false
	}
	targets, logged, code := s.judge(part)
	switch {
	case code != routing.CodeOK:
		s.unpin(part.Settles)
		s.deny(l, number, code)
		return true
	case !logged && !s.softFits(part.size()):
		s.unpin(part.Settles)
		l.answer(number, routing.CodeFull)
		return true
	}
	for _, r := range part.Settles {
		p := s.store.find(r.Key)
		s.store.at(p).marks &^= markPinned
		s.end(p, r.Outcome)
	}
	for i, env := range part.Sends {
		if logged {
			s.composeEnqueue(targets[i], env, nil)
		} else {
			s.composeSoft(targets[i], env)
		}
	}
	return true
}

// judge decides whether a part can take effect. It pins the messages that the
// part settles, those that it could not pin being left out of the list, and
// returns the queues that it sends to. All of a part with anything persistent is
// logged.
func (s *Shard) judge(part *Part) (targets []*queue, logged bool, code routing.Code) {
	for i, r := range part.Settles {
		p := s.settleable(r)
		if p == 0 {
			s.counts.Stale++
			part.Settles = part.Settles[:i]
			return nil, false, routing.CodeStale
		}
		m := s.store.at(p)
		m.marks |= markPinned
		logged = logged || !m.has(markSoft)
	}
	targets = make([]*queue, len(part.Sends))
	for i, env := range part.Sends {
		q, persistent, code := s.target(env)
		if code != routing.CodeOK {
			return nil, false, code
		}
		targets[i] = q
		logged = logged || persistent
	}
	return targets, logged, routing.CodeOK
}

func (s *Shard) unpin(settles []Settlement) {
	for _, r := range settles {
		if p := s.store.find(r.Key); p != 0 {
			s.store.at(p).marks &^= markPinned
		}
	}
}

// size returns the bytes of a part's envelopes.
func (p *Part) size() int {
	n := 0
	for _, env := range p.Sends {
		n += len(env)
	}
	return n
}

func appendTx(dst []byte, k kind, id TxID) []byte {
	dst = append(dst, byte(k))
	dst = binary.BigEndian.AppendUint64(dst, id.Session)
	return binary.AppendUvarint(dst, id.Number)
}

func (r *entryReader) tx() TxID { return TxID{Session: r.U64(), Number: r.Uvarint()} }
