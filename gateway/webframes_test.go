package gateway

import (
	"bytes"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/coder/websocket"

	"github.com/selvedge-mq/selvedge/gateway/websock"
	"github.com/selvedge-mq/selvedge/protocols"
	"github.com/selvedge-mq/selvedge/protocols/prototest"
	"github.com/selvedge-mq/selvedge/protocols/stomp"
)

// TestAWebSocketMessageIsOneFrame: the two packages do not know each other, so
// this holds them to the method by which they agree.
//
// [stomp WebSocket_04]
func TestAWebSocketMessageIsOneFrame(t *testing.T) {
	broker := prototest.New()
	t.Cleanup(broker.Close)
	front, err := stomp.New(stomp.Options{Env: protocols.Env{Broker: broker, Auth: prototest.Users{}}})
	if err != nil {
		t.Fatal(err)
	}
	at := &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 7}
	served := make(chan error, 1)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		nc, err := websock.Accept(w, r, at, at, subprotocols(front.Name()))
		if err == nil {
			err = front.Serve(t.Context(), nc) //nolint:contextcheck // a connection outlives its request
		}
		served <- err
	}))
	t.Cleanup(server.Close)
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	ws, resp, err := websocket.Dial(t.Context(), "ws"+strings.TrimPrefix(server.URL, "http"),
		&websocket.DialOptions{HTTPClient: &http.Client{Transport: transport}})
	if err != nil {
		t.Fatal(err)
	}
	if resp.Body != nil {
		defer resp.Body.Close()
	}
	const sends = 50
	frames := "CONNECT\naccept-version:1.2\n\n\x00" + strings.Repeat("SEND\ndestination:/queue/q\nreceipt:r\n\nx\x00", sends)
	if err := ws.Write(t.Context(), websocket.MessageText, []byte(frames)); err != nil {
		t.Fatal(err)
	}
	for range 1 + sends {
		_, message, err := ws.Read(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if n := bytes.Count(message, []byte{0}); n != 1 {
			t.Fatalf("got %d frames in %q, want one", n, message)
		}
	}
	_ = ws.Close(websocket.StatusNormalClosure, "")
	if err := <-served; err != nil {
		t.Errorf("the connection ended with %v", err)
	}
}
