package frames

import (
	"fmt"

	"github.com/selvedge-mq/selvedge/protocols/amqp/wire"
)

// Condition is the symbol of an error condition. [transport 2.8.14]
type Condition string

// The standard conditions. [transport 2.8.15-18] [transactions 4.5.8]
const (
	InternalError         Condition = "amqp:internal-error"
	NotFound              Condition = "amqp:not-found"
	UnauthorizedAccess    Condition = "amqp:unauthorized-access"
	DecodeFailed          Condition = "amqp:decode-error"
	ResourceLimitExceeded Condition = "amqp:resource-limit-exceeded"
	NotAllowed            Condition = "amqp:not-allowed"
	InvalidField          Condition = "amqp:invalid-field"
	NotImplemented        Condition = "amqp:not-implemented"
	ResourceLocked        Condition = "amqp:resource-locked"
	PreconditionFailed    Condition = "amqp:precondition-failed"
	ResourceDeleted       Condition = "amqp:resource-deleted"
	IllegalState          Condition = "amqp:illegal-state"
	FrameSizeTooSmall     Condition = "amqp:frame-size-too-small"

	ConnectionForced   Condition = "amqp:connection:forced"
	FramingError       Condition = "amqp:connection:framing-error"
	ConnectionRedirect Condition = "amqp:connection:redirect"

	WindowViolation  Condition = "amqp:session:window-violation"
	ErrantLink       Condition = "amqp:session:errant-link"
	HandleInUse      Condition = "amqp:session:handle-in-use"
	UnattachedHandle Condition = "amqp:session:unattached-handle"

	DetachForced          Condition = "amqp:link:detach-forced"
	TransferLimitExceeded Condition = "amqp:link:transfer-limit-exceeded"
	MessageSizeExceeded   Condition = "amqp:link:message-size-exceeded"
	LinkRedirect          Condition = "amqp:link:redirect"
	LinkStolen            Condition = "amqp:link:stolen"

	TransactionUnknownID Condition = "amqp:transaction:unknown-id"
	TransactionRollback  Condition = "amqp:transaction:rollback"
	TransactionTimeout   Condition = "amqp:transaction:timeout"
)

// Error is the reason of a detach, end, close or rejected. It is a Go error
// too, so that what a client is told can travel as one. [transport 2.8.14]
//
//	field        type    default  mandatory
//	condition    symbol           yes
//	description  string
//	info         fields
type Error struct {
	Condition   Condition
	Description string // empty when absent
	Info        wire.Map
}

// Errorf returns an error with a formatted description.
func Errorf(c Condition, format string, args ...any) *Error {
	return &Error{Condition: c, Description: fmt.Sprintf(format, args...)}
}

// Error returns the condition and the description.
func (e *Error) Error() string {
	if e.Description == "" {
		return string(e.Condition)
	}
	return string(e.Condition) + ": " + e.Description
}

// DecodeError says why bytes are no performative. Its condition is what the
// peer is to be told.
type DecodeError struct {
	Condition    Condition // DecodeFailed, InvalidField, NotImplemented or FramingError
	Performative string    // "transfer"; may be empty
	Err          error     // where and what; a *wire.Error
}

// Error describes the failure.
func (e *DecodeError) Error() string {
	s := string(e.Condition)
	if e.Performative != "" {
		s += ": " + e.Performative
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap returns the cause.
func (e *DecodeError) Unwrap() error { return e.Err }

// Wire returns the error as it goes to the peer.
func (e *DecodeError) Wire() *Error {
	d := e.Performative
	if e.Err != nil {
		if d != "" {
			d += ": "
		}
		d += e.Err.Error()
	}
	return &Error{Condition: e.Condition, Description: d}
}

func (e *Error) append(dst []byte) []byte {
	w := wire.BeginList(dst, CodeError)
	w.Symbol(wire.Symbol(e.Condition))
	w.Text(e.Description)
	w.OptMap(e.Info)
	return w.End()
}

func (e *Error) decode(f *wire.Fields) {
	*e = Error{
		Condition:   Condition(f.NeedSymbol("condition")),
		Description: f.String("description"),
		Info:        f.Map("info"),
	}
}

// readError reads the field named error; nil when it is absent.
func readError(f *wire.Fields) *Error {
	code, in, ok := f.Composite("error", names)
	if !ok {
		return nil
	}
	if code != CodeError {
		in.Fail("not an error")
		return nil
	}
	e := new(Error)
	e.decode(&in)
	in.End()
	return e
}

// writeError writes a field of type error.
func writeError(w *wire.ListWriter, e *Error) {
	if e == nil {
		w.Null()
		return
	}
	w.Put(e.append(w.Begin()))
}
