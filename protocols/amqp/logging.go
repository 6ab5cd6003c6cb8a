package amqp

import "github.com/rs/zerolog"

// event begins a line of the log that says whose connection it is about; nil,
// which takes everything and writes nothing, when the level is not logged. A
// logger that holds these fields would cost an idle connection a kilobyte.
func (c *conn) event(level zerolog.Level) *zerolog.Event {
	e := c.f.o.Env.Log.WithLevel(level) //nolint:zerologlint // the caller sends it
	if !e.Enabled() {
		return nil
	}
	e.Str("proto", "amqp").Str("conn", c.nc.RemoteAddr().String()).Str("user", c.principal.Name)
	if c.peer.container != "" {
		e.Str("client", clip(c.peer.container))
	}
	return e
}

func (c *conn) debug() *zerolog.Event { return c.event(zerolog.DebugLevel) }
func (c *conn) warn() *zerolog.Event  { return c.event(zerolog.WarnLevel) }
