package amqp

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	goamqp "github.com/Azure/go-amqp"
	"github.com/coder/websocket"
	"github.com/rs/zerolog"

	"github.com/selvedge-mq/selvedge/protocols"
	"github.com/selvedge-mq/selvedge/protocols/amqp/frames"
	"github.com/selvedge-mq/selvedge/protocols/prototest"
)

// overWebSocket serves a front-end behind an HTTP server, and returns its URL.
func overWebSocket(t *testing.T) string {
	t.Helper()
	f, err := New(Options{Env: protocols.Env{
		Broker: memory(t), Auth: prototest.Users(nil), Log: zerolog.Nop(), Node: "n1",
	}})
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ws, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{"amqp"}})
		if err != nil {
			return
		}
		wg.Add(1)
		defer wg.Done()
		_ = f.Serve(r.Context(), websocket.NetConn(r.Context(), ws, websocket.MessageBinary))
	}))
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
		wg.Wait()
	})
	return strings.Replace(server.URL, "http://", "ws://", 1)
}

func dialWebSocket(t *testing.T, url string) *websocket.Conn {
	t.Helper()
	ws, answer, err := websocket.Dial(deadline(t), url, &websocket.DialOptions{
		Subprotocols: []string{"binary", "AMQPWSB10", "amqp"},
	})
	if err != nil {
		t.Fatal(err)
	}
	if answer.Body != nil {
		answer.Body.Close()
	}
	t.Cleanup(func() { _ = ws.CloseNow() })
	return ws
}

// [212] [213] [215] A library speaks over a WebSocket as over any connection.
func TestWebSocket_2_GoAMQP(t *testing.T) {
	ctx := deadline(t)
	ws := dialWebSocket(t, overWebSocket(t))
	if got := ws.Subprotocol(); got != "amqp" {
		t.Fatalf("got subprotocol %q, want amqp", got)
	}
	conn, err := goamqp.NewConn(ctx, websocket.NetConn(ctx, ws, websocket.MessageBinary), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	s, err := conn.NewSession(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	sender, err := s.NewSender(ctx, "q", nil)
	if err != nil {
		t.Fatal(err)
	}
	receiver, err := s.NewReceiver(ctx, "q", nil)
	if err != nil {
		t.Fatal(err)
	}
	body := strings.Repeat("x", 300_000)
	if err := sender.Send(ctx, goamqp.NewMessage([]byte(body)), nil); err != nil {
		t.Fatal(err)
	}
	m, err := receiver.Receive(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := string(m.GetData()); got != body {
		t.Errorf("got %d bytes, want %d", len(got), len(body))
	}
}

// [213] [214] A frame may come in as many messages as it has bytes, several in one
// message; and with AMQP the WebSocket ends.
func TestWebSocket_2_FramesAndMessages(t *testing.T) {
	ctx := deadline(t)
	ws := dialWebSocket(t, overWebSocket(t))
	b := frames.Version(frames.ProtocolAMQP).Append(nil)
	b = frames.AppendFrame(b, 0, &frames.Open{ContainerID: "c", MaxFrameSize: 512})
	for i := range b {
		if err := ws.Write(ctx, websocket.MessageBinary, b[i:i+1]); err != nil {
			t.Fatal(err)
		}
	}
	b = frames.AppendFrame(nil, 0, &frames.Begin{IncomingWindow: 1, OutgoingWindow: 1, HandleMax: 1})
	b = frames.AppendFrame(b, 0, &frames.Close{})
	if err := ws.Write(ctx, websocket.MessageBinary, b); err != nil {
		t.Fatal(err)
	}
	nc := websocket.NetConn(ctx, ws, websocket.MessageBinary)
	in := newReader(nc, new(pools), 64<<10)
	if _, err := in.peek(frames.ProtocolSize); err != nil {
		t.Fatal(err)
	}
	in.discard(frames.ProtocolSize)
	var got []string
	for ended := false; !ended; {
		batch := in.next()
		for _, f := range batch.frames {
			var d frames.Decoder
			p, _, err := d.Decode(frames.TypeAMQP, f.body)
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, frames.Name(p))
		}
		ended = batch.err != nil
	}
	if want := "open begin close"; strings.Join(got, " ") != want {
		t.Errorf("got %v and the end, want %s", got, want)
	}
}
