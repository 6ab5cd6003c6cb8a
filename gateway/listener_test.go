package gateway

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/selvedge-mq/selvedge/gateway/config"
)

func countOf(t *testing.T, c *prometheus.CounterVec, labels ...string) float64 {
	t.Helper()
	var m dto.Metric
	if err := c.WithLabelValues(labels...).Write(&m); err != nil {
		t.Fatal(err)
	}
	return m.GetCounter().GetValue()
}

// knock connects until the test ends, sends one byte and returns what comes back.
func knock(t *testing.T, addr, b string) string {
	t.Helper()
	nc, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	if _, err := io.WriteString(nc, b); err != nil {
		return ""
	}
	answer := make([]byte, 1)
	n, err := nc.Read(answer)
	if err != nil {
		return ""
	}
	return string(answer[:n])
}

func TestPanicCostsOneConnection(t *testing.T) {
	addr, log, m := newTestListener(t, &fakeFront{}, 10)
	if got := knock(t, addr, "a"); got != "a" {
		t.Fatalf("got %q, want an echo", got)
	}
	if got := knock(t, addr, "p"); got != "" {
		t.Errorf("got %q of the connection with the bug, want it closed", got)
	}
	if got := knock(t, addr, "b"); got != "b" {
		t.Errorf("got %q after the bug, want an echo", got)
	}
	// The front-end closes the connection before the panic is told of.
	eventually(t, func() bool { return strings.Contains(log.String(), "because of a bug") })
	for _, want := range []string{`"panic":"a bug"`, "gateway.(*fakeFront).Serve", `"level":"error"`} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("got log %s, want %s in it", log, want)
		}
	}
	if got := countOf(t, m.panics, "stomp"); got != 1 {
		t.Errorf("got %v panics counted, want 1", got)
	}
}

func TestConnectionsAreLimited(t *testing.T) {
	addr, _, m := newTestListener(t, &fakeFront{}, 1)
	if got := knock(t, addr, "a"); got != "a" {
		t.Fatalf("got %q, want an echo", got)
	}
	if got := knock(t, addr, "b"); got != "" {
		t.Errorf("got %q of one connection too many, want it closed", got)
	}
	if got := countOf(t, m.refused, "stomp", refusedConnections); got != 1 {
		t.Errorf("got %v refused, want 1", got)
	}
}

func TestListenNamesTheSetting(t *testing.T) {
	ln, err := listen(t.Context(), config.Listener{Name: "stomp", Address: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	for name, spelling := range map[string]string{"amqp-tls": "--amqp-tls", "legacy": "its entry in the file's list of listeners"} {
		_, err = listen(t.Context(), config.Listener{Name: name, Address: ln.Addr().String()})
		want := name + ": cannot listen on " + ln.Addr().String() + ": bind: address already in use (choose another address by " + spelling + ")"
		if err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

// stubborn accepts with an error first.
type stubborn struct {
	net.Listener
	errs []error
}

func (s *stubborn) Accept() (net.Conn, error) {
	if len(s.errs) > 0 {
		err := s.errs[0]
		s.errs = s.errs[1:]
		return nil, err
	}
	return s.Listener.Accept()
}

func TestAcceptIsRetried(t *testing.T) {
	l, _ := newListenerOf(t, &fakeFront{}, 1)
	ln := l.ln
	l.ln = &stubborn{ln, []error{errors.New("too many open files"), errors.New("too many open files")}}
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan struct{})
	go func() {
		defer close(served)
		l.serve(ctx)
	}()
	if got := knock(t, ln.Addr().String(), "a"); got != "a" {
		t.Errorf("got %q, want an echo", got)
	}
	ln.Close()
	cancel()
	<-served
}

func TestDrainCutsWhoDoesNotEnd(t *testing.T) {
	c := newConns(2, 0, 0)
	near, far := net.Pipe()
	defer far.Close()
	cl, _ := c.add(near.Close, netip.Addr{})
	if cl == nil {
		t.Fatal("got a refusal, want the connection admitted")
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		defer c.remove(cl)
		_, _ = near.Read(make([]byte, 1)) // until it is cut off
	}()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if got := c.drain(ctx); got != 1 {
		t.Errorf("got %d connections cut off, want 1", got)
	}
	<-ended
	if cl, _ := c.add(far.Close, netip.Addr{}); cl != nil {
		t.Error("got a connection admitted after the drain, want a refusal")
	}
}
