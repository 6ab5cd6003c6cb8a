package amqp

import (
	"encoding/binary"

	"github.com/selvedge-mq/selvedge/protocols/amqp/frames"
	"github.com/selvedge-mq/selvedge/protocols/amqp/message"
	"github.com/selvedge-mq/selvedge/protocols/amqp/wire"
	"github.com/selvedge-mq/selvedge/routing"
)

const (
	quantum     = 64 // transfers of a link before another link's turn
	transferMax = 64 // bytes of a frame's header and of our transfers' performative
	continueMax = 32 // the same for the frames after the first
)

// cut is a delivery of which some frames are written and some are not.
type cut struct {
	active bool
	id     uint32
	tag    routing.Tag
	held   int     // octets, as they came
	head   []byte  // the header section that is sent, when it is not the stored one
	notes  []byte  // message annotations
	bare   []byte  // the bare message; of a large one the piece that is here
	next   []byte  // the piece behind that
	read   bool    // bare is a piece
	pieces *pieces // of a large message, otherwise nil
}

// size returns the bytes that can be written.
func (t *cut) size() int { return len(t.head) + len(t.notes) + len(t.bare) + len(t.next) }

// length returns the bytes that are still to be written, those included that are
// still to be read.
func (t *cut) length() int64 { return int64(t.size()) + t.pieces.left() }

// ready reports whether a frame can be written: a full one, or the last of what is
// there when nothing is on its way.
func (t *cut) ready(room int) bool {
	return t.pieces.left() == 0 || t.size() >= room || len(t.next) > 0
}

// append moves up to n bytes to b.
func (t *cut) append(b []byte, n int) []byte {
	for _, part := range [...]*[]byte{&t.head, &t.notes, &t.bare, &t.next} {
		k := min(n, len(*part))
		b = append(b, (*part)[:k]...)
		*part = (*part)[k:]
		n -= k
	}
	return b
}

// queue puts the session in line for the pump.
func (s *session) queue() {
	if !s.queued && len(s.ready) > 0 && s.out.left > 0 {
		s.queued = true
		s.c.ready = append(s.c.ready, s)
	}
}

// pump writes deliveries until the writer has enough to do, the windows are
// used up or nothing is left. It reports whether something is.
func (c *conn) pump() bool {
	for len(c.ready) > 0 && len(c.buf) < outHigh {
		s := c.ready[0]
		n := copy(c.ready, c.ready[1:])
		c.ready[n] = nil
		c.ready = c.ready[:n]
		s.queued = false
		if s.phase == sessionLive {
			s.pump()
			s.queue()
		}
	}
	return len(c.ready) > 0
}

// pump lets the session's links write in turn.
func (s *session) pump() {
	for len(s.ready) > 0 && s.out.left > 0 && len(s.c.buf) < outHigh {
		l := s.ready[0]
		for range quantum {
			if l.phase != linkAttached || !l.more() || s.out.left == 0 || len(s.c.buf) >= outHigh {
				break
			}
			l.step()
		}
		n := copy(s.ready, s.ready[1:])
		s.ready[n] = nil
		s.ready = s.ready[:n]
		l.queued = false
		if l.phase == linkAttached {
			l.finishDrain()
			l.align(false)
			l.requeue()
		}
	}
}

// requeue puts the link at the end of its session's line if it has more.
func (l *sending) requeue() {
	if l.more() && !l.queued {
		l.queued = true
		l.s.ready = append(l.s.ready, l)
	}
}

// step writes one frame: the next of the delivery under way, or the first of
// the next delivery.
func (l *sending) step() {
	if l.cut.active {
		if l.mayGoOn() {
			l.write(&frames.Transfer{Handle: l.out}, continueMax)
		}
		return
	}
	if l.mayBegin() {
		l.begin()
	}
}

