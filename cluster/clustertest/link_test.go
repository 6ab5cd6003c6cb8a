package clustertest

import (
	"bufio"
	"io"
	"net"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// echo serves an echo on loopback until the test ends.
func echo(t *testing.T) string {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	t.Cleanup(func() {
		l.Close()
		<-ended
	})
	go func() {
		defer close(ended)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = io.Copy(c, c) // one connection at a time is enough
			c.Close()
		}
	}()
	return l.Addr().String()
}

func TestLink(t *testing.T) {
	l := newLink(t, echo(t))
	t.Cleanup(l.close)
	dial := func() (net.Conn, *bufio.Reader) {
		c, err := new(net.Dialer).DialContext(t.Context(), "tcp", l.addr())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c, bufio.NewReader(c)
	}
	say := func(c net.Conn, s string) {
		if _, err := io.WriteString(c, s); err != nil {
			t.Fatal(err)
		}
	}
	c, r := dial()
	say(c, "one\n")
	if got, err := r.ReadString('\n'); got != "one\n" {
		t.Errorf("got %q, error %v, want one", got, err)
	}
	l.freeze()
	say(c, "two\n")
	l.mend()
	if got, err := r.ReadString('\n'); got != "two\n" {
		t.Errorf("after a freeze: got %q, error %v, want two", got, err)
	}
	l.cut()
	if got, err := r.ReadString('\n'); err == nil {
		t.Errorf("after a cut: got %q, want an error", got)
	}
	_, r = dial()
	if got, err := r.ReadString('\n'); err == nil {
		t.Errorf("while cut: got %q, want an error", got)
	}
	l.mend()
	c, r = dial()
	say(c, "three\n")
	if got, err := r.ReadString('\n'); got != "three\n" {
		t.Errorf("after mending: got %q, error %v, want three", got, err)
	}
}
