package stomp

import (
	"bytes"
	"fmt"
	"strconv"

	"github.com/selvedge-mq/selvedge/protocols/stomp/frame"
	"github.com/selvedge-mq/selvedge/routing"
)

// sendHeader is what a header of SEND means to the broker. Those from
// sendExpiration on are passed through to MESSAGE as well.
type sendHeader uint8

const (
	sendUser      sendHeader = iota // passed through, no meaning
	sendDrop                        // the server's own on MESSAGE, or of the frame alone
	sendMessageID                   // dropped, but for those who refuse it
	sendUnsupported
	sendTransaction
	sendDestination
	sendPersistent
	sendPriority
	sendExpires
	sendTimestamp
	sendExpiration
	sendGroup
	sendDedupe
	sendDelay
	sendAt
	sendType
	sendUserID
	sendReplyTo
	sendHeaders = iota
)

// sendHeaderOf knows the headers in the spellings of ActiveMQ, Artemis and
// RabbitMQ.
func sendHeaderOf(key []byte) sendHeader {
	switch string(key) {
	case "receipt", "content-length", "id", "ack", "subscription", "redelivered", "JMSXUserID":
		return sendDrop
	case "message-id":
		return sendMessageID
	case "transaction":
		return sendTransaction
	case "AMQ_SCHEDULED_PERIOD", "AMQ_SCHEDULED_REPEAT", "AMQ_SCHEDULED_CRON":
		return sendUnsupported
	case "destination":
		return sendDestination
	case "persistent":
		return sendPersistent
	case "priority":
		return sendPriority
	case "expires":
		return sendExpires
	case "timestamp":
		return sendTimestamp
	case "expiration":
		return sendExpiration
	case "JMSXGroupID", "_AMQ_GROUP_ID":
		return sendGroup
	case "_AMQ_DUPL_ID":
		return sendDedupe
	case "AMQ_SCHEDULED_DELAY":
		return sendDelay
	case "AMQ_SCHEDULED_TIME":
		return sendAt
	case "destination-type":
		return sendType
	case "reply-to":
		return sendReplyTo
	case "user-id":
		return sendUserID
	}
	return sendUser
}

// sendValues holds the first value of each header that the broker reads.
type sendValues [sendHeaders][]byte

// send hands a message over. It becomes visible, and its RECEIPT is written,
// when the broker has confirmed it; in a transaction at the commit.
// [STOMP 1.2 SEND]
func (m *machine) send(f *frame.Frame) error {
	var values sendValues
	if err := m.sendHeaders(f, &values); err != nil {
		return err
	}
	e := &m.envelope
	parts, err := m.fillEnvelope(e, &values)
	if err != nil {
		return err
	}
	if f.More || m.outgrows(f) {
		err := m.refuseLarge(e, &values, len(parts))
		if err == nil {
			m.upload(e, f, &values)
		}
		if err == nil || f.More {
			return err
		}
	}
	if err := m.copies(len(parts), f); err != nil {
		return err
	}
	t, err := m.within(values[sendTransaction])
	if err == nil && t != nil {
		err = m.act(t, max(1, len(parts)))
	}
	if err == nil && t != nil {
		err = m.promise(t, f)
	}
	if err != nil {
		return err
	}
	m.sends++
	m.received++
	token := m.beginSend(t, f, pending{request: requestSend, waits: max(1, len(parts))})
	if len(parts) == 0 {
		m.put(e, f, &values, t, token)
	}
	for i := range parts {
		e.Address, values[sendDestination] = parts[i].address, parts[i].canonical
		m.put(e, f, &values, t, token)
	}
	e.Payload = nil
	if cap(m.payload) > bufferSize {
		m.payload = nil
	}
	return nil
}

// copies refuses a message to so many destinations that its copies together are
// more than a connection may have under way.
func (m *machine) copies(n int, f *frame.Frame) error {
	if size, limit := n*(len(m.headers)+len(f.Body)), m.fe.limits.InFlightBytes; n > 1 && size > limit {
		return &wireError{
			code:    routing.CodeTooLarge,
			message: fmt.Sprintf("a message to %d destinations takes %d octets, at most %d may be under way (in-flight-bytes)", n, size, limit),
		}
	}
	return nil
}

// put hands an envelope to the session or to a transaction.
func (m *machine) put(e *routing.Envelope, f *frame.Frame, values *sendValues, t *transaction, token uint64) {
	m.fillPayload(e, f, values)
	m.payload = append(m.payload, f.Body...)
	e.Payload = m.payload
	m.sendBytes += len(m.payload)
	m.pending.at(token).size += len(m.payload)
	var room bool
	if t != nil {
		room = t.tx.Send(e, m.results, token)
	} else {
		room = m.session.Send(e, m.results, token)
	}
	if !room {
		m.full = true
	}
}

