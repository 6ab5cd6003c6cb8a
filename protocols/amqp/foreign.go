package amqp

import (
	"fmt"

	"github.com/selvedge-mq/selvedge/routing"
)

// convert returns an envelope of another protocol as an AMQP message, by way of
// the neutral view.
func convert(codecs routing.Codecs, e *routing.Envelope) ([]byte, error) {
	from, to := codecs[e.Encoding], codecs[routing.EncodingAMQP]
	if from == nil || to == nil {
		return nil, fmt.Errorf("amqp: no codec from encoding %d to AMQP", e.Encoding)
	}
	m, err := from.Decode(e.Payload)
	if err != nil {
		return nil, fmt.Errorf("amqp: decode encoding %d: %w", e.Encoding, err)
	}
	b, err := to.Encode(m)
	if err != nil {
		return nil, fmt.Errorf("amqp: encode the neutral view: %w", err)
	}
	return b, nil
}
