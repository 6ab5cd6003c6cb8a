package stomp

import (
	"errors"
	"testing"

	"github.com/rs/zerolog"

	"github.com/selvedge-mq/selvedge/protocols"
	"github.com/selvedge-mq/selvedge/routing"
)

// The broker's refusals have the names of AMQP 0-9-1 under RabbitMQ's dialect, where
// they have one; any other dialect tells the reason in message.
func TestSTOMP_Error_07_RefusalsOfTheBroker(t *testing.T) {
	for _, c := range []struct {
		err           error
		title, reason string
	}{
		{&routing.Error{Code: routing.CodeUnauthorized, Op: "send", Address: "queue://a"}, "access_refused", "not authorized"},
		{&routing.Error{Code: routing.CodeNotFound, Op: "send", Address: "queue://a"}, "not_found", "destination does not exist"},
		{&routing.Error{Code: routing.CodeLocked, Op: "subscribe", Reason: "in use"}, "resource_locked", "in use"},
		{&routing.Error{Code: routing.CodeFull, Op: "send", Reason: "no room"}, "no room", "no room"},
		{errors.New("a bug"), "Processing error", "internal error, id S-1"},
	} {
		for _, d := range []Dialect{ActiveMQ, RabbitMQ} {
			b, err := d.resolve(Switches{})
			if err != nil {
				t.Fatal(err)
			}
			m := &machine{fe: &Frontend{dialect: b, env: protocols.Env{Log: zerolog.Nop()}}, sessionID: "S-1"}
			want := c.reason
			if d == RabbitMQ {
				want = c.title
			}
			if got := m.asWire(m.asWire(c.err)).message; got != want {
				t.Errorf("%s, %v: got %q, want %q", d, c.err, got, want)
			}
		}
	}
}
