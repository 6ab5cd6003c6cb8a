package message

import "github.com/selvedge-mq/selvedge/protocols/amqp/wire"

// DecodeApplicationProperties decodes the application properties; nil when
// there are none. Their keys are strings. [messaging 3.2.5]
func (m *Message) DecodeApplicationProperties() (wire.Map, error) {
	p, err := decodeMap(m.ApplicationProperties)
	if err != nil {
		return nil, err
	}
	for _, e := range p {
		if _, ok := e.Key.(string); !ok {
			return nil, &wire.Error{Field: "application-properties", Reason: "a key is no string"}
		}
	}
	return p, nil
}

// DecodeMessageAnnotations decodes the message annotations; nil when there are
// none. [messaging 3.2.3]
func (m *Message) DecodeMessageAnnotations() (wire.Map, error) {
	return decodeMap(m.MessageAnnotations)
}

func decodeMap(section []byte) (wire.Map, error) {
	if section == nil {
		return nil, nil
	}
	r := wire.NewReader(section, wire.Limits{})
	r.Descriptor(names)
	v := r.Map()
	return v, r.Err()
}

// AppendMap appends a section that is a map: annotations, application
// properties or a footer.
func AppendMap(dst []byte, code uint64, m wire.Map) []byte {
	return wire.AppendMap(wire.AppendDescriptor(dst, code), m)
}
