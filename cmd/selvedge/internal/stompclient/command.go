package stompclient

import "strconv"

// Unconfirmed as the receipt number of a frame asks for no receipt.
const Unconfirmed = ^uint64(0)

// Template is a SEND frame up to what differs from message to message. It is
// made once for a destination.
type Template struct{ head []byte }

// NewTemplate returns the template of messages to destination, in the spelling
// of STOMP ("/queue/orders"). [STOMP 1.2 SEND]
func NewTemplate(destination string, persistent bool) *Template {
	head := appendEscaped([]byte("SEND\ndestination:"), destination)
	head = append(head, "\npersistent:"...)
	head = strconv.AppendBool(head, persistent)
	return &Template{head: append(head, "\ncontent-length:"...)}
}

// Encode appends the frame with that body and receipt number to b.
func (t *Template) Encode(b, body []byte, receipt uint64) []byte {
	b = append(b, t.head...)
	b = strconv.AppendInt(b, int64(len(body)), 10)
	if receipt != Unconfirmed {
		b = append(b, "\nreceipt:"...)
		b = strconv.AppendUint(b, receipt, 10)
	}
	b = append(b, "\n\n"...)
	b = append(b, body...)
	return append(b, 0)
}

// Send hands a message to the writer; Handler.Receipt tells when the broker
// has confirmed it. It waits only while too many bytes are unwritten.
func (c *Conn) Send(t *Template, body []byte, receipt uint64) error {
	return c.out.Append(func(b []byte) []byte { return t.Encode(b, body, receipt) })
}

// Subscribe asks for the messages of a destination. Ack is a mode of STOMP:
// auto, client or client-individual; credit is how many messages the broker
// may have sent without an acknowledgement. [STOMP 1.2 SUBSCRIBE]
func (c *Conn) Subscribe(id, destination, ack string, credit int, receipt uint64) error {
	return c.out.Append(func(b []byte) []byte {
		b = appendEscaped(append(b, "SUBSCRIBE\nid:"...), id)
		b = appendEscaped(append(b, "\ndestination:"...), destination)
		b = append(b, "\nack:"+ack+"\nprefetch-count:"...)
		b = strconv.AppendInt(b, int64(credit), 10)
		b = append(b, "\nactivemq.prefetchSize:"...)
		b = strconv.AppendInt(b, int64(credit), 10)
		if receipt != Unconfirmed {
			b = append(b, "\nreceipt:"...)
			b = strconv.AppendUint(b, receipt, 10)
		}
		return append(b, "\n\n\x00"...)
	})
}

// Ack acknowledges the message with that AckID, which is given back to the
// broker as it came. [STOMP 1.2 ACK]
func (c *Conn) Ack(ackID []byte) error {
	return c.out.Append(func(b []byte) []byte {
		b = append(b, "ACK\nid:"...)
		b = append(b, ackID...)
		return append(b, "\n\n\x00"...)
	})
}
