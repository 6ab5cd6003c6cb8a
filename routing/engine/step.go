package engine

import (
	"encoding/binary"
	"time"

	"github.com/selvedge-mq/selvedge/internal/cursor"
	"github.com/selvedge-mq/selvedge/routing"
	"github.com/selvedge-mq/selvedge/routing/shard"
)

// txStep is a step of a transaction, or of an upload, on its way to a shard. It is a request of the
// send lane, so it takes its place among the sends, once, whichever leader takes it.
type txStep struct {
	verb        stepVerb
	number      uint64          // of the transaction
	coordinator int             // of a prepare
	shards      []int           // of a decide: the participants
	commit      bool            // of a finish
	addr        routing.Address // of a request about a temporary queue
	part        *txPart
	topics      [][]byte  // of a transact: handed on when it has committed
	upload      uint64    // of an upload's steps: its number
	since       time.Time // of a part: when it came

	c    routing.Completer  // told the end, or that it did not come in time
	done func(routing.Code) // told the end alone, however late

	raw   []byte // the step as it travels
	taken uint64 // its number in the lane, once it has ended
}

// stepVerb says what a step does.
type stepVerb byte

// The steps. The numbers are part of the encoding between nodes.
const (
	stepTransact stepVerb = 1 // all of a transaction that is in one shard
	stepPrepare  stepVerb = 2 // a part waits for the coordinator's word
	stepDecide   stepVerb = 3 // → coordinator: commit
	stepFinish   stepVerb = 4 // the end of a part
	stepEnd      stepVerb = 5 // → coordinator: everybody has carried it out

	stepCreate stepVerb = 6 // a temporary queue begins
	stepDelete stepVerb = 7 // a temporary queue ends
	stepWhose  stepVerb = 8 // somebody else would read a temporary queue

	stepPart  stepVerb = 9  // a part of a large message
	stepLarge stepVerb = 10 // the message of an upload
	stepAbort stepVerb = 11 // an upload ends without a message
)

// putStep takes a step in, behind what the session has sent before.
func (p *portal) putStep(t *txStep) {
	t.raw = t.append(nil, p.e.session)
	if t.part != nil {
		t.part.sends = nil // raw has them
	}
	p.e.held.Add(int64(len(t.raw)))
	p.in.putStep(t)
}

// putStep adds a step behind what was put in before.
func (in *intake) putStep(t *txStep) {
	in.mu.Lock()
	in.reqs = append(in.reqs, sendRequest{c: t.c, step: t, size: int32(len(t.raw))})
	first := len(in.reqs) == 1
	in.mu.Unlock()
	if first {
		in.wake()
	}
}

func (t *txStep) append(dst []byte, session uint64) []byte {
	dst = append(dst, byte(t.verb))
	dst = binary.AppendUvarint(dst, t.number)
	switch t.verb {
	case stepPrepare:
		dst = binary.AppendUvarint(dst, uint64(t.coordinator))
		return t.part.append(dst, session)
	case stepTransact:
		return t.part.append(dst, session)
	case stepDecide:
		for _, n := range t.shards {
			dst = binary.AppendUvarint(dst, uint64(n))
		}
	case stepFinish:
		return append(dst, flag(t.commit))
	case stepCreate, stepDelete, stepWhose:
		return append(append(dst, byte(t.addr.Kind)), t.addr.Name...)
	case stepEnd, stepPart, stepLarge, stepAbort: // an upload's are written by it
	}
	return dst
}

func (p *txPart) append(dst []byte, session uint64) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(p.settles)))
	for _, r := range p.settlements(session) {
		dst = appendSettlement(dst, &r)
	}
	for _, env := range p.sends {
		dst = cursor.AppendBytes(dst, env)
	}
	return dst
}

func readPart(c *cursor.Cursor, session uint64) *shard.Part {
	p := &shard.Part{}
	for n := c.Uvarint(); n > 0 && !c.Bad; n-- {
		p.Settles = append(p.Settles, readSettlement(c, session))
	}
	for c.More() {
		p.Sends = append(p.Sends, c.Bytes())
	}
	return p
}

