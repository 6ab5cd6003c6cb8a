package amqp

import (
	"errors"
	"fmt"
	"math"

	"github.com/selvedge-mq/selvedge/protocols"
	"github.com/selvedge-mq/selvedge/protocols/amqp/message"
	"github.com/selvedge-mq/selvedge/protocols/amqp/wire"
	"github.com/selvedge-mq/selvedge/routing"
)

var _ protocols.HeadCodec = Codec{}

// DecodeHead returns the neutral view of a large message, and where its body is. The
// body must be one data section or one amqp-value of a binary or a string, and
// nothing may be behind it: everything else has no plain form that is a run of bytes.
func (Codec) DecodeHead(head []byte, size int64) (*routing.Message, protocols.Run, error) {
	h, ok := message.ScanHead(head)
	if !ok {
		return nil, protocols.Run{}, errors.New("amqp: the head of a large message does not reach to its body")
	}
	form := ""
	plain := h.Kind == message.BodyData
	if h.Kind == message.BodyValue {
		switch h.Type { //nolint:exhaustive // the others are not plain
		case wire.TypeBinary:
			plain, form = true, formValueBinary
		case wire.TypeString:
			plain = true
		}
	}
	switch {
	case !plain:
		return nil, protocols.Run{}, errors.New("amqp: the body of a large message is neither data nor a binary or string")
	case h.End() != size:
		return nil, protocols.Run{}, fmt.Errorf("amqp: a large message has %d bytes, its first body section ends at %d", size, h.End())
	}
	m, err := decode(&h.Message, func(m *routing.Message) string {
		if h.Type == wire.TypeString {
			m.BodyKind = routing.BodyText
		}
		return form
	})
	return m, protocols.Run{Offset: int64(h.Offset), Length: h.Length}, err
}

// EncodeHead returns the sections of a message up to the bytes of its body: that is
// one data section, or the binary that it was. A footer that it had is left out.
func (Codec) EncodeHead(m *routing.Message, body int64) ([]byte, error) {
	if body < 0 || body > math.MaxUint32 {
		return nil, fmt.Errorf("amqp: a body of %d bytes does not fit into one section", body)
	}
	e := encoder{m: m, kind: routing.BodyBytes} // that text is valid cannot be seen ahead
	e.fields()
	e.properties()
	e.annotations = append(e.annotations, e.kindAnnotation()...)
	dst := e.appendSections(make([]byte, 0, 256))
	if e.form == formValueBinary {
		return message.AppendBinaryValueHead(dst, uint32(body)), nil
	}
	return message.AppendDataHead(dst, uint32(body)), nil
}
