package stomp

import (
	"cmp"
	"fmt"

	"github.com/selvedge-mq/selvedge/routing"
)

// RabbitMQ's ERROR has a short title as message, by which its clients and their
// tests tell what went wrong, and the reason in the body. Its dialect has the same
// titles; what RabbitMQ has none for keeps its own text.
const (
	titleLogin       = "Bad CONNECT"
	titleEarly       = "Illegal command"
	titleCommand     = "Bad command"
	titleProcessing  = "Processing error" // of whatever it did not foresee
	titleNowhere     = "Missing destination"
	titleDestination = "Invalid destination"
	titleNoHeader    = "Missing header"
	titleHeader      = "Invalid header"
	titleTransaction = "Bad transaction"
	titleCancelled   = "Server cancelled subscription"
)

// titled adds RabbitMQ's title to an error, and its words for the body if it is
// worth it to have them as they are there.
func (e *wireError) titled(title, format string, args ...any) *wireError {
	e.title = title
	if format != "" {
		e.body = fmt.Sprintf(format, args...)
	}
	return e
}

// short returns the error as RabbitMQ would put it.
func (e *wireError) short() *wireError {
	if e.title == "" {
		return e
	}
	s := *e
	s.message, s.detail = e.title, cmp.Or(e.body, e.detail, e.message)
	s.title, s.body = "", ""
	return &s
}

// codeTitle returns RabbitMQ's title for a refusal by the broker, or nothing: they
// are the names of the exceptions of AMQP 0-9-1.
func codeTitle(c routing.Code) string {
	switch c {
	case routing.CodeNotFound, routing.CodeDeleted:
		return "not_found"
	case routing.CodeUnauthorized:
		return "access_refused"
	case routing.CodeLocked:
		return "resource_locked"
	case routing.CodeInternal:
		return titleProcessing
	case routing.CodeOK, routing.CodeInvalid, routing.CodeFull, routing.CodeTooLarge, routing.CodeUnavailable,
		routing.CodeTimeout, routing.CodeNotSupported, routing.CodeStale, routing.CodeClosed:
	}
	return ""
}
