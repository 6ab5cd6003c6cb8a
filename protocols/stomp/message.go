package stomp

import (
	"bytes"
	"fmt"

	"github.com/selvedge-mq/selvedge/protocols/stomp/frame"
	"github.com/selvedge-mq/selvedge/routing"
)

// deliver takes deliveries of the broker.
func (m *machine) deliver(ds []delivery) {
	if m.state != stateOpen || m.muted {
		return // the end of the session gives them back
	}
	for i := range ds {
		m.accept(ds[i])
	}
}

// buffer takes a buffer for what is to be written, if there is none.
func (m *machine) buffer() {
	if m.out == nil {
		m.out = m.fe.takeBuffer()
	}
}

// pump encodes deliveries while little output waits for the writer. The rest
// stays in the backlog, where it costs no copy of a body. One that is not whole yet
// stays at its front.
func (m *machine) pump() {
	for m.backlog.len() > 0 && m.encoded() < outHigh && m.outgoing == nil {
		d := m.backlog.front()
		if d.gathering == nil {
			m.hand(d)
		}
		if d.gathering != nil {
			return
		}
		m.held -= m.backlog.pop().size
	}
}

// hand encodes one delivery as MESSAGE, or begins to gather it.
func (m *machine) hand(d *delivery) {
	s := d.sub
	if s.closing {
		return // its subscription's end gives the message back
	}
	if d.d.Envelope.Large() {
		m.handLarge(d)
		return
	}
	payload, err := m.stompPayload(&d.d.Envelope)
	if err != nil {
		m.refuse(d, err)
		return
	}
	m.appendMessage(s, &d.d, payload)
	m.delivered++
	if s.mode != ackAuto || s.browse {
		return
	}
	if s.settles {
		s.unacked.push(unacked{tag: d.d.Tag})
	}
	if s.encoded == 0 {
		m.written = append(m.written, s)
	}
	s.encoded++
}

// refuse rejects a message that cannot be turned into STOMP.
func (m *machine) refuse(d *delivery, err error) {
	m.fe.metrics.unreadable.Inc()
	m.debug().Err(err).Str("addr", d.d.Envelope.Address.String()).Msg("message rejected: it cannot be converted")
	if d.sub.mode != ackAuto || d.sub.settles {
		d.sub.sub.Settle(d.d.Tag, routing.Outcome{Kind: routing.Rejected}, nil, 0)
	}
	m.regrant(d.sub, 1)
}

// stompPayload returns an envelope's payload in our encoding.
func (m *machine) stompPayload(e *routing.Envelope) ([]byte, error) {
	if e.Encoding == routing.EncodingSTOMP {
		return e.Payload, nil
	}
	codec := m.fe.env.Codecs[e.Encoding]
	if codec == nil {
		return nil, fmt.Errorf("stomp: no codec for the encoding %d", e.Encoding)
	}
	neutral, err := codec.Decode(e.Payload)
	if err != nil {
		return nil, fmt.Errorf("stomp: decode a message to convert it: %w", err)
	}
	return encodePayload(neutral, m.fe.dialect.spell(e.Address)), nil
}

// appendMessage appends a MESSAGE. [STOMP 1.2 MESSAGE]
func (m *machine) appendMessage(s *subscription, d *routing.Delivery, payload []byte) {
	m.appendHead(s, d, payload, 0)
	m.out = append(m.out, frame.End...)
}

