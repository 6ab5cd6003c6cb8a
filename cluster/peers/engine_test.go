package peers

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/selvedge-mq/selvedge/internal/metrictest"
	"github.com/selvedge-mq/selvedge/routing"
	"github.com/selvedge-mq/selvedge/routing/engine"
	"github.com/selvedge-mq/selvedge/routing/memlog"
)

// stuckPeers are Peers of an engine that stands still, at times, in the middle of
// the control lane.
type stuckPeers struct {
	*Peers
	engine.PeerHandler

	mu    sync.Mutex
	stuck chan struct{} // closed when it goes on; nil while it does
}

// Start implements engine.Peers.
func (s *stuckPeers) Start(h engine.PeerHandler) {
	s.PeerHandler = h
	s.Peers.Start(s)
}

// Receive implements engine.PeerHandler.
func (s *stuckPeers) Receive(from string, lane engine.Lane, msg []byte) {
	s.mu.Lock()
	stuck := s.stuck
	s.mu.Unlock()
	if stuck != nil && lane == engine.LaneControl {
		<-stuck
	}
	s.PeerHandler.Receive(from, lane, msg)
}

// stick has the engine stand still until the returned function is called.
func (s *stuckPeers) stick() (goOn func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	ch := make(chan struct{})
	s.stuck = ch
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.stuck = nil
		close(ch)
	}
}

// tally counts the messages that its client sent and got, which accepts them all.
type tally struct {
	s        routing.Session
	news     chan struct{}
	mu       sync.Mutex
	ended    int
	failed   int
	unmarked map[string]int // deliveries without a mark, by body
}

func newTally(t *testing.T, e *engine.Engine) *tally {
	t.Helper()
	s, err := e.Open(context.Background(), routing.SessionOptions{})
	if err != nil {
		t.Fatal(err)
	}
	c := &tally{s: s, news: make(chan struct{}, 1), unmarked: map[string]int{}}
	for q := range queues {
		at := &taker{tally: c}
		at.sub = s.Subscribe(routing.SubscribeOptions{Address: queue(q)}, at, nil, 0)
		at.sub.Grant(100)
	}
	return c
}

const queues = 4

func queue(i int) routing.Address { return routing.Queue(fmt.Sprint("q", i%queues)) }

func (c *tally) note(f func()) {
	c.mu.Lock()
	f()
	c.mu.Unlock()
	select {
	case c.news <- struct{}{}:
	default:
	}
}

// Complete implements routing.Completer.
func (c *tally) Complete(rs []routing.Result) {
	c.note(func() {
		c.ended += len(rs)
		for _, r := range rs {
			if r.Err != nil {
				c.failed++
			}
		}
	})
}

// taker is a subscription of a client.
type taker struct {
	*tally
	sub routing.Subscription
}

func (c *taker) Drained(uint32) {}
func (c *taker) Closed(error)   {}

// Deliver implements routing.Sink.
func (c *taker) Deliver(ds []routing.Delivery) {
	c.note(func() {
		for i := range ds {
			marked := 1
			if ds[i].Redelivered {
				marked = 0
			}
			c.unmarked[string(ds[i].Envelope.Payload)] += marked
		}
	})
	for i := range ds {
		c.sub.Settle(ds[i].Tag, routing.Outcome{Kind: routing.Accepted}, nil, 0)
	}
	c.sub.Grant(int32(len(ds)))
}

// engines starts two engines over peers, each of which leads a shard, and little
// of what waits for a node is enough to end the connection.
func engines(t *testing.T, reg *prometheus.Registry) (es [2]*engine.Engine, ps [2]*stuckPeers) {
	t.Helper()
	url := startServer(t)
	fab := memlog.NewFabric("a", len(es), memlog.Options{})
	for i, f := range []*memlog.Fabric{fab, fab.Join("b")} {
		name := string(rune('a' + i))
		p, err := New(Options{Conn: connect(t, url), Node: name, Session: uint64(i) + 1, ControlWindow: 4 << 10})
		if err != nil {
			t.Fatal(err)
		}
		ps[i] = &stuckPeers{Peers: p}
		o := engine.Options{Fabric: f, Peers: ps[i], ControlBytes: 8 << 10, MaxDeliveries: 1000, SendTimeout: time.Minute, Log: zerolog.Nop()}
		if i == 0 {
			o.Metrics = reg
		}
		if es[i], err = engine.New(o); err != nil {
			t.Fatal(err)
		}
		f.Lead(i)
		t.Cleanup(func() {
			es[i].Close()
			p.Close()
			_ = f.Close()
		})
	}
	return es, ps
}

// Two engines whose nodes stand still in turn, while clients come and go, are parted and
// meet anew: each message arrives, and at most once without a mark.
func TestReset_NothingIsLostOrHandedOutTwiceWithoutAMark(t *testing.T) {
	const count, away = 1500, 600
	reg := prometheus.NewRegistry()
	es, ps := engines(t, reg)
	clients := []*tally{newTally(t, es[0]), newTally(t, es[1])}
	pace := time.NewTicker(time.Millisecond)
	defer pace.Stop()
	var goOn func()
	for i := range count {
		<-pace.C
		switch i % (count / 2) {
		case 100:
			goOn = ps[i/(count/2)].stick()
		case away:
			goOn()
		}
		for at, c := range clients {
			c.s.Send(&routing.Envelope{
				Address: queue(i), Encoding: routing.EncodingSTOMP, Persistent: true, Payload: fmt.Append(nil, at, i),
			}, c, uint64(i))
			for k := range 4 { // in both shards
				c.s.Subscribe(routing.SubscribeOptions{Address: routing.Queue(fmt.Sprint("idle", k))}, &taker{tally: c}, nil, 0).Close(nil, 0)
			}
		}
	}
	limit := time.After(patience)
	for {
		ended, failed, unmarked := 0, 0, map[string]int{}
		for _, c := range clients {
			c.mu.Lock()
			ended, failed = ended+c.ended, failed+c.failed
			for body, n := range c.unmarked {
				unmarked[body] += n
			}
			c.mu.Unlock()
		}
		for body, n := range unmarked {
			if n > 1 {
				t.Fatalf("got message %s %d times without a mark", body, n)
			}
		}
		if ended == 2*count && len(unmarked) == 2*count {
			if failed > 0 {
				t.Errorf("got %d failed sends", failed)
			}
			break
		}
		select {
		case <-clients[0].news:
		case <-clients[1].news:
		case <-limit:
			t.Fatalf("got %d sends ended and %d messages, want %d", ended, len(unmarked), 2*count)
		}
	}
	if metrictest.Value(t, reg, "selvedge_engine_control_resets_total") == 0 {
		t.Error("got no connection ended, want some")
	}
}
