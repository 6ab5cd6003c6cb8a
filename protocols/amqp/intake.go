package amqp

import (
	"bytes"
	"math"
	"slices"

	"github.com/selvedge-mq/selvedge/protocols/amqp/frames"
	"github.com/selvedge-mq/selvedge/protocols/amqp/message"
	"github.com/selvedge-mq/selvedge/protocols/amqp/wire"
	"github.com/selvedge-mq/selvedge/routing"
)

// send hands a message to the engine, in a transaction if the delivery is of one.
func (l *receiving) send(payload []byte) *breach {
	c, p := l.s.c, &l.partial
	c.counts.received++
	e := &c.scratch().envelope
	*e = routing.Envelope{Address: l.to, Encoding: routing.EncodingAMQP, Timestamp: c.now, Payload: payload}
	if bad := l.describeWhole(e, payload); bad != nil {
		return l.refuseSend(refusal{id: p.id, settled: p.settled, tag: p.tag, txn: p.txn, err: bad})
	}
	if !p.settled && !l.tags.take(p.id, p.tag) { // [transport 2.8.7]
		return duplicateTag(p.id)
	}
	l.sends++
	l.s.sends++
	token := uint64(newSendToken(p.id, p.settled, len(payload)))
	c.load.begin(len(payload))
	var room bool
	switch {
	case p.txn != nil:
		room = p.txn.post(l, e, token)
	default:
		room = c.routing.Send(e, l.completer(), token)
	}
	if !room {
		c.load.held = true
	}
	return nil
}

func duplicateTag(id uint32) *breach {
	return linkError(frames.NotAllowed, "the delivery-tag of delivery %d is that of an unsettled one", id)
}

// completer returns who takes the result of the delivery that is complete now, and
// has it remembered if need be.
func (l *receiving) completer() routing.Completer {
	if l.ledger == nil || l.partial.settled {
		return (*sendResults)(l)
	}
	l.ledger.begin(l.partial.id, l.partial.tag)
	return &keptSends{l, l.ledger}
}

// told says that the client is told what became of a delivery: where we settle
// first it is settled on both sides then.
func (l *receiving) told(id uint32) {
	if l.ledger != nil && !l.second {
		l.ledger.settled(id)
	}
}

// sendToken is the token of a send: the delivery-id, whether it is settled, and
// the length of its payload.
type sendToken uint64

func newSendToken(id uint32, settled bool, size int) sendToken {
	t := sendToken(id)<<32 | sendToken(size)&math.MaxInt32 //nolint:gosec // a length
	if settled {
		t |= 1 << 31
	}
	return t
}

func (t sendToken) id() uint32    { return uint32(t >> 32) }
func (t sendToken) settled() bool { return t>>31&1 == 1 }
func (t sendToken) size() int     { return int(t & math.MaxInt32) }

// describeWhole fills the envelope of a message that came as a whole.
func (l *receiving) describeWhole(e *routing.Envelope, payload []byte) *frames.Error {
	switch {
	case l.partial.format != 0:
		return l.describe(e, nil)
	case len(payload) == 0:
		return frames.Errorf(frames.DecodeFailed, "the message has no sections")
	}
	m, err := message.Scan(payload)
	if err != nil {
		return frames.Errorf(frames.DecodeFailed, "the message is malformed: %v", err)
	}
	return l.describe(e, &m)
}

// describe fills the envelope from the sections of the message. [messaging 3.2]
func (l *receiving) describe(e *routing.Envelope, m *message.Message) *frames.Error {
	if l.partial.format != 0 {
		return frames.Errorf(frames.NotImplemented, "message-format %d is not supported", l.partial.format)
	}
	h, err := m.DecodeHeader()
	if err != nil {
		return frames.Errorf(frames.DecodeFailed, "the header is malformed: %v", err)
	}
	trusted := l.s.c.f.o.Dialect == RabbitMQ
	p, err := readProperties(m.Properties, wanted{to: l.naming == byTo, subject: l.naming == bySubject, user: trusted})
	if err != nil {
		return frames.Errorf(frames.DecodeFailed, "the properties are malformed: %v", err)
	}
	if trusted && p.user != "" && p.user != l.s.c.principal.Name { // [messaging 3.2.4]
		return frames.Errorf(frames.UnauthorizedAccess, "user-id %q is not the name of the login", clip(p.user))
	}
	e.Persistent = h.Durable
	e.Priority = h.Priority.Or(message.DefaultPriority)
	e.Group = p.group
	e.Expiry = expiry(e.Timestamp, h.TTL.Value, p.expiry)
	if bad := l.readRequests(e, m); bad != nil {
		return bad
	}
	if l.naming != byTarget {
		return l.address(e, p, m)
	}
	return nil
}

// expiry is the earlier of the two that a message may name. [messaging 3.2.1, 3.2.4]
func expiry(now int64, ttl uint32, absolute int64) int64 {
	if ttl == 0 {
		return max(absolute, 0)
	}
	if t := now + int64(ttl); absolute <= 0 || t < absolute {
		return t
	}
	return absolute
}

