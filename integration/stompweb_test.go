package integration

import (
	"context"
	"testing"

	"github.com/coder/websocket"
	"github.com/go-stomp/stomp/v3"

	"github.com/selvedge-mq/selvedge/integration/harness"
)

// go-stomp over a WebSocket, whose client sends text or binary messages and offers
// what it likes: the version is CONNECT's.
func TestSTOMP_WebSocket_02_GoSTOMP(t *testing.T) {
	n := harness.Start(t, harness.Options{})
	for _, c := range []struct {
		name  string
		kind  websocket.MessageType
		offer []string
		spoke string
		body  string
	}{
		{"text", websocket.MessageText, []string{"v10.stomp", "v12.stomp"}, "v12.stomp", "grüße"},
		{"binary", websocket.MessageBinary, []string{"v10.stomp"}, "v10.stomp", "\x00\xff"},
		{"no offer", websocket.MessageBinary, nil, "", "x"},
	} {
		t.Run(c.name, func(t *testing.T) {
			ctx := bounded(t)
			ws, _, err := websocket.Dial(ctx, "ws://"+n.HTTP+"/stomp", &websocket.DialOptions{Subprotocols: c.offer})
			ok(t, "dial", err)
			if got := ws.Subprotocol(); got != c.spoke {
				t.Errorf("got sub-protocol %q, want %q", got, c.spoke)
			}
			client, err := stomp.Connect(websocket.NetConn(context.WithoutCancel(ctx), ws, c.kind))
			ok(t, "connect", err)
			if client.Version() != stomp.V12 {
				t.Errorf("got version %s, want 1.2", client.Version())
			}
			sub, err := client.Subscribe("/queue/web."+c.name, stomp.AckClientIndividual)
			ok(t, "subscribe", err)
			ok(t, "send", client.Send("/queue/web."+c.name, "", []byte(c.body), stomp.SendOpt.Receipt))
			m := <-sub.C
			ok(t, "receive", m.Err)
			if string(m.Body) != c.body {
				t.Errorf("got %q, want %q", m.Body, c.body)
			}
			ok(t, "ack", client.Ack(m))
			ok(t, "disconnect", client.Disconnect())
		})
	}
}
