package amqp

import (
	"errors"
	"fmt"

	"github.com/selvedge-mq/selvedge/protocols/amqp/frames"
	"github.com/selvedge-mq/selvedge/routing"
)

// level says how far a breach reaches: what is closed because of it.
type level uint8

const (
	onLink       level = iota // detach
	onSession                 // end
	onConnection              // close
)

// breach is a protocol error that already is the wire's answer: what the peer
// is told, and at which level. [transport 2.8.14]
type breach struct {
	level level
	wire  *frames.Error
}

// Error returns what the peer is told.
func (b *breach) Error() string { return b.wire.Error() }

func linkError(c frames.Condition, format string, args ...any) *breach {
	return &breach{onLink, frames.Errorf(c, format, args...)}
}

func sessionError(c frames.Condition, format string, args ...any) *breach {
	return &breach{onSession, frames.Errorf(c, format, args...)}
}

func connectionError(c frames.Condition, format string, args ...any) *breach {
	return &breach{onConnection, frames.Errorf(c, format, args...)}
}

// maxDescription keeps an error within the smallest frame. [transport 2.3.1]
const maxDescription = 256

// wireError returns what a client may be told about a failed request.
func wireError(err error) *frames.Error {
	var e *routing.Error
	if !errors.As(err, &e) {
		return frames.Errorf(frames.InternalError, "internal error")
	}
	text := e.Reason
	if text == "" {
		text = fmt.Sprintf("%s %s: %s", e.Op, e.Address, e.Code)
	}
	return &frames.Error{Condition: condition(e.Code), Description: clip(text)}
}

// clip shortens a text to maxDescription bytes, between two runes.
func clip(s string) string {
	if len(s) <= maxDescription {
		return s
	}
	n := maxDescription
	for n > 0 && s[n]&0xc0 == 0x80 {
		n--
	}
	return s[:n]
}

// condition maps a code to the symbol that clients know. [transport 2.8.15]
func condition(c routing.Code) frames.Condition {
	switch c {
	case routing.CodeInvalid:
		return frames.InvalidField
	case routing.CodeNotFound:
		return frames.NotFound
	case routing.CodeUnauthorized:
		return frames.UnauthorizedAccess
	case routing.CodeFull:
		return frames.ResourceLimitExceeded
	case routing.CodeTooLarge:
		return frames.MessageSizeExceeded
	case routing.CodeNotSupported:
		return frames.NotImplemented
	case routing.CodeLocked:
		return frames.ResourceLocked
	case routing.CodeDeleted:
		return frames.ResourceDeleted
	case routing.CodeStale:
		return frames.IllegalState
	case routing.CodeClosed:
		return frames.DetachForced
	case routing.CodeOK, routing.CodeInternal, routing.CodeUnavailable, routing.CodeTimeout:
	}
	return frames.InternalError
}
