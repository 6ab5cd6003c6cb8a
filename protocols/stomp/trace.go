package stomp

import (
	"bytes"
	"strconv"
	"time"

	"github.com/rs/zerolog"

	"github.com/selvedge-mq/selvedge/protocols"
	"github.com/selvedge-mq/selvedge/protocols/stomp/frame"
)

// traced reports whether anybody wants to see this connection's frames now.
func (m *machine) traced() bool {
	return m.fe.env.Traces.Active() ||
		(m.fe.env.Log.GetLevel() == zerolog.TraceLevel && zerolog.GlobalLevel() == zerolog.TraceLevel)
}

// secret reports whether a header's value is for nobody's eyes.
func secret(key []byte) bool {
	switch string(bytes.ToLower(key)) {
	case "passcode", "password", "authorization", "token":
		return true
	}
	return false
}

// traceIn shows a frame of the client.
func (m *machine) traceIn(f *frame.Frame) {
	text := frame.AppendEscaped(nil, f.Name())
	for i := range f.Len() {
		key, value := f.Header(i)
		if secret(key) {
			value = []byte("***")
		}
		text = frame.AppendEscaped(append(text, '\n'), key)
		text = frame.AppendEscaped(append(text, ':'), value)
	}
	m.trace(text, f.Length, false)
}

// traceEncoded shows what is encoded, but what stands apart was encoded before anybody
// watched.
func (m *machine) traceEncoded() {
	if m.tracing && len(m.apart) == 0 {
		m.traceOut(m.out)
	}
}

// traceOut shows the frames of encoded output.
func (m *machine) traceOut(out []byte) {
	for head, body := range frame.Heads(out) {
		var text []byte
		for line := range bytes.Lines(head) {
			key, _, ok := bytes.Cut(line, []byte(":"))
			if ok && secret(key) {
				text = append(append(text, key...), ":***\n"...)
				continue
			}
			text = append(text, line...)
		}
		m.trace(bytes.TrimSuffix(text, []byte("\n")), len(body), true)
	}
}

func (m *machine) trace(text []byte, body int, sent bool) {
	if body > 0 {
		text = append(text, "\n("...)
		text = strconv.AppendInt(text, int64(body), 10)
		text = append(text, " octets)"...)
	}
	t := protocols.Trace{
		Time: time.Now(), Protocol: "stomp", Conn: m.sessionID, Client: m.remote, User: m.user, Sent: sent, Frame: string(text),
	}
	m.fe.env.Traces.Offer(t)
	m.event(zerolog.TraceLevel).Bool("sent", sent).Str("frame", t.Frame).Msg("frame")
}
