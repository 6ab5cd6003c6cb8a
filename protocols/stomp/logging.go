package stomp

import "github.com/rs/zerolog"

// event begins a line of the log that says whose connection it is about; nil,
// which takes everything and writes nothing, when the level is not logged. A
// logger that holds these fields would cost an idle connection a kilobyte.
func (m *machine) event(level zerolog.Level) *zerolog.Event {
	e := m.fe.env.Log.WithLevel(level) //nolint:zerologlint // the caller sends it
	if !e.Enabled() {
		return nil
	}
	return e.Str("proto", "stomp").Str("conn", m.sessionID).Str("client", m.remote).Str("user", m.user)
}

func (m *machine) debug() *zerolog.Event { return m.event(zerolog.DebugLevel) }
func (m *machine) warn() *zerolog.Event  { return m.event(zerolog.WarnLevel) }
func (m *machine) error() *zerolog.Event { return m.event(zerolog.ErrorLevel) }

// noteEnd notes the end of the connection.
func (m *machine) noteEnd(err error) { m.debug().Err(err).Msg("connection ended") }
