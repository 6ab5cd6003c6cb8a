package gateway

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/Azure/go-amqp"
	"github.com/coder/websocket"

	"github.com/selvedge-mq/selvedge/gateway/config"
)

// newSized is a node whose listeners take messages of different sizes.
func newSized(t *testing.T) map[string]string {
	t.Helper()
	_, addrs := newReal(t, func(c *config.Config) {
		c.MessageSize, c.WholeSize, c.STOMPMessageSize, c.AMQP = 2<<20, 64<<10, 200_000, "127.0.0.1:0"
		for _, l := range []config.Listener{
			{Name: "small", Protocol: config.ProtocolSTOMP, MessageSize: 10_000},
			{Name: "large", Protocol: config.ProtocolSTOMP, MessageSize: 1 << 20},
			{Name: "mixed", Protocol: config.ProtocolAny, MessageSize: 20_000},
			{Name: "web", Protocol: config.ProtocolHTTP, MessageSize: 30_000},
			{Name: "program", Protocol: config.ProtocolAMQP, MessageSize: 10_000},
		} {
			l.Address = "127.0.0.1:0"
			c.Listeners = append(c.Listeners, l)
		}
	})
	return addrs
}

// offer sends a body in the way that is said and returns the frame that comes back.
func offer(t *testing.T, nc net.Conn, destination string, body int, counted bool) string {
	t.Helper()
	defer nc.Close()
	if err := nc.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	text := "CONNECT\naccept-version:1.2\nhost:/\n\n\x00SEND\ndestination:" + destination + "\nreceipt:r\n"
	if counted {
		text += fmt.Sprintf("content-length:%d\n", body)
	}
	text += "\n" + strings.Repeat("x", body) + "\x00"
	written := make(chan struct{})
	go func() {
		defer close(written)
		_, _ = io.WriteString(nc, text) // an error means that the node reads no more
	}()
	r := bufio.NewReader(nc)
	var frame string
	for range 2 { // CONNECTED, then the answer
		var err error
		if frame, err = r.ReadString(0); err != nil {
			t.Fatalf("%d octets: got %q, %v, want an answer", body, frame, err)
		}
	}
	nc.Close()
	<-written
	return strings.TrimLeft(frame, "\n")
}

// [stomp Body_14] How large a body may be is said for a listener, for STOMP, or for
// all; the first of them that is said holds, with a length and without.
func TestSTOMP_Body_14_EachListenerHasItsLimit(t *testing.T) {
	addrs := newSized(t)
	for _, tt := range []struct {
		listener string
		most     int
	}{
		{"stomp", 200_000}, {"small", 10_000}, {"large", 1 << 20}, {"mixed", 20_000}, {"web", 30_000},
	} {
		dial := func() net.Conn {
			if tt.listener != "web" {
				return plain(t, addrs[tt.listener])
			}
			return websocket.NetConn(t.Context(), dialSocket(t, "ws://"+addrs["web"]+"/stomp", "v12.stomp"), websocket.MessageBinary)
		}
		for _, counted := range []bool{true, false} {
			if got := offer(t, dial(), "/queue/q", tt.most, counted); !strings.HasPrefix(got, "RECEIPT\nreceipt-id:r\n") {
				t.Errorf("%s, a length = %v: got %.200q for %d octets, want RECEIPT", tt.listener, counted, got, tt.most)
			}
			got := offer(t, dial(), "/queue/q", tt.most+1, counted)
			if want := "ERROR\nmessage:the maximum data length was exceeded\nreceipt-id:r\n"; !strings.HasPrefix(got, want) {
				t.Errorf("%s, a length = %v: got %.200q for %d octets, want %q", tt.listener, counted, got, tt.most+1, want)
			}
		}
	}
}

// [stomp Body_14] The limit is about what comes in by the listener: what came by
// another one goes out by it, and what is refused is counted for it.
func TestSTOMP_Body_14_ALimitIsCountedAndIsNotForMessages(t *testing.T) {
	addrs := newSized(t)
	if got := offer(t, plain(t, addrs["large"]), "/queue/wide", 300_000, true); !strings.HasPrefix(got, "RECEIPT\n") {
		t.Fatalf("got %.200q, want RECEIPT", got)
	}
	nc := plain(t, addrs["small"])
	defer nc.Close()
	if err := nc.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(nc, "CONNECT\naccept-version:1.2\nhost:/\n\n\x00SUBSCRIBE\nid:1\ndestination:/queue/wide\n\n\x00"); err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(nc)
	for _, want := range []string{"CONNECTED\n", "MESSAGE\n"} {
		frame, err := r.ReadString(0)
		if err != nil || !strings.HasPrefix(strings.TrimLeft(frame, "\n"), want) {
			t.Fatalf("got %.200q, %v, want %q", frame, err, want)
		}
		if want == "MESSAGE\n" && !strings.HasSuffix(frame, "\n\n"+strings.Repeat("x", 300_000)+"\x00") {
			t.Errorf("got %.200q, want the whole body", frame)
		}
	}
	offer(t, plain(t, addrs["small"]), "/queue/q", 10_001, true)
	code, metrics := get(t, addrs["http"], "/metrics")
	if want := `selvedge_stomp_errors_total{code="too-large",listener="small"} 1`; code != http.StatusOK || !strings.Contains(metrics, want) {
		t.Errorf("got %d without %s", code, want)
	}
}

// TestAListenersLimitIsAMQPsToo: the attach of a link tells it.
func TestAListenersLimitIsAMQPsToo(t *testing.T) {
	addrs := newSized(t)
	for listener, want := range map[string]uint64{"program": 10_000, "mixed": 20_000, "amqp": 2<<20 + 256<<10} {
		conn, err := amqp.Dial(t.Context(), "amqp://"+addrs[listener], nil)
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
		if got := sender.MaxMessageSize(); got != want {
			t.Errorf("%s: got a max-message-size of %d, want %d", listener, got, want)
		}
		if err := sender.Send(t.Context(), amqp.NewMessage(make([]byte, 9_000)), nil); err != nil {
			t.Errorf("%s: got %v for a message below the limit", listener, err)
		}
	}
}
