package harness

import (
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"testing"
)

// Cluster is several nodes that know each other from the start.
type Cluster struct {
	Nodes []*Node
	t     *testing.T
}

// StartCluster starts n nodes, named a, b, c …, and waits until all serve and
// every one sees a healthy cluster.
func StartCluster(t *testing.T, n int, args ...string) *Cluster {
	t.Helper()
	c := NewCluster(t, n, args...)
	c.StartAll()
	return c
}

// NewCluster prepares n nodes without starting them.
func NewCluster(t *testing.T, n int, args ...string) *Cluster {
	t.Helper()
	return newCluster(t, make([]*Host, n), args)
}

// NewClusterOn prepares a node on each host, without starting them. They have
// the names of their hosts.
func NewClusterOn(t *testing.T, hosts []*Host, args ...string) *Cluster {
	t.Helper()
	return newCluster(t, hosts, args)
}

func newCluster(t *testing.T, hosts []*Host, args []string) *Cluster {
	t.Helper()
	c := &Cluster{t: t}
	dir, secret := Dir(t), rand.Text()
	seeds := make([]string, len(hosts))
	for i, h := range hosts {
		if h != nil {
			seeds[i] = h.Addr(6222)
		} else {
			seeds[i] = Addr(t)
		}
	}
	for i, h := range hosts {
		c.Nodes = append(c.Nodes, New(t, Options{
			Name: nodeName(i), Dir: dir, Cluster: seeds[i],
			ClusterName: "loom", Secret: secret, Seeds: seeds, Args: args, Host: h,
		}))
	}
	return c
}

// nodeName returns the name of node i: a, b, c …
func nodeName(i int) string { return string(rune('a' + i)) }

// StartAll starts every node that does not run and waits until all are healthy.
func (c *Cluster) StartAll() {
	c.t.Helper()
	var started []*Node
	for _, n := range c.Nodes {
		if !n.Running() {
			n.Launch()
			started = append(started, n)
		}
	}
	for _, n := range started {
		n.AwaitReady()
	}
	c.AwaitHealthy()
}

// AwaitHealthy waits until every node runs and sees a healthy cluster.
func (c *Cluster) AwaitHealthy() {
	c.t.Helper()
	for _, n := range c.Nodes {
		AwaitHealthy(c.t, n.HTTP, len(c.Nodes))
	}
}

// AwaitHealthy waits until the node behind the HTTP listener sees a healthy
// cluster of so many nodes.
func AwaitHealthy(t *testing.T, addr string, nodes int) {
	t.Helper()
	Until(t, fmt.Sprintf("a healthy cluster of %d nodes at %s", nodes, addr), func() (string, bool) {
		view, err := LookNodes(addr)
		if err != nil {
			return err.Error(), false
		}
		return fmt.Sprintf("%+v", view), view.State == "healthy" && len(view.Nodes) == nodes
	})
}

// StopAll stops all nodes at once, gracefully.
func (c *Cluster) StopAll() {
	c.t.Helper()
	for _, n := range c.Nodes {
		n.Terminate()
	}
	for _, n := range c.Nodes {
		n.AwaitExit()
	}
}

// KillAll kills all nodes at once.
func (c *Cluster) KillAll() {
	var wg sync.WaitGroup
	for _, n := range c.Nodes {
		wg.Go(n.Kill)
	}
	wg.Wait()
}

// Node returns the node with that name.
func (c *Cluster) Node(name string) *Node {
	c.t.Helper()
	for _, n := range c.Nodes {
		if n.Name == name {
			return n
		}
	}
	c.t.Fatalf("no node %q", name)
	return nil
}

// Leader waits until the node behind the HTTP listener knows the leader of the
// queue's shard, and returns its name.
func Leader(t *testing.T, addr, queue string) string {
	t.Helper()
	return Led(t, addr, queue).Leader
}

// Led waits in the same way, and returns what the node says of the queue.
func Led(t *testing.T, addr, queue string) (q Queue) {
	t.Helper()
	Until(t, "a leader of the queue "+queue, func() (string, bool) {
		var err error
		q, err = Look(addr, queue)
		return fmt.Sprintf("%+v, error %v", q, err), err == nil && q.Leader != ""
	})
	return q
}

// AwaitDepth waits until the queue holds so many messages, as the node behind
// the HTTP listener sees it.
func AwaitDepth(t *testing.T, addr, queue string, depth int) {
	t.Helper()
	Until(t, fmt.Sprintf("the queue %s with %d messages", queue, depth), func() (string, bool) {
		q, err := Look(addr, queue)
		if depth == 0 && errors.Is(err, ErrNoQueue) {
			return "", true
		}
		return fmt.Sprintf("%+v, error %v", q, err), err == nil && q.Depth == depth
	})
}
