package gateway

import (
	"context"
	"net"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/sys/unix"
)

// flood is a front-end that writes until it cannot, so many bytes at most.
type flood struct {
	limit   int
	blocked atomic.Bool // a write takes long
	ended   chan struct{}
}

func (*flood) Name() string { return "stomp" }

func (f *flood) Serve(_ context.Context, nc net.Conn) error {
	defer close(f.ended)
	defer nc.Close()
	piece := make([]byte, 1<<16)
	for left := f.limit; left > 0; left -= len(piece) {
		slow := time.AfterFunc(100*time.Millisecond, func() { f.blocked.Store(true) })
		_, err := nc.Write(piece[:min(left, len(piece))])
		slow.Stop()
		if err != nil {
			return err
		}
	}
	_, err := nc.Read(piece)
	return err
}

// vanish lets the host of a connection drop what comes for it, as if it had gone.
func vanish(t *testing.T, nc net.Conn) {
	t.Helper()
	raw, err := nc.(syscall.Conn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	none := unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K}
	var failed error
	err = raw.Control(func(fd uintptr) {
		failed = unix.SetsockoptSockFprog(int(fd), unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: 1, Filter: &none})
	})
	if err != nil || failed != nil {
		t.Fatal(err, failed)
	}
}

// The node heard from the kernel after a quarter of an hour that a host had gone while
// it was sent messages. A client that only does not read may take its time.
func TestHostsThatVanishAreFound(t *testing.T) {
	t.Parallel()
	const after = time.Second
	for _, tt := range []struct {
		name       string
		limit      int  // of what is sent
		first, now bool // it vanishes before anything is sent; when no more goes out
		want       bool
	}{
		{"a host that is there, and a client that does not read", 1 << 30, false, false, false},
		{"a host that vanishes while it takes messages", 1 << 10, true, false, true},
		{"a host that vanishes when its window is closed", 1 << 30, false, true, true},
		{"a client that is sent nothing", 0, true, false, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			front := &flood{limit: tt.limit, ended: make(chan struct{})}
			l, _ := newListenerOf(t, front, 1)
			nc := plain(t, l.ln.Addr().String())
			defer nc.Close()
			if tt.first {
				vanish(t, nc)
			}
			ctx, cancel := context.WithCancel(t.Context())
			served := make(chan struct{})
			go func() {
				defer close(served)
				l.serve(ctx)
			}()
			if tt.limit > 1<<20 {
				eventually(t, front.blocked.Load)
			}
			if tt.now {
				vanish(t, nc)
			}
			h := &hosts{conns: l.conns, after: after, metrics: l.metrics, log: zerolog.Nop()}
			if got := foundIn(h, front.ended, 4*after, tt.want); got != tt.want {
				t.Errorf("got it found: %v, want %v", got, tt.want)
			}
			nc.Close()
			_ = l.conns.list(func(cl *client) bool { return cl.cut() == nil })
			cancel()
			l.ln.Close()
			<-served
		})
	}
}

// foundIn looks at the hosts until a connection has ended: long if it is to, and so
// long if not.
func foundIn(h *hosts, ended <-chan struct{}, long time.Duration, want bool) bool {
	if want {
		long = time.Minute
	}
	tick, late := time.NewTicker(50*time.Millisecond), time.NewTimer(long)
	defer tick.Stop()
	defer late.Stop()
	for {
		select {
		case <-ended:
			return true
		case <-late.C:
			return false
		case <-tick.C:
			h.look()
		}
	}
}

// Clients by WebSocket are looked after as others are, below TLS too.
func TestTheHostsOfAllClientsAreKnown(t *testing.T) {
	r, addrs := newTellers(t, nil)
	if got := hello(t, plain(t, addrs["stomp"]), "C"); got == "" {
		t.Fatal("got no connection")
	}
	nc, _ := dialWeb(t, "ws://"+addrs["http"]+"/stomp", nil, nil)
	if nc == nil || hello(t, nc, "C") == "" {
		t.Fatal("got no connection by WebSocket")
	}
	if got := len(r.node.conns.sockets()); got != 2 {
		t.Errorf("got %d sockets, want 2", got)
	}
}
