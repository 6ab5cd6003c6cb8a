// Package clustertest runs the nodes of a cluster in one process, on loopback,
// for tests: they can be stopped, started again, cut off and frozen, and the
// test waits on states. It knows nodes and who leads; it does not know what is
// in their logs.
package clustertest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/selvedge-mq/selvedge/cluster"
)

// Patience is how long a state is waited for before the test fails: longer than
// any of them takes on a busy machine.
const Patience = 2 * time.Minute

// The ports that nodes listen at: others than those of the black-box tests, and than
// those that the system takes by itself.
const (
	firstPort = 12000
	ports     = 8000
)

// tick is the time between two looks at a state.
const tick = 10 * time.Millisecond

// Cluster is a number of nodes with the names n0, n1 and so on.
type Cluster struct {
	t       testing.TB
	dir     string
	configs []cluster.Options
	links   map[[2]int]*link // from one node to another
	addrs   []string         // that the nodes listen at

	mu    sync.Mutex
	nodes []*cluster.Node // nil while stopped
}

// New makes a cluster of n nodes and starts none. configure, which may be nil,
// changes a node's options. Everything ends with the test.
func New(tb testing.TB, n int, configure func(i int, o *cluster.Options)) *Cluster {
	tb.Helper()
	c := &Cluster{
		t:     tb,
		dir:   tb.TempDir(),
		links: make(map[[2]int]*link),
		addrs: freeAddrs(tb, n+1),
		nodes: make([]*cluster.Node, n),
	}
	unreachable := c.addrs[n] // what gossip tells: nodes meet over the links alone
	for from := range n {
		for to := range n {
			if from != to {
				c.links[[2]int{from, to}] = newLink(tb, c.addrs[to])
			}
		}
	}
	for i := range n {
		o := cluster.Options{
			Node:        fmt.Sprintf("n%d", i),
			Dir:         filepath.Join(c.dir, fmt.Sprintf("n%d", i)),
			Listen:      c.addrs[i],
			Advertise:   unreachable,
			ClusterName: "test",
			Secret:      "a secret of the test",
			Election:    Election,
			// A disk that many tests share may take longer than the default for a record.
			AppendTimeout: Patience / 5,
			Log:           zerolog.New(zerolog.NewTestWriter(tb)).Level(zerolog.InfoLevel),
			Version:       "test",
		}
		for to := range n {
			if to != i {
				o.Seeds = append(o.Seeds, c.links[[2]int{i, to}].addr())
			}
		}
		if configure != nil {
			configure(i, &o)
		}
		c.configs = append(c.configs, o)
	}
	tb.Cleanup(c.killAll)
	return c
}

// Start makes a cluster of n nodes, starts them all and waits until they are
// ready.
func Start(tb testing.TB, n int, configure func(i int, o *cluster.Options)) *Cluster {
	tb.Helper()
	c := New(tb, n, configure)
	c.StartAll()
	c.WaitReady()
	return c
}

// Len returns the number of nodes, stopped ones included.
func (c *Cluster) Len() int { return len(c.configs) }

// Options returns the options that a node is started with.
func (c *Cluster) Options(i int) cluster.Options { return c.configs[i] }

// SetOptions changes the options for the next start of a node.
func (c *Cluster) SetOptions(i int, change func(o *cluster.Options)) { change(&c.configs[i]) }

// Node returns a node that runs.
func (c *Cluster) Node(i int) *cluster.Node {
	c.t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.nodes[i] == nil {
		c.t.Fatalf("node n%d does not run", i)
	}
	return c.nodes[i]
}

// Running returns the numbers of the nodes that run.
func (c *Cluster) Running() []int {
	c.mu.Lock()
	defer c.mu.Unlock()
	var running []int
	for i, n := range c.nodes {
		if n != nil {
			running = append(running, i)
		}
	}
	return running
}

// StartNode starts one node; it does not wait until it is ready.
func (c *Cluster) StartNode(i int) *cluster.Node {
	c.t.Helper()
	n, err := c.open(i)
	if err != nil {
		c.t.Fatalf("start of node n%d: %v", i, err)
	}
	return n
}

func (c *Cluster) open(i int) (*cluster.Node, error) {
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	n, err := cluster.Open(ctx, c.configs[i])
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.nodes[i] = n
	return n, nil
}

// StartAll starts all nodes that do not run, at once.
func (c *Cluster) StartAll() {
	c.t.Helper()
	errs := make(chan error, c.Len())
	var wg sync.WaitGroup
	for i := range c.Len() {
		if c.running(i) {
			continue
		}
		wg.Go(func() {
			if _, err := c.open(i); err != nil {
				errs <- fmt.Errorf("start of node n%d: %w", i, err)
			}
		})
	}
	wg.Wait()
	close(errs)
	for err := range errs {
		c.t.Error(err)
	}
	if c.t.Failed() {
		c.t.FailNow()
	}
}

func (c *Cluster) running(i int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.nodes[i] != nil
}

// Stop stops a node in order: it hands over first.
func (c *Cluster) Stop(i int) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	if err := c.take(i).Close(ctx); err != nil {
		c.t.Errorf("stop of node n%d: %v", i, err)
	}
}