// sendHeaders sorts the headers: values gets those with a meaning, m.headers
// the lines that are passed through.
func (m *machine) sendHeaders(f *frame.Frame, values *sendValues) error {
	m.headers = m.headers[:0]
	b := m.fe.dialect
	for i := range f.Len() {
		key, value := f.Header(i)
		kind := sendHeaderOf(key)
		switch {
		case kind == sendUnsupported:
			return notSupported("the header %s is not supported yet", key)
		case kind == sendMessageID && b.refusesMessageID:
			return invalid("the header message-id is not allowed in SEND").titled(titleHeader, "'message-id' is not allowed on 'SEND'.\n")
		case kind == sendDrop, kind == sendMessageID, kind == sendUserID && string(value) != m.user:
			continue // a client may name no other user than itself
		case kind == sendUser && b.arguments:
			if err := refuseArgument(key, value); err != nil {
				return err
			}
		case kind != sendUser && values[kind] == nil:
			values[kind] = m.trim(value)
			if kind == sendReplyTo {
				var err error
				if value, err = m.replyTo(values[kind]); err != nil {
					return err
				}
			}
		}
		if kind == sendUser || kind >= sendExpiration {
			m.headers = frame.AppendHeader(m.headers, frame.V12, key, value)
		}
	}
	return nil
}

// trim drops the padding that 1.0 allows around values.
func (m *machine) trim(value []byte) []byte {
	if m.version == frame.V10 {
		return bytes.TrimSpace(value)
	}
	return value
}

// fillEnvelope sets everything but the payload. Parts are the destinations of a
// composite one, nil otherwise.
func (m *machine) fillEnvelope(e *routing.Envelope, values *sendValues) (parts []destination, err error) {
	if len(values[sendDestination]) == 0 {
		return nil, invalid("SEND received without a Destination specified!").titled(titleNowhere, "\"SEND\" must include a 'destination' header\n")
	}
	d, err := m.resolve(values[sendDestination])
	if err != nil {
		return nil, err
	}
	if t := values[sendType]; t != nil {
		if d, err = d.withType(string(t)); err != nil {
			return nil, err
		}
	}
	if err := m.onlyReplyTo(d, frame.Send); err != nil {
		return nil, err
	}
	if d.qualifier != "" {
		return nil, notSupported("a message to one queue of a topic is not supported: %s", d.name)
	}
	if d.canonical != nil {
		values[sendDestination] = d.canonical
	}
	*e = routing.Envelope{
		Address:    d.address,
		Encoding:   routing.EncodingSTOMP,
		Persistent: string(values[sendPersistent]) == "true" || (m.fe.durable && values[sendPersistent] == nil),
		Priority:   routing.DefaultPriority,
		Timestamp:  m.now,
		Group:      string(values[sendGroup]),
		DedupeID:   string(values[sendDedupe]),
	}
	if p := values[sendPriority]; p != nil {
		n, err := strconv.ParseUint(string(p), 10, 8)
		if err != nil {
			return nil, invalid("the header priority is not a number from 0 to 255")
		}
		e.Priority = uint8(n)
	}
	return d.parts, sendTimes(e, m.now, values)
}

// sendTimes sets expiry and delivery time: expires and AMQ_SCHEDULED_TIME are
// points in time, expiration and AMQ_SCHEDULED_DELAY count from now.
func sendTimes(e *routing.Envelope, now int64, values *sendValues) error {
	for _, t := range []struct {
		kind  sendHeader
		name  string
		after int64
		field *int64
	}{
		{sendExpiration, "expiration", now, &e.Expiry},
		{sendExpires, "expires", 0, &e.Expiry},
		{sendDelay, "AMQ_SCHEDULED_DELAY", now, &e.DeliverAt},
		{sendAt, "AMQ_SCHEDULED_TIME", 0, &e.DeliverAt},
	} {
		v := values[t.kind]
		if v == nil {
			continue
		}
		n, err := strconv.ParseUint(string(v), 10, 62)
		if err != nil {
			return invalid("the header %s is not a number of milliseconds", t.name)
		}
		if n > 0 {
			*t.field = t.after + int64(n)
		}
	}
	return nil
}

// fillPayload builds the payload up to its body: first, in a fixed order, the lines that
// MESSAGE takes from the envelope, then the destination, the content-length if
// the client gave one, and what is passed through.
func (m *machine) fillPayload(e *routing.Envelope, f *frame.Frame, values *sendValues) {
	dst := m.payload[:0]
	if values[sendPriority] != nil {
		dst = frame.AppendInt(dst, "priority", int64(e.Priority))
	}
	if e.Expiry != 0 {
		dst = frame.AppendInt(dst, "expires", e.Expiry)
	}
	if t := values[sendTimestamp]; t != nil {
		if n, err := strconv.ParseInt(string(t), 10, 64); err == nil {
			dst = frame.AppendInt(dst, "timestamp", n)
		}
	}
	if e.Persistent {
		dst = append(dst, "persistent:true\n"...)
	}
	dst = frame.AppendHeader(dst, frame.V12, "destination", values[sendDestination])
	if f.HasLength {
		dst = frame.AppendInt(dst, "content-length", int64(f.Length))
	}
	dst = append(dst, m.headers...)
	dst = append(dst, '\n')
	m.payload = dst
}
