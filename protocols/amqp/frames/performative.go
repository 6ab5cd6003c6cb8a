package frames

import (
	"errors"
	"fmt"

	"github.com/selvedge-mq/selvedge/protocols/amqp/wire"
)

// Performative is the body of a frame: *[Open], *[Begin], *[Attach], *[Flow],
// *[Transfer], *[Disposition], *[Detach], *[End], *[Close], and in SASL frames
// *[SASLMechanisms], *[SASLInit], *[SASLChallenge], *[SASLResponse],
// *[SASLOutcome].
type Performative interface {
	// Code is the descriptor.
	Code() uint64
	// Append appends the performative.
	Append(dst []byte) []byte

	decode(f *wire.Fields)
}

// performatives gives the name, the frame type and a new value for each
// descriptor.
var performatives = [...]struct {
	name  string
	typ   uint8
	fresh func() Performative
}{
	CodeOpen:           {"open", TypeAMQP, func() Performative { return new(Open) }},
	CodeBegin:          {"begin", TypeAMQP, func() Performative { return new(Begin) }},
	CodeAttach:         {"attach", TypeAMQP, func() Performative { return new(Attach) }},
	CodeFlow:           {"flow", TypeAMQP, func() Performative { return new(Flow) }},
	CodeTransfer:       {"transfer", TypeAMQP, func() Performative { return new(Transfer) }},
	CodeDisposition:    {"disposition", TypeAMQP, func() Performative { return new(Disposition) }},
	CodeDetach:         {"detach", TypeAMQP, func() Performative { return new(Detach) }},
	CodeEnd:            {"end", TypeAMQP, func() Performative { return new(End) }},
	CodeClose:          {"close", TypeAMQP, func() Performative { return new(Close) }},
	CodeSASLMechanisms: {"sasl-mechanisms", TypeSASL, func() Performative { return new(SASLMechanisms) }},
	CodeSASLInit:       {"sasl-init", TypeSASL, func() Performative { return new(SASLInit) }},
	CodeSASLChallenge:  {"sasl-challenge", TypeSASL, func() Performative { return new(SASLChallenge) }},
	CodeSASLResponse:   {"sasl-response", TypeSASL, func() Performative { return new(SASLResponse) }},
	CodeSASLOutcome:    {"sasl-outcome", TypeSASL, func() Performative { return new(SASLOutcome) }},
}

// Name returns the name of a performative as the specification writes it.
func Name(p Performative) string { return performatives[p.Code()].name }

var (
	errUnknown  = errors.New("unknown performative")
	errTrailing = errors.New("bytes after the performative")
)

// Decoder decodes the bodies of frames, one at a time. The zero value is ready
// for use. Transfers, flows and dispositions are decoded into memory of the
// decoder, without allocating.
type Decoder struct {
	r           wire.Reader
	f           wire.Fields
	transfer    Transfer
	flow        Flow
	disposition Disposition
}

// Decode decodes the body of a frame of the type. The second result is what
// follows the performative: the payload of a transfer, nothing in any other.
// A failure is a *[DecodeError].
//
// Transfers, flows and dispositions are valid until the next call. Delivery
// tags, transaction ids, SASL responses and the payload alias body; everything
// else is copied.
func (d *Decoder) Decode(typ uint8, body []byte) (Performative, []byte, error) {
	d.r.Reset(body, wire.Limits{})
	code := d.r.Descriptor(names)
	if err := d.r.Err(); err != nil {
		return nil, nil, &DecodeError{Condition: DecodeFailed, Err: err}
	}
	if code >= uint64(len(performatives)) || performatives[code].fresh == nil || performatives[code].typ != typ {
		return nil, nil, &DecodeError{Condition: NotImplemented, Err: fmt.Errorf("%w %#x", errUnknown, code)}
	}
	p := d.fresh(code)
	d.f = d.r.Fields()
	p.decode(&d.f)
	d.f.End()
	if err := d.r.Err(); err != nil {
		return nil, nil, decodeError(performatives[code].name, err)
	}
	rest := d.r.Rest()
	if len(rest) > 0 && code != CodeTransfer {
		return nil, nil, decodeError(performatives[code].name, errTrailing)
	}
	return p, rest, nil
}

// fresh returns the value to decode into.
func (d *Decoder) fresh(code uint64) Performative {
	switch code {
	case CodeTransfer:
		return &d.transfer
	case CodeFlow:
		return &d.flow
	case CodeDisposition:
		return &d.disposition
	}
	return performatives[code].fresh()
}

// decodeError says to the peer what is wrong with the bytes of a performative.
func decodeError(name string, err error) *DecodeError {
	e := &DecodeError{Condition: DecodeFailed, Performative: name, Err: err}
	if w, ok := errors.AsType[*wire.Error](err); ok && w.Missing {
		e.Condition = InvalidField
	}
	return e
}

// DecodeSASL decodes the body of a SASL frame, as [Decoder.Decode] does.
func DecodeSASL(body []byte) (Performative, error) {
	p, _, err := new(Decoder).Decode(TypeSASL, body)
	return p, err
}
