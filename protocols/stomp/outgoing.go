package stomp

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"github.com/selvedge-mq/selvedge/internal/mailbox"
	"github.com/selvedge-mq/selvedge/protocols"
	"github.com/selvedge-mq/selvedge/protocols/stomp/frame"
	"github.com/selvedge-mq/selvedge/routing"
)

// outgoing is a large MESSAGE that is being written. Its body is asked for piece by
// piece, as the client takes them: one is written and one is ready, or on its way. All
// other frames wait in the machine's output.
type outgoing struct {
	sub    *subscription
	tag    routing.Tag
	events *mailbox.Mailbox[event]

	before  output  // frames that were encoded before
	granted []grant // what they are worth
	head    output  // of the MESSAGE; empty when it is written, or being written
	ready   []byte  // the next piece
	next    int64   // where in the payload the piece behind it begins
	end     int64   // where in the payload the body ends
	asked   bool    // a piece is on its way
	tries   int     // reads that failed, one after the other
	last    bool    // the end is being written
}

// Piece implements routing.PieceSink.
func (o *outgoing) Piece(p routing.Piece) {
	o.events.Put(event{run: func(m *machine) { m.piece(o, p) }})
}

// handLarge begins a MESSAGE whose body does not come with the delivery. When the body
// cannot be converted apart from the rest, all of it is gathered first.
func (m *machine) handLarge(d *delivery) {
	s := d.sub
	payload, body, err := m.largePayload(&d.d.Envelope)
	switch {
	case s.browse:
		m.refuse(d, errors.New("stomp: a large message cannot be read by who browses"))
		return
	case err != nil && m.gathers(&d.d.Envelope):
		m.gather(d)
		return
	case err != nil:
		m.refuse(d, err)
		return
	}
	o := &outgoing{sub: s, tag: d.d.Tag, events: m.events, next: body.Offset, end: body.Offset + body.Length}
	m.buffer()
	if len(m.out) > 0 {
		o.granted = m.takeGrants(nil)
		m.traceEncoded()
		o.before, m.out = m.takeOut(), m.fe.takeBuffer()
	}
	m.appendHead(s, &d.d, payload, body.Length)
	m.delivered++
	if here := min(int64(len(d.d.Envelope.Payload)), o.end); o.next < here {
		m.out = append(m.out, d.d.Envelope.Payload[o.next:here]...)
		o.next = here
	}
	o.head, m.out = m.takeOut(), m.fe.takeBuffer()
	if m.tracing {
		head, _, _ := bytes.Cut(o.head.buf, []byte("\n\n"))
		m.trace(bytes.Clone(head), int(body.Length), true)
	}
	m.outgoing = o
	m.askPiece()
}

// largePayload returns what a large message has in front of its body in our encoding,
// and where the body stands in the envelope's own payload.
func (m *machine) largePayload(e *routing.Envelope) ([]byte, protocols.Run, error) {
	codec, ok := m.fe.env.Codecs[e.Encoding].(protocols.HeadCodec)
	if e.Encoding == routing.EncodingSTOMP {
		codec, ok = Codec{}, true
	}
	if !ok {
		return nil, protocols.Run{}, fmt.Errorf("stomp: no codec of large messages for the encoding %d", e.Encoding)
	}
	neutral, body, err := codec.DecodeHead(e.Payload, e.Size)
	if err == nil && (body.Offset < 0 || body.Length < 0 || body.Offset+body.Length > e.Size) {
		err = fmt.Errorf("a body of %d octets at %d in a payload of %d", body.Length, body.Offset, e.Size)
	}
	if err != nil {
		return nil, body, fmt.Errorf("stomp: decode the head of a message to convert it: %w", err)
	}
	if e.Encoding == routing.EncodingSTOMP {
		return e.Payload[:body.Offset], body, nil
	}
	return encodeHead(nil, neutral, m.fe.dialect.spell(e.Address), body.Length), body, nil
}

// askPiece asks for the next piece, when there is room for it.
func (m *machine) askPiece() {
	o := m.outgoing
	if o.asked || o.ready != nil || o.next == o.end {
		return
	}
	o.asked = true
	o.sub.sub.Read(o.tag, o.next, int(min(o.end-o.next, routing.MaxPart)), o, 0)
}

// piece takes a piece. One that did not come in time is asked for again. Without it the
// frame cannot be ended and the client cannot be told: the connection ends, and the
// message goes back.
func (m *machine) piece(o *outgoing, p routing.Piece) {
	if m.outgoing != o {
		return
	}
	o.asked = false
	if p.Err != nil {
		if o.tries++; protocols.ReadAgain(p.Err, o.tries) {
			m.debug().Err(p.Err).Str("addr", o.sub.name).Int("tries", o.tries).Msg("piece of a large message is asked for again")
			m.askPiece()
			return
		}
		m.warn().Err(p.Err).Str("addr", o.sub.name).Msg("connection cut in the middle of a large message")
		m.cause = p.Err
		m.breakOff()
		m.stopDeliveries()
		m.state = stateClosing
		m.closeSession()
		return
	}
	o.ready, o.tries = p.Bytes, 0
	o.next += int64(len(p.Bytes))
}

// nextOutput returns what the writer shall write now, and appends what that is worth.
func (m *machine) nextOutput(granted []grant) (out output, _ []grant, ok bool) {
	o := m.outgoing
	switch {
	case o == nil:
		granted = m.takeGrants(granted)
		m.traceEncoded()
		return m.takeOut(), granted, true
	case len(o.before.buf) > 0:
		out, granted = o.before, append(granted, o.granted...)
		o.before, o.granted = output{}, nil
		return out, granted, true
	case len(o.head.buf) > 0:
		out, o.head = o.head, output{}
	case o.ready != nil:
		out.apart, o.ready = []apart{{0, o.ready}}, nil
	default:
		return out, granted, false
	}
	m.askPiece()
	if o.last = o.next == o.end && o.ready == nil; o.last {
		out.buf = append(out.buf, frame.End...)
	}
	out.more = !o.last
	return out, granted, true
}

// takeGrants appends what is encoded and not counted as written yet.
func (m *machine) takeGrants(dst []grant) []grant {
	for _, s := range m.written {
		dst = append(dst, grant{s, s.encoded})
		s.encoded = 0
	}
	clear(m.written)
	m.written = m.written[:0]
	return dst
}

// wroteLarge goes on when a large message is written to its end.
func (m *machine) wroteLarge() {
	o := m.outgoing
	if o == nil || !o.last {
		return
	}
	m.outgoing = nil
	if s := o.sub; s.mode == ackAuto && m.session != nil {
		s.sub.Settle(o.tag, routing.Outcome{Kind: routing.Accepted}, nil, 0)
		m.regrant(s, 1)
	}
	m.progress()
}

// breakOff gives up a large message in its middle: nothing can be written any more.
func (m *machine) breakOff() {
	if m.outgoing == nil {
		return
	}
	m.outgoing = nil
	m.muted = true
	m.dropOut()
}

// mustWait reports whether a frame can be dealt with only when the large message that
// is being written has ended, whose reading it would end, or when the broker has
// answered the SENDs that it is about, or ended the subscription before it.
func (m *machine) mustWait(f *frame.Frame) bool {
	if f.Command == frame.Subscribe && slices.ContainsFunc(m.parting, func(s *subscription) bool { return s.alone }) {
		return true
	}
	return m.outgoing != nil && (f.Command == frame.Unsubscribe || f.Command == frame.Disconnect) || m.unsure(f)
}