// StopAll stops all nodes that run, at once.
func (c *Cluster) StopAll() {
	var wg sync.WaitGroup
	for _, i := range c.Running() {
		wg.Go(func() { c.Stop(i) })
	}
	wg.Wait()
}

// Kill cuts a node off, so that it cannot hand anything over, and ends it. To the
// other nodes that is a killed process.
func (c *Cluster) Kill(i int) {
	c.t.Helper()
	c.Cut(i)
	c.take(i).Kill()
	c.Mend(i)
}

// take removes a node from those that run.
func (c *Cluster) take(i int) *cluster.Node {
	c.t.Helper()
	n := c.Node(i)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.nodes[i] = nil
	return n
}

// killAll ends everything with the test.
func (c *Cluster) killAll() {
	var wg sync.WaitGroup
	for _, i := range c.Running() {
		n := c.take(i)
		wg.Go(n.Kill)
	}
	wg.Wait()
	for _, l := range c.links {
		l.close()
	}
}

// Cut closes all connections of a node with the others and refuses new ones.
func (c *Cluster) Cut(i int) { c.eachLink(i, (*link).cut) }

// CutPair closes all connections of two nodes with each other and refuses new ones.
func (c *Cluster) CutPair(i, j int) {
	c.links[[2]int{i, j}].cut()
	c.links[[2]int{j, i}].cut()
}

// Freeze keeps the connections of a node with the others open, but nothing gets
// through: what is on its way arrives after Mend.
func (c *Cluster) Freeze(i int) { c.eachLink(i, (*link).freeze) }

// Mend ends Cut and Freeze.
func (c *Cluster) Mend(i int) { c.eachLink(i, (*link).mend) }

func (c *Cluster) eachLink(i int, f func(*link)) {
	for pair, l := range c.links {
		if pair[0] == i || pair[1] == i {
			f(l)
		}
	}
}

// WaitReady waits until all nodes that run are ready.
func (c *Cluster) WaitReady() {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	for _, i := range c.Running() {
		if err := c.Node(i).WaitReady(ctx); err != nil {
			c.t.Fatalf("node n%d: %v", i, err)
		}
	}
}

// WaitHealthy waits until all nodes that run see all replicas there and caught up.
func (c *Cluster) WaitHealthy() {
	c.t.Helper()
	c.Wait("every replica is there and caught up", func() bool {
		for _, i := range c.Running() {
			if !c.Node(i).Healthy() {
				return false
			}
		}
		return true
	})
}

// WaitSpread waits until the nodes lead about as many shards each, so that no
// leadership moves any more by itself. All nodes must run.
func (c *Cluster) WaitSpread() {
	c.t.Helper()
	c.Wait("the leaders are spread", func() bool {
		counts := make([]int, c.Len())
		for shard := range c.Node(0).Shards() {
			leader := c.leader(shard)
			if leader < 0 {
				return false
			}
			counts[leader]++
		}
		return slices.Max(counts)-slices.Min(counts) <= 1
	})
}

// WaitLeader waits until the nodes that run agree about the leader of a shard,
// one of them, and returns its number.
func (c *Cluster) WaitLeader(shard int) int {
	c.t.Helper()
	leader := -1
	c.Wait(fmt.Sprintf("shard %d has a leader", shard), func() bool {
		leader = c.leader(shard)
		return leader >= 0
	})
	return leader
}

// leader returns the node that the running nodes agree upon, -1 if they do not.
func (c *Cluster) leader(shard int) int {
	name, number := "", -1
	for _, i := range c.Running() {
		s := c.Node(i).ShardStats(shard)
		if s.Leader == "" || name != "" && s.Leader != name {
			return -1
		}
		name = s.Leader
		if name == c.configs[i].Node {
			number = i
		}
	}
	return number
}

// Wait waits until state holds; what says what that means.
func (c *Cluster) Wait(what string, state func() bool) {
	c.t.Helper()
	limit := time.NewTimer(Patience)
	defer limit.Stop()
	t := time.NewTicker(tick)
	defer t.Stop()
	for !state() {
		select {
		case <-t.C:
		case <-limit.C:
			c.t.Fatalf("waited in vain until %s", what)
		}
	}
}

// freeAddrs returns loopback addresses that nobody listens at. They are not of the
// range that the system takes ports from by itself, or it would give them away
// while a node is stopped. Nor does another test, in this process or another: an
// address is claimed until the test ends, by a socket of the other protocol.
func freeAddrs(tb testing.TB, n int) []string {
	tb.Helper()
	addrs := make([]string, 0, n)
	for len(addrs) < n {
		addr := fmt.Sprintf("127.0.0.1:%d", firstPort+rand.IntN(ports)) //nolint:gosec // no secret
		claim, err := new(net.ListenConfig).ListenPacket(tb.Context(), "udp", addr)
		if errors.Is(err, syscall.EADDRINUSE) {
			continue
		}
		if err != nil {
			tb.Fatal(err)
		}
		tb.Cleanup(func() { _ = claim.Close() }) // nothing is sent
		l, err := new(net.ListenConfig).Listen(tb.Context(), "tcp", addr)
		if errors.Is(err, syscall.EADDRINUSE) {
			continue
		}
		if err != nil {
			tb.Fatal(err)
		}
		_ = l.Close() // it has shown that the address is free
		addrs = append(addrs, addr)
	}
	return addrs
}
