package amqp

import (
	"bytes"
	"errors"

	"github.com/selvedge-mq/selvedge/protocols"
	"github.com/selvedge-mq/selvedge/protocols/amqp/frames"
	"github.com/selvedge-mq/selvedge/protocols/amqp/message"
	"github.com/selvedge-mq/selvedge/routing"
)

// pieces is what of a large message towards the client is still to be read. While it
// is written, the piece that is under way and the next one are held, no more.
type pieces struct {
	l      *sending
	tag    routing.Tag
	offset int64  // in the stored payload, of the next piece
	end    int64  // in the stored payload
	asked  bool   // a piece is on its way
	tries  int    // reads that failed, one after the other
	early  *early // what the client said before it had everything
}

// early is the outcome of a delivery that is still being written.
type early struct {
	outcome routing.Outcome
	settled bool
	txn     *txn // in which it is stated; nil is none
}

// left returns how many bytes have not come.
func (k *pieces) left() int64 {
	if k == nil {
		return 0
	}
	return k.end - k.offset
}

// reading returns the pieces of the delivery of that id while it is being written: they
// cannot be read any more when it is settled.
func (t *cut) reading(id uint32) *pieces {
	if !t.active || t.id != id {
		return nil
	}
	return t.pieces
}

// say keeps what the client says of the delivery until it has all of it. What it said
// in a transaction stands until that ends.
func (k *pieces) say(e early) {
	if k.early != nil && (k.early.txn != nil || e.txn != nil) {
		if e.txn != nil && e.txn != k.early.txn {
			e.txn.fail(taken(k.l.cut.id))
		}
		k.early.settled = k.early.settled || e.settled
		return
	}
	k.early = &e
	if e.txn != nil {
		e.txn.touched = k.l.s.c.now
		e.txn.early = append(e.txn.early, k)
	}
}

// unsay takes the word of a transaction that is rolled back from the delivery: it is the
// client's again, or has failed if the client has forgotten it.
func (k *pieces) unsay() {
	if !k.early.settled {
		k.early = nil
		return
	}
	k.early = &early{outcome: routing.Outcome{Kind: routing.Modified, DeliveryFailed: true}, settled: true}
}

// openLarge finds the sections of a large message, and where the rest of it is. One of
// another protocol gets a head of ours, and its body follows as it is.
func openLarge(codecs routing.Codecs, e *routing.Envelope) (message.Message, *pieces, error) {
	head := e.Payload
	k := &pieces{offset: int64(len(head)), end: e.Size}
	var begin []byte // of the body of another protocol
	if e.Encoding != routing.EncodingAMQP {
		own, body, err := protocols.ConvertHead(codecs, e, routing.EncodingAMQP)
		if err != nil {
			return message.Message{}, nil, err
		}
		k.end = body.Offset + body.Length
		begin = e.Payload[min(body.Offset, k.offset):min(k.end, k.offset)]
		head, k.offset = own, min(max(body.Offset, k.offset), k.end)
	}
	h, ok := message.ScanHead(head)
	if !ok {
		return message.Message{}, nil, errors.New("amqp: the head of a large message does not reach to its body")
	}
	if len(begin) > 0 {
		h.Bare = append(bytes.Clone(h.Bare), begin...)
	}
	return h.Message, k, nil
}

// fetch asks for the next piece of the delivery under way, unless one is on its way or
// waits already.
func (l *sending) fetch() {
	t := &l.cut
	k := t.pieces
	if k == nil || !l.writing {
		return
	}
	if len(t.bare) == 0 {
		t.bare, t.next, t.read = t.next, nil, true
	}
	if k.asked || k.left() == 0 || len(t.next) > 0 {
		return
	}
	k.asked = true
	l.sub.Read(k.tag, k.offset, int(min(k.left(), routing.MaxPart)), k, 0)
}

// Piece passes a piece to the owner.
func (k *pieces) Piece(p routing.Piece) {
	k.l.s.c.box.Put(event{kind: pieceCame, pieces: k, piece: &p})
}

// came takes a piece.
func (k *pieces) came(p *routing.Piece) {
	l := k.l
	if l.cut.pieces != k { // it is not written any more
		return
	}
	k.asked = false
	switch {
	case p.Err != nil:
		k.failed(p.Err)
		return
	case p.Offset != k.offset || !l.writing: // the link has given its turn away meanwhile
		l.fetch()
		l.enqueue()
		return
	}
	k.tries = 0
	if k.early != nil && k.early.txn != nil {
		k.early.txn.touched = l.s.c.now
	}
	k.offset += int64(len(p.Bytes))
	if len(l.cut.bare) == 0 {
		l.cut.bare, l.cut.read = p.Bytes, true
	} else {
		l.cut.next = p.Bytes
	}
	l.fetch()
	l.enqueue()
}

// failed asks again for a piece that did not come in time. When the message cannot be
// read any more the link ends, and what the client has of it does not count: there are
// clients that take the begin of an aborted delivery for a message.
func (k *pieces) failed(err error) {
	l := k.l
	if k.tries++; protocols.ReadAgain(err, k.tries) {
		l.fetch()
		return
	}
	l.s.c.debug().Err(err).Msg("large message broke off")
	outcome := routing.Outcome{Kind: routing.Modified, DeliveryFailed: true}
	if k.early != nil {
		outcome = k.early.outcome
	}
	if k.early == nil || k.early.txn == nil { // else the end of the link settles it
		if !l.presettled {
			l.s.unsettled.remove(l.cut.id)
		}
		l.sub.Settle(k.tag, outcome, nil, 0)
	}
	l.fail(frames.Errorf(frames.DetachForced, "a large message broke off in its middle: %s", wireError(err).Description))
}

// endCut ends the delivery that is written. What the client said of it too early holds
// from now on.
func (l *sending) endCut() {
	id, k := l.cut.id, l.cut.pieces
	if l.settles {
		l.sub.Settle(l.cut.tag, routing.Outcome{Kind: routing.Accepted}, nil, 0)
	}
	l.dropCut()
	if k == nil || k.early == nil {
		return
	}
	it, said := l.s.unsettled.get(id), k.early
	switch {
	case it == nil:
	case said.txn != nil:
		said.txn.take(k, id, *it)
		said.txn.finish()
	default:
		l.s.settle(id, *it, said.outcome, said.settled)
	}
}

// endEarly settles the delivery under way as the client said, if it did: the link ends.
func (l *sending) endEarly() {
	id, k := l.cut.id, l.cut.pieces
	at := l.s.unsettled.get(id)
	if !l.cut.active || k == nil || k.early == nil || at == nil {
		return
	}
	it, t := *at, k.early.txn
	l.s.unsettled.remove(id)
	if t == nil {
		l.sub.Settle(it.tag, k.early.outcome, nil, 0)
		return
	}
	t.take(k, id, it)
	if t.failed == nil {
		t.finish()
		return
	}
	l.s.c.box.Put(event{kind: rareCame, rare: t.finish}) // it may end the session, which ends already
}

// dropCut forgets the delivery under way, and lets another link begin a large one.
func (l *sending) dropCut() {
	l.holds(-l.cut.held)
	l.cut = cut{head: l.cut.head[:0]}
	l.s.c.large.free(l)
}