// begin writes the first frame of the next delivery.
func (l *sending) begin() {
	d := l.next()
	ok := l.compose(&d)
	l.cut.tag, l.cut.held = d.Tag, len(d.Envelope.Payload)
	if !ok {
		l.dropCut()
		l.sub.Settle(d.Tag, routing.Outcome{Kind: routing.Rejected}, nil, 0)
		l.align(true)
		return
	}
	s := l.s
	id := s.nextDelivery
	s.nextDelivery++
	l.credit.begin()
	l.cut.active, l.cut.id = true, id
	if k := l.cut.pieces; k != nil {
		k.l, k.tag = l, d.Tag
	}
	if l.presettled {
		s.sentSettled.add(id)
	} else {
		s.unsettled.add(id, sent{link: l, tag: d.Tag})
	}
	s.c.counts.sent++
	tag := &s.c.scratch().tag
	binary.BigEndian.PutUint32(tag[:], id)
	l.write(&frames.Transfer{ // every client needs all of these in the first frame
		Handle: l.out, DeliveryID: wire.Some(id), DeliveryTag: tag[:],
		MessageFormat: wire.Some(uint32(0)), Settled: wire.Some(l.presettled),
	}, transferMax)
}

// frameRoom is how many bytes of a message the smallest frame of ours takes that is not
// the last.
func (l *sending) frameRoom() int { return int(l.s.c.peer.maxFrame) - transferMax }

// write writes a frame with as much of the delivery as fits. Frames without
// payload are never sent, and none is aborted: clients cannot take it.
// [transport 2.6.14]
func (l *sending) write(t *frames.Transfer, overhead int) {
	s, c := l.s, l.s.c
	n := min(l.cut.size(), int(c.peer.maxFrame)-overhead)
	t.More = int64(n) < l.cut.length()
	if c.watched() {
		own := *t // so that t itself is never allocated
		c.trace(true, s.channel, &own, n)
	}
	b := frames.AppendTransfer(c.room(), s.channel, t, n)
	c.buf = l.cut.append(b, n)
	s.out.sent()
	l.stuck = false
	if !t.More {
		l.endCut()
		return
	}
	l.fetch()
}

// emptyHeader is the header section that says nothing.
var emptyHeader = (&message.Header{}).Append(nil)

// compose makes the message of a delivery ready: a header that counts the
// attempts, and everything else bit for bit. It reports false for a message
// that this client can never be sent. [messaging 3.2.1]
func (l *sending) compose(d *routing.Delivery) bool {
	m, p, ok := l.sections(&d.Envelope)
	if !ok {
		return false
	}
	head, err := header(&m, attempts(d))
	if err != nil {
		l.s.c.warn().Err(err).Str("addr", d.Envelope.Address.String()).Msg("stored message is malformed")
		return false
	}
	l.cut = cut{head: head, notes: m.MessageAnnotations, bare: m.Bare, pieces: p}
	if l.cut.size() == 0 { // clients cannot take a frame without payload
		l.cut.head = emptyHeader
	}
	return l.maxSize == 0 || uint64(l.cut.length()) <= l.maxSize //nolint:gosec // sizes are positive
}

// sections finds the sections of a message, and what of a large one is still to be read.
func (l *sending) sections(e *routing.Envelope) (m message.Message, p *pieces, ok bool) {
	var err error
	if e.Large() {
		m, p, err = openLarge(l.s.c.f.o.Env.Codecs, e)
	} else {
		var payload []byte
		if payload, err = l.encoded(e); err == nil {
			m, err = message.Scan(payload)
		}
	}
	if err != nil {
		l.s.c.warn().Err(err).Str("addr", e.Address.String()).Msg("message cannot be made one of AMQP")
	}
	return m, p, err == nil
}

// attempts is the delivery-count: unsuccessful attempts before this one. An
// attempt whose end nobody knows counts as one.
func attempts(d *routing.Delivery) uint32 {
	if d.Failed == 0 && d.Redelivered {
		return 1
	}
	return d.Failed
}

// header returns the header section with that delivery-count: the stored one if
// it says so already.
func header(m *message.Message, count uint32) ([]byte, error) {
	if m.Header == nil && count == 0 {
		return nil, nil
	}
	h, err := m.DecodeHeader()
	if err != nil || h.DeliveryCount == count {
		return m.Header, err
	}
	h.DeliveryCount = count
	h.FirstAcquirer = false
	return h.Append(nil), nil
}

// encoded returns the payload as an AMQP message.
func (l *sending) encoded(e *routing.Envelope) ([]byte, error) {
	if e.Encoding == routing.EncodingAMQP {
		return e.Payload, nil
	}
	return convert(l.s.c.f.o.Env.Codecs, e)
}