// address finds where a message goes that names its own address.
// (OASIS anonterm 2.2.2)
func (l *receiving) address(e *routing.Envelope, p properties, m *message.Message) *frames.Error {
	name, field := p.to, "properties.to"
	var kind []wire.Symbol
	if l.naming == bySubject {
		name, field = p.subject, "properties.subject"
	} else {
		kind = destinationKind(m)
	}
	if name == "" {
		return frames.Errorf(frames.PreconditionFailed, "a message to this target needs %s", field)
	}
	if name != l.lastName || !slices.Equal(kind, l.lastKind) {
		to := routing.Topic(name)
		var bad *frames.Error
		if l.naming == byTo {
			to, bad = l.s.c.f.speller.parse(name, kind)
		} else if err := to.Validate(); err != nil {
			bad = frames.Errorf(frames.InvalidField, "%v", err)
		} else {
			bad = l.s.c.f.speller.literal(to, name)
		}
		if bad != nil {
			return bad
		}
		l.lastName, l.lastKind, l.lastTo = name, kind, to
	}
	e.Address = l.lastTo
	return nil
}

// destinationKind returns what a JMS client says that properties.to is: its
// producers without a destination of their own have no terminus to say it.
func destinationKind(m *message.Message) []wire.Symbol {
	if !bytes.Contains(m.MessageAnnotations, []byte(jmsDest)) {
		return nil
	}
	annotations, err := m.DecodeMessageAnnotations()
	if err != nil {
		return nil
	}
	return jmsKind(annotations, jmsDest)
}

// refusal is a delivery that is not taken, and why.
type refusal struct {
	id      uint32
	settled bool
	tag     []byte // nil when it is not known any more
	txn     *txn   // nil outside of transactions
	err     *frames.Error
}

// refuseSend tells the client that a message is not taken: as a rejection, or
// where it cannot be told so, by ending the link. A transaction that lacks it can only
// roll back, which tells it too. (OASIS anonterm 2.2.2) [transactions 4.4.4]
func (l *receiving) refuseSend(r refusal) *breach {
	r.err.Description = clip(r.err.Description)
	if l.naming == byTo && len(r.tag) > 0 {
		r.err.Info = append(r.err.Info, wire.Entry{Key: wire.Symbol("delivery-tag"), Value: bytes.Clone(r.tag)})
	}
	if r.txn != nil {
		r.txn.fail(r.err)
	}
	switch {
	case r.settled && r.txn != nil:
		return nil
	case r.settled || !l.reject:
		return &breach{onLink, r.err}
	}
	state := frames.State{Kind: frames.StateRejected, Error: r.err}
	if r.txn != nil {
		state.Kind, state.Outcome, state.TxnID = frames.StateTransactional, frames.StateRejected, r.txn.id[:]
	}
	l.s.answers.tell(answer{id: r.id, settled: !l.second, role: frames.RoleReceiver, state: state})
	l.s.mark()
	return nil
}

// judged takes the engine's results of sends; t is their transaction, if any.
func (l *receiving) judged(rs []routing.Result, t *txn) {
	c, s := l.s.c, l.s
	for _, r := range rs {
		l.sends--
		s.sends--
		token := sendToken(r.Token)
		c.load.end(token.size())
		id, settled := token.id(), token.settled()
		var tag []byte
		if !settled {
			tag = l.tags.free(id)
			l.told(id)
		}
		switch {
		case s.phase == sessionDiscarded || l.phase == linkDetached:
			if r.Err != nil && t != nil {
				t.fail(wireError(r.Err))
			}
		case r.Err == nil && !settled && t != nil:
			s.answers.post(id, l.second, t)
		case r.Err == nil && !settled:
			s.answers.accept(id, l.settling())
		case r.Err != nil:
			l.sendFailed(refusal{id: id, settled: settled, tag: tag, txn: t, err: wireError(r.Err)}, r.Err)
		}
	}
	l.goOn()
}

// goOn ends the link or the session when that waited for the last result.
func (l *receiving) goOn() {
	s := l.s
	if s.phase == sessionDiscarded {
		return
	}
	s.mark()
	if l.phase == linkDetaching && l.sends == 0 && s.phase == sessionLive {
		l.answerDetach()
	}
	s.settlePhase()
}

// sendFailed tells the client of a failed send. A settled one to a fixed address
// is only logged: the client wants to hear nothing of it.
func (l *receiving) sendFailed(r refusal, err error) {
	l.s.c.debug().Err(err).Bool("settled", r.settled).Msg("send failed")
	if r.settled && l.naming == byTarget && r.txn == nil {
		return
	}
	if b := l.refuseSend(r); b != nil && l.phase != linkDetached {
		l.fail(b.wire)
	}
}

// sendResults receives the engine's results of sends.
type sendResults receiving

// Complete passes the results to the owner.
func (r *sendResults) Complete(rs []routing.Result) {
	l := (*receiving)(r)
	c := l.s.c
	c.box.Put(event{kind: sendsJudged, receiving: l, results: c.f.pools.copyResults(rs)})
}
