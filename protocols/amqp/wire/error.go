package wire

import (
	"errors"
	"fmt"
)

// ErrMalformed is what every [Error] wraps: the bytes are not what they claim
// to be.
var ErrMalformed = errors.New("malformed AMQP data")

// Error says what is wrong with the bytes, and where.
type Error struct {
	Offset  int    // from the start of the reader's bytes
	Field   string // the field being read, may be empty
	Reason  string
	Missing bool // a mandatory field is absent
}

// Error describes the failure.
func (e *Error) Error() string {
	if e.Field != "" {
		return fmt.Sprintf("%v at byte %d: field %s: %s", ErrMalformed, e.Offset, e.Field, e.Reason)
	}
	return fmt.Sprintf("%v at byte %d: %s", ErrMalformed, e.Offset, e.Reason)
}

// Unwrap returns [ErrMalformed].
func (*Error) Unwrap() error { return ErrMalformed }
