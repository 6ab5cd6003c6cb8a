package routing

import (
	"errors"
	"fmt"
)

// Code is the closed list of reasons that a client may be told. Each protocol
// maps it to its own conditions by an exhaustive switch.
type Code uint8

// The codes. The numbers are part of the log's and the peers' encoding.
const (
	CodeOK           Code = 0
	CodeInternal     Code = 1  // a bug or an unforeseen failure: see the log
	CodeInvalid      Code = 2  // a field that the client sent is wrong
	CodeNotFound     Code = 3  // no such address
	CodeUnauthorized Code = 4  // the principal may not do this
	CodeFull         Code = 5  // a limit of the queue, the node or the disk is reached
	CodeTooLarge     Code = 6  // the message is larger than the limit
	CodeUnavailable  Code = 7  // no leader or no quorum: the outcome is unknown or the request was not taken
	CodeTimeout      Code = 8  // not confirmed in time: the outcome is unknown
	CodeNotSupported Code = 9  // a feature that this version does not have
	CodeLocked       Code = 10 // in exclusive use by another subscription
	CodeDeleted      Code = 11 // the address was deleted while in use
	CodeStale        Code = 12 // the delivery was handed out again in the meantime
	CodeClosed       Code = 13 // the session, subscription or node is closed
)

var codeNames = [...]string{
	"ok", "internal", "invalid", "not-found", "unauthorized", "full", "too-large", "unavailable",
	"timeout", "not-supported", "locked", "deleted", "stale", "closed",
}

// String returns the code's name, as it stands in logs and metrics.
func (c Code) String() string {
	if int(c) < len(codeNames) {
		return codeNames[c]
	}
	return fmt.Sprintf("code(%d)", uint8(c))
}

// Error is what a client may be told about a failed request.
type Error struct {
	Code    Code
	Op      string // "send", "subscribe", "settle" …
	Address string // the address in question, may be empty
	Reason  string // what is wrong and what to do, for people; may be empty
	Err     error  // the cause, for the log only; may be nil
}

// Error describes the failure: what, where, why.
func (e *Error) Error() string {
	s := e.Op
	if e.Address != "" {
		s += " " + e.Address
	}
	s += ": " + e.Code.String()
	if e.Reason != "" {
		s += ": " + e.Reason
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// CodeOf returns the code of err: CodeOK for nil, CodeInternal if it has none.
func CodeOf(err error) Code {
	if err == nil {
		return CodeOK
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	return CodeInternal
}
