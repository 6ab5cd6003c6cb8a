package integration

import (
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/selvedge-mq/selvedge/integration/harness"
	"github.com/selvedge-mq/selvedge/integration/history"
	"github.com/selvedge-mq/selvedge/integration/interop"
)

// fill sends count messages and returns the ledger, all confirmed.
func fill(t *testing.T, n *harness.Node, queue string, count int) *ledger {
	t.Helper()
	l := newLedger()
	produce(bounded(t), t, l, count, mixed([]*harness.Node{n}, queue))()
	if t.Failed() {
		t.FailNow()
	}
	return l
}

// empty receives everything by way of a node and checks that it is all there,
// each message exactly once.
func empty(t *testing.T, l *ledger, n *harness.Node, queue string, count int) history.Verdict {
	t.Helper()
	amqp := interop.GoAMQP{}
	harness.AwaitDepth(t, n.HTTP, queue, count)
	consume(bounded(t), t, l, count, amqp, at(n, amqp, queue))()
	v := l.check(t, count, true)
	harness.AwaitDepth(t, n.HTTP, queue, 0)
	return v
}

// All three nodes stop at once: what was confirmed is there when they are back.
func TestFaultRestartAll(t *testing.T) {
	beside(t)
	for _, c := range []struct {
		name string
		end  func(*harness.Cluster)
	}{
		{"gracefully", (*harness.Cluster).StopAll},
		{"by kill -9", (*harness.Cluster).KillAll},
	} {
		t.Run(c.name, func(t *testing.T) {
			cluster, count := harness.StartCluster(t, 3), messages(t)/4
			l := fill(t, cluster.Nodes[0], "kept", count)
			c.end(cluster)
			begin := time.Now()
			cluster.StartAll()
			took := rounded(time.Since(begin))
			measured(t, "restart of three nodes %s, healthy after %v", c.name, took)
			v := empty(t, l, cluster.Nodes[1], "kept", count)
			figure(t, "restart of all three "+c.name, tallied(&v), fmt.Sprintf("healthy after %v", took), "")
		})
	}
}

// The same in the middle of confirmed sends, with consumers at work: clients lose
// their connections and connect again, and miss nothing.
func TestFaultRestartAllUnderLoad(t *testing.T) {
	beside(t)
	for _, c := range []struct {
		name string
		end  func(*harness.Cluster)
	}{
		{"in order", (*harness.Cluster).StopAll},
		{"by kill -9", (*harness.Cluster).KillAll},
	} {
		t.Run(c.name, func(t *testing.T) {
			cluster, crowd, times := harness.StartCluster(t, 3), newCrowd(t), rounds(t, 3)
			for i, n := range cluster.Nodes {
				pinned(crowd, n, ledBy(t, cluster.Nodes[0], cluster.Nodes[(i+1)%3].Name, "loaded-"+n.Name))
			}
			for i := range times {
				crowd.afterConfirmed(500)
				crowd.harm("all end")
				c.end(cluster)
				cluster.StartAll()
				progress(t, "restart of all three under load, %d of %d", i+1, times)
			}
			crowd.afterConfirmed(500)
			v := crowd.finish()
			complain(t, &v)
			measured(t, "restart of three nodes under load %s: %s", c.name, &v)
			pausedAll(t, fmt.Sprintf("restart of all three under load %s, %d times", c.name, times), tallied(&v), v.Pause.Length)
		})
	}
}

// The disk of a node is replaced by an empty one: the node is filled from the
// others, and then holds everything when one of those is gone.
func TestFaultWipedDisk(t *testing.T) {
	beside(t)
	c, count := harness.StartCluster(t, 3), messages(t)/4
	l := fill(t, c.Nodes[0], "refilled", count)
	lost := c.Node("c")
	lost.Kill()
	if err := os.RemoveAll(lost.Data()); err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	lost.Restart()
	c.AwaitHealthy()
	took := rounded(time.Since(begin))
	measured(t, "a node with an empty disk: healthy after %v", took)
	c.Node("a").Kill() // of the two that are left, both are needed
	v := empty(t, l, c.Node("b"), "refilled", count)
	figure(t, "the disk of one node is empty, then another is killed", tallied(&v), fmt.Sprintf("healthy after %v", took), "")
	c.Node("a").Restart()
	c.AwaitHealthy()
}

// A node that runs alone keeps its messages.
func TestFaultRestartAlone(t *testing.T) {
	beside(t)
	for _, c := range []struct {
		name string
		end  func(*harness.Node)
	}{
		{"gracefully", (*harness.Node).Stop},
		{"by kill -9", (*harness.Node).Kill},
	} {
		t.Run(c.name, func(t *testing.T) {
			n, count := harness.Start(t, harness.Options{}), messages(t)/4
			l := fill(t, n, "kept", count)
			c.end(n)
			n.Restart()
			empty(t, l, n, "kept", count)
		})
	}
}
