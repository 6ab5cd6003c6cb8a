package peers

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"github.com/selvedge-mq/selvedge/routing/engine"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 60 * time.Second

// startServer returns the address of a NATS server in this process.
func startServer(tb testing.TB) string {
	tb.Helper()
	s, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true, MaxPayload: 8 << 20,
	})
	if err != nil {
		tb.Fatal(err)
	}
	s.Start()
	tb.Cleanup(func() {
		s.Shutdown()
		s.WaitForShutdown()
	})
	if !s.ReadyForConnections(patience) {
		tb.Fatal("the server is not ready")
	}
	return s.ClientURL()
}

// connect returns a connection to the server.
func connect(tb testing.TB, url string) *nats.Conn {
	tb.Helper()
	closed := make(chan struct{})
	c, err := nats.Connect(url, nats.ClosedHandler(func(*nats.Conn) { close(closed) }))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		c.Close()
		<-closed
	})
	return c
}

// node is Peers with a handler that remembers. Unless hold is set it consumes
// what it receives at once.
type node struct {
	*Peers

	mu       sync.Mutex
	changed  chan struct{} // closed at each change
	events   []string      // "up a", "down a"
	sessions []uint64      // of the events
	got      [engine.Lanes][][]byte
	writable [engine.Lanes]int
	hold     bool
	answer   func(ctx context.Context, method string, req []byte) ([]byte, error)
}

// newNode returns a node that is not started.
func newNode(tb testing.TB, url string, o Options) *node {
	tb.Helper()
	o.Conn = connect(tb, url)
	if o.Session == 0 {
		o.Session = rand.Uint64() | 1
	}
	p, err := New(o)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(p.Close)
	return &node{Peers: p, changed: make(chan struct{})}
}

// startNode returns a node that is started.
func startNode(tb testing.TB, url string, o Options) *node {
	tb.Helper()
	n := newNode(tb, url, o)
	n.Start(n)
	return n
}

// change does f and tells who waits.
func (n *node) change(f func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	f()
	close(n.changed)
	n.changed = make(chan struct{})
}

// await waits until f is true.
func (n *node) await(tb testing.TB, what string, f func() bool) {
	tb.Helper()
	limit := time.After(patience)
	for {
		n.mu.Lock()
		ok, changed := f(), n.changed
		n.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-changed:
		case <-limit:
			tb.Fatalf("%s did not happen in %v; %s", what, patience, n.state())
		}
	}
}

// state tells what the node knows, for a test that waits in vain.
func (n *node) state() string {
	var out strings.Builder
	fmt.Fprintf(&out, "events %v, members %+v, connection %v, %d reconnects, last error %v",
		n.history(), n.Members(), n.conn.Status(), n.conn.Stats().Reconnects, n.conn.LastError())
	for _, pr := range n.pairs.Load().nodes {
		for _, l := range pr.lanes {
			l.mu.Lock()
			fmt.Fprintf(&out, "\n%s %s: packets %d.. %d of them, cursor %d, high %d, open %v, scheduled %v, starved %v, "+
				"need %d, queued %d, granted %d; next %d, received %d, consumed %d, sent ack %d, grant %d",
				pr.node, laneNames[l.kind], l.base, len(l.packets), l.cursor, l.high, l.open != nil, l.scheduled, l.starved,
				l.need, l.queued, l.granted, l.next, l.received, l.consumed, l.ackSent, l.grantSent)
			l.mu.Unlock()
		}
	}
	return out.String()
}

// awaitEvent waits for the count-th event e.
func (n *node) awaitEvent(tb testing.TB, e string, count int) {
	tb.Helper()
	n.await(tb, e, func() bool {
		seen := 0
		for _, x := range n.events {
			if x == e {
				seen++
			}
		}
		return seen >= count
	})
}

// sendAll sends messages, waiting for Writable as need be.
func (n *node) sendAll(tb testing.TB, to string, lane engine.Lane, msgs [][]byte) {
	tb.Helper()
	for _, m := range msgs {
		for {
			n.mu.Lock()
			before := n.writable[lane]
			n.mu.Unlock()
			if n.Send(to, lane, m) {
				break
			}
			n.await(tb, "writable", func() bool { return n.writable[lane] > before })
		}
	}
}

func (n *node) PeerUp(peer string, session uint64) {
	n.change(func() {
		n.events, n.sessions = append(n.events, "up "+peer), append(n.sessions, session)
	})
}

func (n *node) PeerDown(peer string, session uint64) {
	n.change(func() {
		n.events, n.sessions = append(n.events, "down "+peer), append(n.sessions, session)
	})
}

func (n *node) Receive(from string, lane engine.Lane, msg []byte) {
	n.change(func() { n.got[lane] = append(n.got[lane], msg) })
	n.mu.Lock()
	hold := n.hold
	n.mu.Unlock()
	if !hold {
		n.Consumed(from, lane, len(msg))
	}
}

func (n *node) Writable(_ string, lane engine.Lane) {
	n.change(func() { n.writable[lane]++ })
}

func (n *node) Answer(ctx context.Context, _, method string, req []byte) ([]byte, error) {
	n.mu.Lock()
	f := n.answer
	n.mu.Unlock()
	if f == nil {
		return nil, errors.New("no such method")
	}
	return f(ctx, method, req)
}

// history returns the events so far.
func (n *node) history() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.events)
}

// pairUp starts two nodes a and b and waits until they are up.
func pairUp(tb testing.TB, o Options) (a, b *node) {
	tb.Helper()
	url := startServer(tb)
	o.Log = zerolog.Nop()
	if o.Suspect == 0 {
		o.Suspect = time.Minute // a busy machine is not a dead node
	}
	oa, ob := o, o
	oa.Node, ob.Node = "a", "b"
	a, b = startNode(tb, url, oa), startNode(tb, url, ob)
	a.awaitEvent(tb, "up b", 1)
	b.awaitEvent(tb, "up a", 1)
	return a, b
}

// faults is a publish that loses, repeats and disorders packets.
type faults struct {
	publish func(subject string, data []byte) error

	mu     sync.Mutex
	rnd    *rand.Rand
	mute   bool // everything is lost
	drop   float64
	repeat float64
	late   float64
	held   func() error // a packet that the next one overtakes
}

// inject puts f in the way of n's packets, before n is started.
func inject(n *node, f *faults) {
	f.publish = n.publish
	n.publish = f.send
}

// set changes the faults.
func (f *faults) set(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

func (f *faults) send(subject string, data []byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.mute || f.rnd.Float64() < f.drop {
		return nil
	}
	if f.held == nil && f.rnd.Float64() < f.late {
		kept := slices.Clone(data)
		f.held = func() error { return f.publish(subject, kept) }
		return nil
	}
	err := f.publish(subject, data)
	if f.rnd.Float64() < f.repeat {
		err = errors.Join(err, f.publish(subject, data))
	}
	if f.held != nil {
		err = errors.Join(err, f.held())
		f.held = nil
	}
	return err
}
