package gateway

import (
	"bufio"
	"context"
	"encoding/json"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/Azure/go-amqp"
	"github.com/coder/websocket"

	"github.com/selvedge-mq/selvedge/gateway/config"
	"github.com/selvedge-mq/selvedge/protocols/prototest"
	"github.com/selvedge-mq/selvedge/routing"
)

// realBroker holds messages in memory, for the product's own front-ends.
type realBroker struct {
	*fakeBroker

	memory *prototest.Broker
}

func (b realBroker) Open(ctx context.Context, o routing.SessionOptions) (routing.Session, error) {
	return b.memory.Open(ctx, o)
}

// newReal is a running node with the product's protocols.
func newReal(t *testing.T, change func(c *config.Config)) (*rig, map[string]string) {
	t.Helper()
	r := newRig(t, newTestConfig(t, change))
	r.node.table = table()
	memory := prototest.New()
	t.Cleanup(memory.Close) // after the node
	r.node.assemble.broker = func(*Node, fabric) (broker, error) { return realBroker{r.broker, memory}, nil }
	return r, r.listen(t)
}

func dialSocket(t *testing.T, url string, protocols ...string) *websocket.Conn {
	t.Helper()
	tr := &http.Transport{}
	t.Cleanup(tr.CloseIdleConnections)
	ws, resp, err := websocket.Dial(t.Context(), url, &websocket.DialOptions{
		HTTPClient: &http.Client{Transport: tr}, Subprotocols: protocols, CompressionMode: websocket.CompressionContextTakeover,
	})
	if resp != nil && resp.Body != nil {
		defer resp.Body.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ws.CloseNow() })
	ws.SetReadLimit(-1)
	return ws
}

// TestFromAMQPToSTOMPByWebSocket: a program sends by AMQP, a page receives by
// STOMP, both through the HTTP port.
func TestFromAMQPToSTOMPByWebSocket(t *testing.T) {
	_, addrs := newReal(t, nil)
	base := "ws://" + addrs["http"]
	page := dialSocket(t, base+"/stomp", "v12.stomp")
	if got := page.Subprotocol(); got != "v12.stomp" {
		t.Errorf("got sub-protocol %q, want v12.stomp", got)
	}
	for _, part := range []string{"CONNECT\naccept-vers", "ion:1.2\n\n\x00SUBSCRIBE\nid:1\ndestination:/queue/q\nreceipt:r\n\n\x00"} {
		if err := page.Write(t.Context(), websocket.MessageText, []byte(part)); err != nil {
			t.Fatal(err)
		}
	}
	frames := bufio.NewReader(websocket.NetConn(t.Context(), page, websocket.MessageText))
	next := func() string {
		t.Helper()
		frame, err := frames.ReadString(0)
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimLeft(frame, "\n")
	}
	for _, want := range []string{"CONNECTED\nversion:1.2\n", "RECEIPT\nreceipt-id:r\n"} {
		if got := next(); !strings.HasPrefix(got, want) {
			t.Fatalf("got %q, want %q", got, want)
		}
	}
	long := strings.Repeat("long ", 50_000) // many frames
	program := websocket.NetConn(t.Context(), dialSocket(t, base+"/amqp", "amqp"), websocket.MessageBinary)
	conn, err := amqp.NewConn(t.Context(), program, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	session, err := conn.NewSession(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	sender, err := session.NewSender(t.Context(), "q", nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := sender.Send(t.Context(), amqp.NewMessage([]byte(long)), nil); err != nil {
		t.Fatal(err)
	}
	if got := next(); !strings.HasPrefix(got, "MESSAGE\n") || !strings.Contains(got, "\n\n"+long) {
		t.Errorf("got %.200q, want the message", got)
	}
}

// TestLogFieldsStandOnce: the node, the protocol and whatever else a line says is
// there once, since a reader of JSON keeps only one of two.
func TestLogFieldsStandOnce(t *testing.T) {
	r, addrs := newReal(t, func(c *config.Config) {
		c.LogFormat, c.LogLevel, c.AMQP = "json", "trace", "127.0.0.1:0"
	})
	hello(t, plain(t, addrs["stomp"]), "CONNECT\naccept-version:1.2\n\n\x00")
	conn, err := amqp.Dial(t.Context(), "amqp://"+addrs["amqp"], nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.Close(); err != nil {
		t.Fatal(err)
	}
	key := regexp.MustCompile(`"([a-z_]+)":`)
	lines := 0
	for line := range strings.Lines(r.log.String()) {
		var fields map[string]any
		if err := json.Unmarshal([]byte(line), &fields); err != nil {
			t.Fatalf("got %s, want JSON: %v", line, err)
		}
		delete(fields, "frame") // it may hold what looks like a key
		if got := len(key.FindAllString(regexp.MustCompile(`"frame":"(\\.|[^"\\])*",?`).ReplaceAllString(line, ""), -1)); got != len(fields) {
			t.Errorf("got %d fields of %d names: %s", got, len(fields), line)
		}
		lines++
	}
	if lines < 5 {
		t.Errorf("got %d lines, want those of two connections", lines)
	}
}
