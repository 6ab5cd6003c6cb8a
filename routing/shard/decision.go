package shard

import (
	"encoding/binary"
	"maps"
	"slices"

	"github.com/selvedge-mq/selvedge/internal/cursor"
	"github.com/selvedge-mq/selvedge/routing"
)

// decision is a coordinator's word on a transaction. It is kept until nobody can
// ask for it, or contradict it, any more.
type decision struct {
	commit bool
	node   string   // of the session that commits
	shards []uint16 // the participants of a commit
	home   uint64   // sequence of the record with the entry, 0 while it is only composed
	size   uint32   // of the entry
	ending bool     // its end is composed and not applied yet
}

// recent are the last transactions of which something is remembered.
type recent struct {
	ring [256]TxID
	next int
}

func (r *recent) add(tx TxID) {
	r.ring[r.next] = tx
	r.next = (r.next + 1) % len(r.ring)
}

// Decide composes the commit of a transaction that all participants have prepared.
// It reports false like Send. The answer is CodeUnavailable when the transaction
// was given up before, since a participant asked for it.
func (s *Shard) Decide(id LaneID, number uint64, tx TxID, shards []uint16) bool {
	l := s.accept(id, number)
	if l == nil {
		return false
	}
	switch d := s.decisions[tx]; {
	case d == nil:
		s.composeDecision(tx, &decision{commit: true, node: l.node, shards: shards})
	case !d.commit:
		l.answer(number, routing.CodeUnavailable)
	}
	return true
}

// GiveUp composes the decision that a transaction does not commit, unless there
// is a decision: a participant asked for one that has not come. A question that
// arrives after the end of the decision was overtaken: nobody would end another one.
func (s *Shard) GiveUp(tx TxID, node string) {
	if s.decisions[tx] == nil && !slices.Contains(s.ended.ring[:], tx) {
		s.composeDecision(tx, &decision{node: node})
	}
}

// Verdict returns what was decided on a transaction, and whether that is in the log.
func (s *Shard) Verdict(tx TxID) (commit, known bool) {
	d := s.decisions[tx]
	if d == nil || d.home == 0 {
		return false, false
	}
	return d.commit, true
}

// EndDecision composes the end of a decision that every participant has carried
// out, as the node asks for. It reports false like Send.
func (s *Shard) EndDecision(id LaneID, number uint64, tx TxID) bool {
	if s.accept(id, number) == nil {
		return false
	}
	s.ForgetDecision(tx)
	return true
}

// ForgetDecision composes the end of a decision.
func (s *Shard) ForgetDecision(tx TxID) {
	d := s.decisions[tx]
	if d == nil || d.ending {
		return
	}
	d.ending = true
	s.begin()
	s.open.buf = appendTx(s.open.buf, kindEnd, tx)
	s.open.entries++
}

// Commits calls f for each commit in the log that is not known to be carried out
// everywhere, with its participants, in the order of the transactions.
func (s *Shard) Commits(f func(tx TxID, shards []uint16)) {
	for _, tx := range slices.SortedFunc(maps.Keys(s.decisions), TxID.Compare) {
		if d := s.decisions[tx]; d.commit && d.home != 0 && !d.ending {
			f(tx, d.shards)
		}
	}
}

// Participants returns the shards of a commit, nil if it is not known.
func (s *Shard) Participants(tx TxID) []uint16 {
	if d := s.decisions[tx]; d != nil {
		return d.shards
	}
	return nil
}

func (s *Shard) composeDecision(tx TxID, d *decision) {
	s.decisions[tx] = d
	s.begin()
	s.open.buf = appendDecision(s.open.buf, tx, d)
	s.open.entries++
}

func (s *Shard) applyDecision(seq uint64, e *entry) {
	d := s.decisions[e.tx]
	if d == nil {
		d = &decision{commit: e.flags != 0, node: string(e.name), shards: append([]uint16(nil), e.shards...)}
		s.decisions[e.tx] = d
	}
	if d.home != 0 {
		s.log.release(d.home, d.size)
	}
	d.home, d.size = seq, uint32(len(d.node)+2*len(d.shards))+entryOverhead
	s.log.hold(seq, d.size)
}

func (s *Shard) applyEnd(tx TxID) {
	if d := s.decisions[tx]; d != nil {
		s.log.release(d.home, d.size)
		delete(s.decisions, tx)
	}
}

// dropDecisions forgets what was given up of a session: it is gone, so it cannot
// ask for a commit any more. Its commits stay until they are carried out.
func (s *Shard) dropDecisions(session uint64) {
	for tx, d := range s.decisions {
		if tx.Session == session && !d.commit {
			s.applyEnd(tx)
		}
	}
}

func (s *Shard) rewriteDecision(seq uint64, tx TxID) {
	if d := s.decisions[tx]; d != nil && d.home == seq && !d.ending {
		s.begin()
		s.open.buf = appendDecision(s.open.buf, tx, d)
		s.open.entries++
	}
}

func appendDecision(dst []byte, tx TxID, d *decision) []byte {
	dst = append(appendTx(dst, kindDecision, tx), flagOf(d.commit))
	dst = cursor.AppendBytes(dst, d.node)
	dst = binary.AppendUvarint(dst, uint64(len(d.shards)))
	for _, n := range d.shards {
		dst = binary.AppendUvarint(dst, uint64(n))
	}
	return dst
}

func (r *entryReader) decision(e *entry) {
	e.tx, e.flags, e.name = r.tx(), r.Octet(), r.Bytes()
	for n := r.Uvarint(); n > 0 && !r.Bad; n-- {
		e.shards = append(e.shards, uint16(r.Uvarint()))
	}
}
