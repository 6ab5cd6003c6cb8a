package engine_test

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"github.com/selvedge-mq/selvedge/routing"
	"github.com/selvedge-mq/selvedge/routing/engine"
	"github.com/selvedge-mq/selvedge/routing/memlog"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// testNode is an engine in a network of its own process.
type testNode struct {
	*engine.Engine
	fabric *memlog.Fabric
	peers  *memPeers
}

type testCluster struct {
	t     *testing.T
	net   *network
	tune  func(o *engine.Options)
	nodes []*testNode
}

// start runs a process of a node.
func (c *testCluster) start(f *memlog.Fabric, name string, session uint64) *testNode {
	c.t.Helper()
	peers := c.net.join(name, session)
	o := engine.Options{Fabric: f, Peers: peers, Log: zerolog.New(zerolog.NewTestWriter(c.t)).Level(zerolog.WarnLevel)}
	if c.tune != nil {
		c.tune(&o)
	}
	e, err := engine.New(o)
	if err != nil {
		c.t.Fatal(err)
	}
	return &testNode{Engine: e, fabric: f, peers: peers}
}

func newCluster(t *testing.T, nodes, shards int, tune func(o *engine.Options)) *testCluster {
	t.Helper()
	c := &testCluster{t: t, net: newNetwork(1 << 20), tune: tune}
	for i := range nodes {
		name := string(rune('a' + i))
		var f *memlog.Fabric
		if i == 0 {
			f = memlog.NewFabric(name, shards, memlog.Options{})
		} else {
			f = c.nodes[0].fabric.Join(name)
		}
		c.nodes = append(c.nodes, c.start(f, name, uint64(100+i)))
	}
	t.Cleanup(c.close)
	return c
}

func (c *testCluster) close() {
	for _, n := range c.nodes {
		n.Close()
	}
	for _, n := range c.nodes {
		if n.peers.up {
			c.net.sever(n.peers.node)
		}
		_ = n.fabric.Close()
	}
	c.net.wg.Wait()
}

// client is a session with everything that came back to it.
type client struct {
	t *testing.T
	s routing.Session

	mu      sync.Mutex
	results map[uint64]error
	got     []routing.Delivery
	drained []uint32
	news    chan struct{}
}

func (n *testNode) client(t *testing.T) *client {
	t.Helper()
	s, err := n.Open(context.Background(), routing.SessionOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return &client{t: t, s: s, results: map[uint64]error{}, news: make(chan struct{}, 1)}
}

func (c *client) note(f func()) {
	c.mu.Lock()
	f()
	c.mu.Unlock()
	select {
	case c.news <- struct{}{}:
	default:
	}
}

func (c *client) Complete(rs []routing.Result) {
	c.note(func() {
		for _, r := range rs {
			c.results[r.Token] = r.Err
		}
	})
}

func (c *client) Deliver(ds []routing.Delivery) { c.note(func() { c.got = append(c.got, ds...) }) }
func (c *client) Drained(n uint32)              { c.note(func() { c.drained = append(c.drained, n) }) }
func (c *client) Closed(error)                  {}

// until waits for a condition over what came back.
func (c *client) until(what string, cond func() bool) {
	c.t.Helper()
	deadline := time.After(20 * time.Second)
	for {
		c.mu.Lock()
		ok := cond()
		got, results := len(c.got), len(c.results)
		c.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-c.news:
		case <-deadline:
			c.t.Fatalf("%s: not in time; %d deliveries, %d results", what, got, results)
		}
	}
}

func (c *client) send(token uint64, queue, body string, persistent bool) {
	c.s.Send(&routing.Envelope{
		Address: routing.Queue(queue), Encoding: routing.EncodingSTOMP, Persistent: persistent, Payload: []byte(body),
	}, c, token)
}

func (c *client) result(token uint64) error {
	c.t.Helper()
	c.until(fmt.Sprintf("result %d", token), func() bool { _, ok := c.results[token]; return ok })
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.results[token]
}

// serves waits until a node leads a shard and hands messages out.
func (n *testNode) serves(t *testing.T, shard int) {
	t.Helper()
	look := time.NewTicker(5 * time.Millisecond)
	defer look.Stop()
	deadline := time.After(20 * time.Second)
	for !slices.Contains(n.Stats().ShardsLed, shard) {
		select {
		case <-look.C:
		case <-deadline:
			t.Fatalf("node %s does not serve shard %d", n.peers.node, shard)
		}
	}
}

// leadAll makes a node the leader of all its shards.
func (n *testNode) leadAll() {
	for i := range n.fabric.Shards() {
		n.fabric.Lead(i)
	}
}

// slowAppend has the append of a record that holds a text take a while, and tells when
// it has begun.
func (n *testNode) slowAppend(text string, d time.Duration) (begun <-chan struct{}) {
	appending := make(chan struct{}, 1)
	n.fabric.View(0).SetHook(func(op memlog.Op) memlog.Fault {
		if op.Kind != memlog.Append || !bytes.Contains(op.Rec, []byte(text)) {
			return memlog.Fault{}
		}
		appending <- struct{}{}
		return memlog.Fault{Delay: d}
	})
	return appending
}

// loseAnswers has those appends answered by nobody for which f is true, whichever node
// makes them.
func (c *testCluster) loseAnswers(f func(rec []byte) bool) {
	for _, n := range c.nodes {
		for i := range n.fabric.Shards() {
			n.fabric.View(i).SetHook(func(op memlog.Op) memlog.Fault {
				if op.Kind == memlog.Append && f(op.Rec) {
					return memlog.Fault{LoseAnswer: true, Err: memlog.ErrTimeout}
				}
				return memlog.Fault{}
			})
		}
	}
}

// within waits for a condition for a shorter time than until.
func (c *client) within(d time.Duration, cond func() bool) bool {
	deadline := time.After(d)
	for {
		c.mu.Lock()
		ok := cond()
		c.mu.Unlock()
		if ok {
			return true
		}
		select {
		case <-c.news:
		case <-deadline:
			return false
		}
	}
}

func subscribed(t *testing.T, c *client, queue string, token uint64) routing.Subscription {
	t.Helper()
	sub := c.s.Subscribe(routing.SubscribeOptions{Address: routing.Queue(queue)}, c, c, token)
	if err := c.result(token); err != nil {
		t.Fatal(err)
	}
	return sub
}

// restart replaces a severed node by a new process of the same name.
func (c *testCluster) restart(i int, session uint64) *testNode {
	c.t.Helper()
	old := c.nodes[i]
	name := old.peers.node
	old.Close()
	_ = old.fabric.Close()
	c.nodes[i] = c.start(c.nodes[0].fabric.Join(name), name, session)
	return c.nodes[i]
}

var accepted = routing.Outcome{Kind: routing.Accepted}
