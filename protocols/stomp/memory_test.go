package stomp

import (
	"bytes"
	"io"
	"net"
	"runtime/debug"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/selvedge-mq/selvedge/protocols"
	"github.com/selvedge-mq/selvedge/protocols/prototest"
)

// TestIdleConnectionsAreSmall holds what a connection costs that says nothing,
// goroutines and all, both ends of its pipe included: one that only logged in, and
// one with a subscription. An owner that had grown its stack never gave it back, a
// writer waited with a stack of its own, and a logger held half a kilobyte.
func TestIdleConnectionsAreSmall(t *testing.T) {
	for _, c := range []struct {
		name   string
		limit  int
		frames []string
	}{
		{"logged in", 18 << 10, []string{"CONNECT\naccept-version:1.2\nhost:/\n\n\x00"}},
		{"with a subscription", 20 << 10, []string{
			"CONNECT\naccept-version:1.2\nhost:/\n\n\x00",
			"SUBSCRIBE\nid:1\ndestination:/queue/q\nreceipt:1\n\n\x00",
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { costsAtMost(t, c.limit, c.frames) })
		})
	}
}

// costsAtMost measures connections at rest, which have each sent frames and read the
// answers: those behind the first hundred, for which the runtime makes room.
func costsAtMost(t *testing.T, limit int, frames []string) {
	t.Helper()
	const n = 200
	s := newStage(t, protocols.Limits{}, prototest.Users{})
	var wg sync.WaitGroup
	var conns []net.Conn
	open := func(count int) int {
		for range count {
			server, nc := net.Pipe()
			conns = append(conns, nc)
			wg.Go(func() { _ = s.fe.Serve(s.ctx, server) })
			for _, f := range frames {
				exchange(t, nc, f)
			}
		}
		<-time.After(2 * idleTime)
		return prototest.Footprint()
	}
	before := open(n / 2)
	got := (open(n) - before) / n
	if raced() {
		limit += limit / 4
	}
	t.Logf("an idle connection costs %d bytes", got)
	if got > limit {
		t.Errorf("got %d bytes a connection, want at most %d", got, limit)
	}
	for _, nc := range conns {
		nc.Close()
	}
	wg.Wait()
	s.close()
}

// exchange sends a frame and reads the one that answers it.
func exchange(t *testing.T, nc net.Conn, f string) {
	t.Helper()
	if _, err := io.WriteString(nc, f); err != nil {
		t.Fatal(err)
	}
	var b [512]byte
	for {
		n, err := nc.Read(b[:])
		if err != nil {
			t.Fatal(err)
		}
		if bytes.IndexByte(b[:n], 0) >= 0 {
			return
		}
	}
}

// raced reports whether the race detector runs, with which stacks are deeper.
func raced() bool {
	info, ok := debug.ReadBuildInfo()
	return ok && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"})
}
