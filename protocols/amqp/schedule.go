package amqp

import (
	"bytes"
	"math"

	"github.com/selvedge-mq/selvedge/protocols/amqp/frames"
	"github.com/selvedge-mq/selvedge/protocols/amqp/message"
	"github.com/selvedge-mq/selvedge/protocols/amqp/wire"
	"github.com/selvedge-mq/selvedge/routing"
)

// What a message asks of the broker beside its standard fields, in the words of
// the JMS mapping and of Artemis.
const (
	deliveryPrefix             = "x-opt-delivery-"
	deliveryTime   wire.Symbol = deliveryPrefix + "time"  // Unix milliseconds
	deliveryDelay  wire.Symbol = deliveryPrefix + "delay" // milliseconds
	duplicateID                = "_AMQ_DUPL_ID"           // an application property
)

// readRequests puts what a message asks for into the envelope: a broker that does
// not have it refuses the message, and nothing is ignored. Most messages ask for
// nothing, which is seen without decoding.
func (l *receiving) readRequests(e *routing.Envelope, m *message.Message) *frames.Error {
	if bytes.Contains(m.MessageAnnotations, []byte(deliveryPrefix)) {
		annotations, err := m.DecodeMessageAnnotations()
		if err != nil {
			return frames.Errorf(frames.DecodeFailed, "the message annotations are malformed: %v", err)
		}
		if v, ok := annotations.Get(deliveryTime); ok {
			e.DeliverAt = milli(v)
		} else if v, ok := annotations.Get(deliveryDelay); ok && milli(v) > 0 {
			e.DeliverAt = e.Timestamp + milli(v)
		}
	}
	if l.s.c.f.o.Dialect == Artemis && bytes.Contains(m.ApplicationProperties, []byte(duplicateID)) {
		properties, err := m.DecodeApplicationProperties()
		if err != nil {
			return frames.Errorf(frames.DecodeFailed, "the application properties are malformed: %v", err)
		}
		v, _ := properties.Get(duplicateID)
		e.DedupeID, _ = v.(string)
	}
	return nil
}

// farthest is the greatest number of milliseconds that a message may name: a time
// can be added without a wrap.
const farthest = math.MaxInt64 / 2

// milli returns a number of milliseconds, 0 of what is none.
func milli(v any) int64 {
	switch v := v.(type) {
	case int64:
		return min(max(v, 0), farthest)
	case wire.Timestamp:
		return min(max(int64(v), 0), farthest)
	case uint64:
		return int64(min(v, farthest))
	case int32:
		return int64(max(v, 0))
	case uint32:
		return int64(v)
	}
	return 0
}
