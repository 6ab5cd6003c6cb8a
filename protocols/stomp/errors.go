package stomp

import (
	"fmt"

	"github.com/selvedge-mq/selvedge/protocols/stomp/frame"
	"github.com/selvedge-mq/selvedge/routing"
)

// wireError is the answer to a breach of the protocol or a failed request: it
// already is the ERROR frame. The connection ends behind it, but for
// [Switches.KeepOpen].
// [STOMP 1.2 ERROR]
type wireError struct {
	code    routing.Code
	message string // one short line
	detail  string // the body; the message again when empty
	header  string // one more header, with its value
	value   string

	status      int    // of the end of a WebSocket; 0 is an orderly one
	title, body string // message and body of RabbitMQ; empty: it has none of its own
}

// Error returns the message.
func (e *wireError) Error() string { return "stomp: " + e.message }

func invalid(format string, args ...any) *wireError {
	return &wireError{code: routing.CodeInvalid, message: fmt.Sprintf(format, args...)}
}

func full(format string, args ...any) *wireError {
	return &wireError{code: routing.CodeFull, message: fmt.Sprintf(format, args...)}
}

func notSupported(format string, args ...any) *wireError {
	return &wireError{code: routing.CodeNotSupported, message: fmt.Sprintf(format, args...)}
}

// asWire turns the error of a request into an ERROR frame, in the dialect's form.
func (m *machine) asWire(err error) *wireError {
	w := m.wire(err)
	if m.fe.dialect.shortErrors {
		return w.short()
	}
	return w
}

// wire turns the error of a request into an ERROR frame. What has no code becomes
// an internal error with an id that the log has too.
func (m *machine) wire(err error) *wireError {
	switch e := err.(type) { //nolint:errorlint // both are made and returned unwrapped
	case *wireError:
		return e
	case *routing.Error:
		w := &wireError{code: e.Code, message: codeText(e.Code), detail: e.Reason, title: codeTitle(e.Code)}
		if e.Reason != "" && e.Code != routing.CodeInternal {
			w.message = firstLine(e.Reason)
		}
		if e.Address != "" {
			w.detail = e.Op + " " + e.Address + ": " + codeText(e.Code)
			if e.Reason != "" {
				w.detail += ": " + e.Reason
			}
		}
		if e.Code != routing.CodeInternal {
			return w
		}
	}
	m.error().Err(err).Str("id", m.sessionID).Msg("request failed inside")
	w := &wireError{code: routing.CodeInternal, message: "internal error, id " + m.sessionID}
	return w.titled(codeTitle(w.code), "")
}

// codeText returns what a client is told about a code that came without a reason.
func codeText(c routing.Code) string {
	switch c {
	case routing.CodeOK:
		return "ok"
	case routing.CodeInternal:
		return "internal error"
	case routing.CodeInvalid:
		return "a field of the request is wrong"
	case routing.CodeNotFound:
		return "destination does not exist"
	case routing.CodeUnauthorized:
		return "not authorized"
	case routing.CodeFull:
		return "a limit of the destination or of the node is reached"
	case routing.CodeTooLarge:
		return "the message is too large"
	case routing.CodeUnavailable:
		return "destination is unavailable at the moment, the outcome is unknown"
	case routing.CodeTimeout:
		return "not confirmed in time, the outcome is unknown"
	case routing.CodeNotSupported:
		return "not supported"
	case routing.CodeLocked:
		return "destination is in exclusive use by another subscription"
	case routing.CodeDeleted:
		return "destination was deleted"
	case routing.CodeStale:
		return "the message was delivered again in the meantime"
	case routing.CodeClosed:
		return "the session or the node is closed"
	}
	return "error " + c.String()
}

func firstLine(s string) string {
	for i := range len(s) {
		if s[i] == '\n' || s[i] == '\r' {
			return s[:i]
		}
	}
	return s
}

// keepsOpen reports whether an ERROR about a single request is not the end.
func (m *machine) keepsOpen() bool { return m.fe.dialect.keepOpen && m.state == stateOpen }

// tell writes an ERROR frame and goes on.
func (m *machine) tell(err error, receipt string, hasReceipt bool) {
	m.bid(&farewell{w: m.asWire(err), receipt: receipt, hasReceipt: hasReceipt})
}

// farewell is the ERROR frame behind which a connection ends.
type farewell struct {
	w          *wireError
	receipt    string
	hasReceipt bool
	cause      error // why the connection ends
}

// breach answers a frame that cannot be dealt with: with ERROR, behind the
// RECEIPTs of the frames before it.
func (m *machine) breach(err error, receipt string, hasReceipt bool) {
	if m.state != stateOpen || m.pending.len() == 0 {
		m.fail(err, receipt, hasReceipt)
		return
	}
	w := m.asWire(err)
	m.farewell = &farewell{w, receipt, hasReceipt, w}
	m.leave(true)
}

// fail writes an ERROR frame, ahead of deliveries that are not encoded yet, and
// lets the connection end.
func (m *machine) fail(err error, receipt string, hasReceipt bool) {
	if m.state == stateClosing {
		return
	}
	w := m.asWire(err)
	last := &farewell{w, receipt, hasReceipt, w}
	if m.outgoing != nil { // behind the frame that is being written
		if !m.failing {
			m.farewell, m.failing = last, true
		}
		m.leave(true)
		return
	}
	m.bid(last)
	m.end()
}

// bid writes the ERROR frame.
func (m *machine) bid(f *farewell) {
	m.fe.metrics.errors.WithLabelValues(f.w.code.String()).Inc()
	m.debug().Err(f.w).Msg("connection refused a request")
	m.cause = f.cause
	m.appendError(f.w, f.receipt, f.hasReceipt)
}

func (m *machine) appendError(w *wireError, receipt string, hasReceipt bool) {
	v := m.version
	if m.state == stateNew || m.state == stateLogin {
		v = frame.V10 // nothing is negotiated yet
	}
	body := w.detail
	if body == "" {
		body = w.message
	}
	dst := frame.AppendCommand(m.out, frame.Error)
	dst = frame.AppendHeader(dst, v, "message", w.message)
	if hasReceipt {
		dst = frame.AppendEcho(dst, v, "receipt-id", receipt)
	}
	if w.header != "" {
		dst = frame.AppendHeader(dst, v, w.header, w.value)
	}
	dst = frame.AppendRaw(dst, "content-type", "text/plain")
	dst = frame.AppendInt(dst, "content-length", int64(len(body)))
	m.out = frame.AppendBody(dst, body)
}
