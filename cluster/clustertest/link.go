package clustertest

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
)

// link is a way from one node to another: a listener that passes connections on.
type link struct {
	listener net.Listener
	target   string
	dial     func(addr string) (net.Conn, error)
	wg       sync.WaitGroup

	mu    sync.Mutex
	conns map[net.Conn]bool
	down  bool          // refuse connections
	gate  chan struct{} // closed while bytes may pass
}

// newLink listens on loopback for connections to target.
func newLink(tb testing.TB, target string) *link {
	tb.Helper()
	listener, err := new(net.ListenConfig).Listen(tb.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	// t.Context ends before the clean-up does, and so do the dials.
	l := &link{listener: listener, target: target, dial: dialer(tb.Context()), conns: make(map[net.Conn]bool), gate: openGate()}
	l.wg.Go(l.accept)
	return l
}

// dialer returns a way to connect until ctx ends.
func dialer(ctx context.Context) func(addr string) (net.Conn, error) {
	return func(addr string) (net.Conn, error) { return new(net.Dialer).DialContext(ctx, "tcp", addr) }
}

func openGate() chan struct{} {
	gate := make(chan struct{})
	close(gate)
	return gate
}

func (l *link) addr() string { return l.listener.Addr().String() }

func (l *link) accept() {
	for {
		in, err := l.listener.Accept()
		if err != nil {
			return // closed
		}
		l.wg.Go(func() { l.pass(in) })
	}
}

// pass connects in with the target until either ends.
func (l *link) pass(in net.Conn) {
	defer hangUp(in)
	if !l.admit(in) {
		return
	}
	defer l.forget(in)
	out, err := l.dial(l.target)
	if err != nil {
		return
	}
	defer hangUp(out)
	if !l.admit(out) {
		return
	}
	defer l.forget(out)
	var wg sync.WaitGroup
	for _, way := range [][2]net.Conn{{in, out}, {out, in}} {
		wg.Go(func() {
			_, _ = io.Copy(gated{way[1], l}, way[0]) // ends when either is closed
			hangUp(way[0])
			hangUp(way[1])
		})
	}
	wg.Wait()
}

// admit remembers a connection, unless the link is down.
func (l *link) admit(c net.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.down {
		return false
	}
	l.conns[c] = true
	return true
}

func (l *link) forget(c net.Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.conns, c)
}

// cut ends all connections and refuses new ones.
func (l *link) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.down = true
	for c := range l.conns {
		hangUp(c)
	}
	l.open()
}

// freeze holds all bytes back.
func (l *link) freeze() {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case <-l.gate:
		l.gate = make(chan struct{})
	default: // frozen already
	}
}

// mend lets everything pass again.
func (l *link) mend() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.down = false
	l.open()
}

// open opens the gate; l.mu is held.
func (l *link) open() {
	select {
	case <-l.gate:
	default:
		close(l.gate)
	}
}

func (l *link) close() {
	_ = l.listener.Close() // accept ends
	l.cut()
	l.wg.Wait()
}

// hangUp closes a connection; that it may be closed already does not matter.
func hangUp(c net.Conn) { _ = c.Close() }

// gated is a writer that waits while its link is frozen.
type gated struct {
	io.Writer
	link *link
}

// Write passes b on when the link lets it.
func (g gated) Write(b []byte) (int, error) {
	g.link.mu.Lock()
	gate, down := g.link.gate, g.link.down
	g.link.mu.Unlock()
	if down {
		return 0, errors.New("the link is cut")
	}
	<-gate
	return g.Writer.Write(b)
}
