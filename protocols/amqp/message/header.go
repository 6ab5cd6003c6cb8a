package message

import "github.com/selvedge-mq/selvedge/protocols/amqp/wire"

// DefaultPriority is the priority of a message that names none. [messaging 3.2.1]
const DefaultPriority = 4

// Header is the section that nodes on the way may change. [messaging 3.2.1]
//
//	field           type          default  mandatory
//	durable         boolean       false
//	priority        ubyte         4
//	ttl             milliseconds
//	first-acquirer  boolean       false
//	delivery-count  uint          0
type Header struct {
	Durable       bool
	Priority      wire.Optional[uint8]
	TTL           wire.Optional[uint32] // milliseconds
	FirstAcquirer bool
	DeliveryCount uint32
}

// Append appends the section.
func (h *Header) Append(dst []byte) []byte {
	w := wire.BeginList(dst, CodeHeader)
	w.Flag(h.Durable)
	w.OptUbyte(h.Priority)
	w.OptUint(h.TTL)
	w.Flag(h.FirstAcquirer)
	w.OptUint(wire.Optional[uint32]{Value: h.DeliveryCount, Set: h.DeliveryCount != 0})
	return w.End()
}

// DecodeHeader decodes the header. A message without one has the defaults.
func (m *Message) DecodeHeader() (Header, error) {
	if m.Header == nil {
		return Header{}, nil
	}
	r := wire.NewReader(m.Header, wire.Limits{})
	r.Descriptor(names)
	f := r.Fields()
	h := Header{
		Durable:       f.Bool("durable"),
		Priority:      f.OptUbyte("priority"),
		TTL:           f.OptUint("ttl"),
		FirstAcquirer: f.Bool("first-acquirer"),
		DeliveryCount: f.OptUint("delivery-count").Value,
	}
	f.End()
	return h, r.Err()
}
