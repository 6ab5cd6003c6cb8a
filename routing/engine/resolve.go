package engine

import (
	"encoding/binary"
	"sync/atomic"
	"time"

	"github.com/selvedge-mq/selvedge/internal/cursor"
	"github.com/selvedge-mq/selvedge/routing/shard"
)

// doubts are a leader's transactions over several shards whose node does not end
// them: parts that wait here for a coordinator's word, and commits of this shard's
// that others have to carry out.
type doubts struct {
	look    time.Time                      // when to look again
	parts   map[shard.TxID]time.Time       // that wait, since when this leader has seen it
	carried map[shard.TxID]map[uint16]bool // commits, and who has carried them out
	waiting atomic.Int64                   // the number of parts, for the metric
}

// beatsPerLook is how many heartbeats pass until a leader looks again.
const beatsPerLook = 5

// resolve asks for the parts that wait too long, or whose node is gone, and has
// the commits of nodes that are gone carried out. Questions and answers may be
// lost: they come again.
func (l *leader) resolve(now time.Time) {
	d := &l.doubts
	if now.Before(d.look) || len(l.awaiting) > 0 {
		return
	}
	d.look = now.Add(beatsPerLook * l.e.opts.Heartbeat)
	parts := map[shard.TxID]time.Time{}
	l.s.Prepared(func(tx shard.TxID, coordinator uint16, node string) {
		since, ok := d.parts[tx]
		if !ok {
			since = now
		}
		parts[tx] = since
		if _, up := l.nodes[tx.Session]; !up || now.Sub(since) >= l.e.opts.SendTimeout {
			l.ask(tx, int(coordinator), node)
		}
	})
	d.parts = parts
	d.waiting.Store(int64(len(parts)))
	carried := map[shard.TxID]map[uint16]bool{}
	l.s.Commits(func(tx shard.TxID, shards []uint16) {
		if _, up := l.nodes[tx.Session]; up {
			return // it has them carried out, and says when that is done
		}
		done := d.carried[tx]
		if done == nil {
			done = map[uint16]bool{}
		}
		carried[tx] = done
		for _, n := range shards {
			if !done[n] {
				l.sendVerdict(tx, int(n), true)
			}
		}
	})
	d.carried = carried
}

// waitingParts counts the parts that wait in the shards led here.
func (e *Engine) waitingParts() int64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	var n int64
	for _, l := range e.leaders {
		n += l.doubts.waiting.Load()
	}
	return n
}

// ask asks the coordinator's leader for its word.
func (l *leader) ask(tx shard.TxID, coordinator int, node string) {
	participant := l.shard
	msg := cursor.AppendBytes(appendTx(nil, tx), node)
	l.e.toLeader(coordinator, verbAsk, binary.BigEndian.AppendUint16(msg, uint16(participant)), func(at *leader) {
		at.answer(tx, node, participant)
	})
}

// answer answers a participant with what is in the log. If there is nothing, the
// transaction is given up; once that is in the log the next question is answered. So
// is one that comes when the open record is full.
func (l *leader) answer(tx shard.TxID, node string, participant int) {
	if commit, known := l.s.Verdict(tx); known {
		l.sendVerdict(tx, participant, commit)
		return
	}
	if !l.s.Full() {
		l.s.GiveUp(tx, node)
	}
}

func (l *leader) sendVerdict(tx shard.TxID, participant int, commit bool) {
	coordinator := l.shard
	msg := append(appendTx(nil, tx), flag(commit))
	l.e.toLeader(participant, verbVerdict, binary.BigEndian.AppendUint16(msg, uint16(coordinator)), func(at *leader) {
		at.verdict(tx, commit, coordinator)
	})
}

// verdict carries a coordinator's word out, if there is room: it will come again. If there is nothing to do any more, the
// coordinator is told, once that is certain: another leader may have logged a part that
// this one has not heard of.
func (l *leader) verdict(tx shard.TxID, commit bool, coordinator int) {
	participant := l.shard
	switch {
	case l.s.Full():
	case l.s.Holds(tx):
		l.s.Resolve(tx, commit)
	default:
		l.attest(func() {
			msg := binary.BigEndian.AppendUint16(appendTx(nil, tx), uint16(participant))
			l.e.toLeader(coordinator, verbCarried, msg, func(at *leader) { at.carriedOut(tx, participant) })
		})
	}
}

// carriedOut forgets a commit when all participants have carried it out.
func (l *leader) carriedOut(tx shard.TxID, participant int) {
	done := l.doubts.carried[tx]
	if done == nil || l.s.Full() {
		return // its node ends it, or it will be told again
	}
	done[uint16(participant)] = true
	for _, n := range l.s.Participants(tx) {
		if !done[n] {
			return
		}
	}
	l.s.ForgetDecision(tx)
}

// toLeader sends a message to a shard's leader, if this node knows one.
func (e *Engine) toLeader(n int, v verb, payload []byte, local func(l *leader)) {
	if n >= len(e.portals) {
		return
	}
	p := e.portals[n]
	p.box.Put(func() { p.tell(append(p.head(v).append(nil), payload...), local) })
}

func appendTx(dst []byte, tx shard.TxID) []byte {
	return binary.AppendUvarint(binary.BigEndian.AppendUint64(dst, tx.Session), tx.Number)
}

func readTx(c *cursor.Cursor) shard.TxID { return shard.TxID{Session: c.U64(), Number: c.Uvarint()} }
