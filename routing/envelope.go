package routing

// Encoding names the wire format of an envelope's payload. A front-end that
// receives an envelope in its own encoding writes the payload unchanged; any
// other goes through [Codec].
type Encoding uint8

// The encodings. The numbers are part of the envelope's bytes.
const (
	EncodingSTOMP Encoding = 1 // header lines as in a 1.2 frame, an empty line, then the body
	EncodingAMQP  Encoding = 2 // the sections of an AMQP 1.0 message, as they arrived
)

// DefaultPriority is the priority of a message that names none (JMS, AMQP).
const DefaultPriority = 4

// Envelope is a message between front-ends: the fixed part that routing reads,
// and the message itself in the encoding it arrived in. Times are Unix
// milliseconds; zero means none.
type Envelope struct {
	Address    Address
	Encoding   Encoding
	Persistent bool
	Priority   uint8
	Timestamp  int64  // when the front-end took the message in
	Expiry     int64  // when it is no longer worth delivering
	DeliverAt  int64  // not before this time
	Group      string // messages of a group go to one consumer
	DedupeID   string // a second message with the same id is dropped
	Payload    []byte
	// Size is the bytes of the whole payload of a large message, of which Payload is the
	// head. 0: Payload is all of it. It is no part of the envelope's bytes.
	Size int64
}

// Large reports whether the payload is longer than Payload.
func (e *Envelope) Large() bool { return e.Size > int64(len(e.Payload)) }

// Codec turns the payload of one encoding into the neutral view and back. A
// protocol registers one for its encoding, so conversions are never pairwise.
// Implementations are pure and safe for concurrent use.
type Codec interface {
	// Decode returns the neutral view of a payload; it may alias its bytes.
	Decode(payload []byte) (*Message, error)
	// Encode returns the payload for a neutral message.
	Encode(m *Message) ([]byte, error)
}

// Codecs holds the codec of each encoding. It is filled before the first
// connection and only read afterwards.
type Codecs map[Encoding]Codec

// BodyKind says what a neutral message's body is.
type BodyKind uint8

// The kinds of bodies.
const (
	BodyBytes BodyKind = iota // Message.Body, opaque
	BodyText                  // Message.Body, UTF-8 text
	BodyValue                 // Message.Body, one AMQP-encoded value or sequence that has no plainer form
)

// Message is the neutral view of a message: what survives a change of protocol.
// Empty strings and zero numbers mean that a field is absent.
type Message struct {
	MessageID       string
	CorrelationID   string
	ReplyTo         Address // zero when absent
	To              string  // the address as the producer spelled it
	Subject         string  // JMSType, the STOMP header "type"
	ContentType     string
	ContentEncoding string
	UserID          string
	Group           string
	GroupSequence   uint32
	CreationTime    int64 // Unix milliseconds
	Expiry          int64 // Unix milliseconds
	Priority        uint8
	Persistent      bool
	Properties      []Property // the application's, in their order
	BodyKind        BodyKind
	Body            []byte
}

// Property is one application property. Value is nil, bool, int64, uint64,
// float64, string or []byte.
type Property struct {
	Key   string
	Value any
}
