package integration

import (
	"context"
	"testing"

	"github.com/Azure/go-amqp"
	"github.com/coder/websocket"

	"github.com/selvedge-mq/selvedge/integration/harness"
)

// go-amqp over a WebSocket of the HTTP port, which offers several sub-protocols.
func TestAMQP_WebSocket_GoAMQP(t *testing.T) {
	n := harness.Start(t, harness.Options{})
	ctx := bounded(t)
	ws, _, err := websocket.Dial(ctx, "ws://"+n.HTTP+"/amqp", &websocket.DialOptions{Subprotocols: []string{"binary", "AMQPWSB10", "amqp"}})
	ok(t, "dial", err)
	if got := ws.Subprotocol(); got != "amqp" {
		t.Errorf("got sub-protocol %q, want amqp", got)
	}
	nc := websocket.NetConn(context.WithoutCancel(ctx), ws, websocket.MessageBinary)
	c, err := amqp.NewConn(ctx, nc, &amqp.ConnOptions{SASLType: amqp.SASLTypeAnonymous(), HostName: "broker"})
	ok(t, "connect", err)
	s, err := c.NewSession(ctx, nil)
	ok(t, "begin", err)
	snd, r := goSender(t, s, "web.amqp", nil), goReceiver(t, s, "web.amqp", &amqp.ReceiverOptions{Credit: 10})
	goSend(t, snd, "one", "two", "three")
	for _, want := range []string{"one", "two", "three"} {
		goExpect(t, r, want, 0)
	}
	_ = c.Close() // how the WebSocket ends below it is no matter of the client's
}
