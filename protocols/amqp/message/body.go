package message

import "github.com/selvedge-mq/selvedge/protocols/amqp/wire"

// Data returns the bytes of a body of data sections. Those of a single section
// alias the message, those of several are put together. [messaging 3.2.6]
func (m *Message) Data() []byte {
	if m.Kind != BodyData {
		return nil
	}
	r := wire.NewReader(m.Body, wire.Limits{})
	var all []byte
	for r.Len() > 0 {
		r.Descriptor(names)
		b := r.Binary()
		if m.BodySections == 1 {
			return b
		}
		all = append(all, b...)
	}
	return all
}

// Value returns the encoded value of a body that is an amqp-value; nil of any
// other. It aliases the message. [messaging 3.2.8]
func (m *Message) Value() []byte {
	if m.Kind != BodyValue {
		return nil
	}
	r := wire.NewReader(m.Body, wire.Limits{})
	r.Descriptor(names)
	return r.Raw()
}

// AppendData appends a data section. [messaging 3.2.6]
func AppendData(dst, data []byte) []byte {
	return wire.AppendBinary(wire.AppendDescriptor(dst, CodeData), data)
}

// AppendText appends an amqp-value section that is a string. [messaging 3.2.8]
func AppendText[T string | []byte](dst []byte, text T) []byte {
	return wire.AppendString(wire.AppendDescriptor(dst, CodeValue), text)
}

// AppendValue appends an amqp-value section. [messaging 3.2.8]
func AppendValue(dst []byte, v any) []byte {
	return wire.AppendValue(wire.AppendDescriptor(dst, CodeValue), v)
}
