package message

import "github.com/selvedge-mq/selvedge/protocols/amqp/wire"

// Properties are the standard properties of the bare message. [messaging 3.2.4]
//
//	field                 type         default  mandatory
//	message-id            *
//	user-id               binary
//	to                    * (string)
//	subject               string
//	reply-to              * (string)
//	correlation-id        *
//	content-type          symbol
//	content-encoding      symbol
//	absolute-expiry-time  timestamp
//	creation-time         timestamp
//	group-id              string
//	group-sequence        sequence-no
//	reply-to-group-id     string
type Properties struct {
	MessageID          any    // nil, uint64, wire.UUID, []byte or string
	UserID             []byte // nil when absent; aliases the message
	To                 wire.Optional[string]
	Subject            wire.Optional[string]
	ReplyTo            wire.Optional[string]
	CorrelationID      any         // nil, uint64, wire.UUID, []byte or string
	ContentType        wire.Symbol // empty when absent
	ContentEncoding    wire.Symbol // empty when absent
	AbsoluteExpiryTime wire.Optional[wire.Timestamp]
	CreationTime       wire.Optional[wire.Timestamp]
	GroupID            wire.Optional[string]
	GroupSequence      wire.Optional[uint32]
	ReplyToGroupID     wire.Optional[string]
}

// Append appends the section.
func (p *Properties) Append(dst []byte) []byte {
	w := wire.BeginList(dst, CodeProperties)
	w.Value(p.MessageID)
	w.OptBinary(p.UserID)
	w.OptString(p.To)
	w.OptString(p.Subject)
	w.OptString(p.ReplyTo)
	w.Value(p.CorrelationID)
	w.OptSymbol(p.ContentType)
	w.OptSymbol(p.ContentEncoding)
	w.OptTimestamp(p.AbsoluteExpiryTime)
	w.OptTimestamp(p.CreationTime)
	w.OptString(p.GroupID)
	w.OptUint(p.GroupSequence)
	w.OptString(p.ReplyToGroupID)
	return w.End()
}

// DecodeProperties decodes the properties; a message without them has none set.
func (m *Message) DecodeProperties() (Properties, error) {
	if m.Properties == nil {
		return Properties{}, nil
	}
	r := wire.NewReader(m.Properties, wire.Limits{})
	r.Descriptor(names)
	f := r.Fields()
	p := Properties{
		MessageID:          readID(&f, "message-id"),
		UserID:             f.Binary("user-id"),
		To:                 f.OptString("to"),
		Subject:            f.OptString("subject"),
		ReplyTo:            f.OptString("reply-to"),
		CorrelationID:      readID(&f, "correlation-id"),
		ContentType:        f.Symbol("content-type"),
		ContentEncoding:    f.Symbol("content-encoding"),
		AbsoluteExpiryTime: f.OptTimestamp("absolute-expiry-time"),
		CreationTime:       f.OptTimestamp("creation-time"),
		GroupID:            f.OptString("group-id"),
		GroupSequence:      f.OptUint("group-sequence"),
		ReplyToGroupID:     f.OptString("reply-to-group-id"),
	}
	f.End()
	return p, r.Err()
}

// readID reads a message id: a ulong, uuid, binary or string. [messaging 3.2.11-14]
func readID(f *wire.Fields, name string) any {
	v := f.Value(name)
	switch v.(type) {
	case nil, uint64, wire.UUID, []byte, string:
		return v
	}
	f.Fail("not a message id")
	return nil
}
