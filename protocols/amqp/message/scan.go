// Package message knows the sections of an AMQP 1.0 message: it finds them
// without decoding, decodes those that are asked for, and puts a delivery
// together. The bare message is never changed. It knows no frames and no links.
package message

import (
	"github.com/selvedge-mq/selvedge/protocols/amqp/wire"
)

// The descriptors of the sections. [messaging 3.2]
const (
	CodeHeader                uint64 = 0x70
	CodeDeliveryAnnotations   uint64 = 0x71
	CodeMessageAnnotations    uint64 = 0x72
	CodeProperties            uint64 = 0x73
	CodeApplicationProperties uint64 = 0x74
	CodeData                  uint64 = 0x75
	CodeSequence              uint64 = 0x76
	CodeValue                 uint64 = 0x77
	CodeFooter                uint64 = 0x78
)

var names = map[string]uint64{
	"amqp:header:list":                CodeHeader,
	"amqp:delivery-annotations:map":   CodeDeliveryAnnotations,
	"amqp:message-annotations:map":    CodeMessageAnnotations,
	"amqp:properties:list":            CodeProperties,
	"amqp:application-properties:map": CodeApplicationProperties,
	"amqp:data:binary":                CodeData,
	"amqp:amqp-sequence:list":         CodeSequence,
	"amqp:amqp-value:*":               CodeValue,
	"amqp:footer:map":                 CodeFooter,
}

// BodyKind is what the body of a message is made of.
type BodyKind uint8

// The kinds of bodies.
const (
	BodyNone     BodyKind = iota // no body section; illegal by the letter, but sent
	BodyData                     // one or more data sections
	BodySequence                 // one or more amqp-sequence sections
	BodyValue                    // one amqp-value section
)

// Message is the sections of one message. Each is whole, with its descriptor,
// nil when absent, and aliases the bytes that were scanned.
type Message struct {
	Header                []byte
	DeliveryAnnotations   []byte
	MessageAnnotations    []byte
	Properties            []byte
	ApplicationProperties []byte
	Body                  []byte // all its sections
	Footer                []byte
	Bare                  []byte // from the properties to the end: what is never changed
	Kind                  BodyKind
	BodySections          int
}

// Scan finds the sections of a message, in one pass and without decoding, and
// checks their order. A failure is a *[wire.Error]. It does not allocate unless
// it fails. [messaging 3.2]
func Scan(b []byte) (Message, error) {
	var m Message
	r := wire.NewReader(b, wire.Limits{})
	bare, sectionStart := -1, 0
	var last uint64
	for r.Len() > 0 {
		start := r.Offset()
		code := r.Descriptor(names)
		m.check(&r, code, last)
		r.Skip()
		if err := r.Err(); err != nil {
			return Message{}, err
		}
		if bare < 0 && code >= CodeProperties {
			bare = start
		}
		if code != last {
			sectionStart = start
		}
		m.put(code, b[sectionStart:r.Offset():r.Offset()])
		last = code
	}
	if bare >= 0 {
		m.Bare = b[bare:]
	}
	return m, nil
}

// sectionTypes gives the type of each section's value; TypeInvalid means any.
var sectionTypes = [...]wire.Type{
	wire.TypeList, wire.TypeMap, wire.TypeMap, wire.TypeList, wire.TypeMap,
	wire.TypeBinary, wire.TypeList, wire.TypeInvalid, wire.TypeMap,
}

// check fails the reader unless a section may come after the last one and has a
// value of the right type.
func (m *Message) check(r *wire.Reader, code, last uint64) {
	if r.Err() != nil {
		return
	}
	if code < CodeHeader || code > CodeFooter {
		r.Fail("not a section of a message")
		return
	}
	if want := sectionTypes[code-CodeHeader]; want != wire.TypeInvalid && r.Peek() != want {
		r.Fail("a section has a value of the wrong type")
	}
	repeated := code == last && (code == CodeData || code == CodeSequence)
	isBody := code >= CodeData && code <= CodeValue
	switch {
	case code < last, code == last && !repeated:
		r.Fail("a section is out of order or repeated")
	case isBody && m.Kind != BodyNone && !repeated:
		r.Fail("the body has sections of several kinds")
	}
}

// put notes a section: of a body, all of them up to here, because they stand
// next to each other.
func (m *Message) put(code uint64, section []byte) {
	switch code {
	case CodeHeader:
		m.Header = section
	case CodeDeliveryAnnotations:
		m.DeliveryAnnotations = section
	case CodeMessageAnnotations:
		m.MessageAnnotations = section
	case CodeProperties:
		m.Properties = section
	case CodeApplicationProperties:
		m.ApplicationProperties = section
	case CodeFooter:
		m.Footer = section
	default:
		m.Body = section
		m.Kind = BodyKind(code - CodeData + 1) //nolint:gosec // 1 to 3
		m.BodySections++
	}
}