// appendHead appends a MESSAGE but for its end, and for so many octets of its body that
// are not in the payload. message-id comes first: some clients search for it by its text.
func (m *machine) appendHead(s *subscription, d *routing.Delivery, payload []byte, more int64) {
	e := &d.Envelope
	key := ackKey{key: d.Tag.Key, shard: d.Tag.Shard}
	if s.mode != ackAuto {
		key = m.await(s, d.Tag)
	}
	dst := m.out
	dst = append(dst, "MESSAGE\nmessage-id:"...)
	dst = key.appendAckID(dst)
	dst = append(dst, '\n')
	dst = append(dst, s.header...)
	if s.mode != ackAuto && m.version == frame.V12 {
		dst = append(dst, "ack:"...)
		dst = key.appendAckID(dst)
		dst = append(dst, '\n')
	}
	b := m.fe.dialect
	if d.Redelivered || d.Failed > 0 {
		dst = append(dst, "redelivered:true\n"...)
	} else if b.flags {
		dst = append(dst, "redelivered:false\n"...)
	}
	if d.Failed > 0 {
		dst = frame.AppendInt(dst, "delivery-count", int64(d.Failed))
	}
	dst = frame.AppendInt(dst, "expires", e.Expiry)
	dst = frame.AppendInt(dst, "priority", int64(e.Priority))
	if e.Persistent {
		dst = append(dst, "persistent:true\n"...)
	} else if b.flags {
		dst = append(dst, "persistent:false\n"...)
	}
	own, rest := cutOwn(payload)
	if own.timestamp != nil {
		dst = frame.AppendRaw(dst, "timestamp", own.timestamp)
	} else {
		dst = frame.AppendInt(dst, "timestamp", e.Timestamp)
	}
	switch {
	case s.temporary:
		dst = frame.AppendHeader(dst, m.version, "destination", s.name)
		_, rest = cutDestination(rest)
	case m.moved(s, e, rest):
		dst = frame.AppendHeader(dst, m.version, "destination", b.spell(e.Address))
		dst = append(dst, "original-"...) // and the destination line follows
	}
	if b.length {
		dst = appendLength(dst, rest, more)
	}
	if m.version != frame.V10 {
		m.out = m.appendPayload(dst, rest)
		return
	}
	lines, body := cutBody(rest)
	dst = append(frame.AppendBlock(dst, m.version, lines), '\n')
	m.out = m.appendPayload(dst, body)
}

// moved reports whether a message is at another address than its producer sent
// it to, as a dead letter is. The subscription remembers the spelling that it
// saw last, so that it is rarely read.
func (m *machine) moved(s *subscription, e *routing.Envelope, rest []byte) bool {
	line, _ := cutDestination(rest)
	if line == nil || bytes.Equal(line, s.spelled) {
		return false
	}
	name, err := frame.Unescape(line[len("destination:"):])
	if err != nil {
		return false
	}
	d, err := m.fe.dialect.parse(string(name))
	if err == nil && d.address.Name != e.Address.Name { // a destination-type may have changed the kind
		return true
	}
	s.spelled = append(s.spelled[:0], line...)
	return false
}

// cutDestination cuts off the destination line, which comes first; the line is
// nil when there is none.
func cutDestination(lines []byte) (line, rest []byte) {
	line, rest, ok := bytes.Cut(lines, []byte{'\n'})
	if !ok || !bytes.HasPrefix(line, []byte("destination:")) {
		return nil, lines
	}
	return line, rest
}

// appendLength appends the length of a body whose sender gave none; so many octets
// of it are not in the payload.
func appendLength(dst, payload []byte, more int64) []byte {
	_, rest := cutDestination(payload)
	if bytes.HasPrefix(rest, []byte("content-length:")) {
		return dst
	}
	_, body := cutBody(payload)
	return frame.AppendInt(dst, "content-length", int64(len(body))+more)
}

// ownHeaders are the lines at the front of a payload that MESSAGE takes from
// the envelope; see fillPayload.
type ownHeaders struct {
	priority, expires, timestamp, persistent []byte
}

// cutOwn cuts those lines off.
func cutOwn(payload []byte) (own ownHeaders, rest []byte) {
	rest = payload
	for _, h := range []struct {
		prefix string
		value  *[]byte
	}{
		{"priority:", &own.priority},
		{"expires:", &own.expires},
		{"timestamp:", &own.timestamp},
		{"persistent:", &own.persistent},
	} {
		if after, ok := bytes.CutPrefix(rest, []byte(h.prefix)); ok {
			if line, next, ok := bytes.Cut(after, []byte{'\n'}); ok {
				*h.value, rest = line, next
			}
		}
	}
	return own, rest
}

// cutBody cuts a payload into its header lines and its body.
func cutBody(payload []byte) (lines, body []byte) {
	if at := bodyAt(payload); at >= 0 {
		return payload[:at-1], payload[at:]
	}
	return payload, nil
}