// takeStep composes a step of a transaction.
func (l *leader) takeStep(id shard.LaneID, number uint64, step []byte) {
	c := cursor.New(step)
	verb := stepVerb(c.Octet())
	tx := shard.TxID{Session: id.Session, Number: c.Uvarint()}
	switch verb {
	case stepTransact:
		if part := readPart(&c, id.Session); !c.Bad {
			l.s.Transact(id, number, part)
			return
		}
	case stepPrepare:
		coordinator := l.e.readShard(&c)
		if part := readPart(&c, id.Session); !c.Bad {
			l.s.Prepare(id, number, tx, coordinator, part)
			return
		}
	case stepDecide:
		var shards []uint16
		for c.More() {
			shards = append(shards, l.e.readShard(&c))
		}
		if !c.Bad {
			l.s.Decide(id, number, tx, shards)
			return
		}
	case stepFinish:
		if commit := c.Octet() != 0; !c.Bad {
			l.s.Finish(id, number, tx, commit)
			return
		}
	case stepEnd:
		l.s.EndDecision(id, number, tx)
		return
	case stepCreate, stepDelete, stepWhose:
		if !c.Bad {
			l.takeTemporary(verb, id, number, &c)
			return
		}
	case stepPart, stepLarge, stepAbort:
		if l.takeUpload(verb, id, number, tx.Number, &c) {
			return
		}
	}
	l.s.Send(id, number, nil) // takes the number, and answers that it is not valid
}

// readShard reads the number of a shard that exists: what is logged about another one
// would wait for it for ever.
func (e *Engine) readShard(c *cursor.Cursor) uint16 {
	n := c.Uvarint()
	if n >= uint64(len(e.portals)) {
		c.Bad = true
		return 0
	}
	return uint16(n)
}

// inTransaction marks the number, in the send lane, of a step that settles a
// delivery; the others are numbers in the settle lane.
const inTransaction = 1 << 63

// settling notes that a step with this number settles deliveries.
func (p *portal) settling(part *txPart, number uint64) {
	for i := range part.settles {
		r := &part.settles[i]
		r.sub.settles++
		r.sub.note(r.key, number|inTransaction)
	}
}

// settled notes the end of what the step settled: the deliveries are over, or they
// are the consumers' again.
func (p *portal) settled(part *txPart, number uint64, committed bool) {
	for i := range part.settles {
		r := &part.settles[i]
		if r.sub.inFlight[r.key].note == number|inTransaction {
			if committed {
				r.sub.over(r.key)
			} else {
				r.sub.note(r.key, 0)
			}
		}
	}
}

// letClose has the subscriptions end whose closes the step held.
func (p *portal) letClose(part *txPart) {
	for i := range part.settles {
		u := part.settles[i].sub
		u.settles--
		p.finishClose(u)
	}
}

// finishStep ends a step that a leader has answered.
func (p *portal) finishStep(b *outBatch, code routing.Code) {
	t := b.reqs[0].step
	t.taken = b.first
	switch t.verb {
	case stepTransact:
		p.settled(t.part, b.first, code == routing.CodeOK)
		p.letClose(t.part)
		if code == routing.CodeOK {
			p.e.publish(t.topics)
		}
	case stepCreate:
		p.created(t.addr, stepError(code))
	case stepPart:
		p.in.partDone(len(t.raw))
	case stepPrepare:
		if code != routing.CodeOK {
			p.settled(t.part, b.first, false)
		}
		p.letClose(t.part)
	default:
	}
	if t.done != nil {
		t.done(code)
	} else if !b.expired {
		p.done.add(t.c, 0, stepError(code))
	}
}

// failStep tells that a step has not ended in time. Whatever the reason, its outcome
// is unknown; the committer has a clock of its own.
func (p *portal) failStep(b *outBatch, code routing.Code, reason string) {
	b.expired = true
	t := b.reqs[0].step
	if t.done != nil {
		return
	}
	if code != routing.CodeTimeout && t.upload == 0 { // an upload's say what a send's do
		code = routing.CodeUnavailable
	}
	p.e.metrics.timeouts.Inc()
	err := &routing.Error{Code: code, Op: "commit", Reason: reason}
	p.done.add(t.c, 0, err)
	if t.verb == stepCreate {
		p.created(t.addr, err)
	}
}

// heldInStep restores a delivery that a step settles, as a node reports it.
func (l *leader) heldInStep(id shard.SubID, key, number, expects uint64) {
	lane := shard.LaneID{Session: id.Session, Lane: laneSend}
	if number >= expects || l.s.Refused(lane, number) {
		l.s.Held(id, key)
		return
	}
	l.s.HeldPinned(id, key)
}

func stepError(code routing.Code) error {
	if code == routing.CodeOK {
		return nil
	}
	reason := reasons[code]
	switch code {
	case routing.CodeStale:
		reason = "a delivery was handed out again in the meantime: nothing took effect"
	case routing.CodeUnavailable:
		reason = "it took too long, and was given up: nothing took effect"
	default:
	}
	return &routing.Error{Code: code, Op: "commit", Reason: reason}
}
