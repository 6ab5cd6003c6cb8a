package cluster_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/selvedge-mq/selvedge/cluster"
	"github.com/selvedge-mq/selvedge/cluster/clustertest"
	"github.com/selvedge-mq/selvedge/routing/engine"
	"github.com/selvedge-mq/selvedge/routing/logtest"
)

func TestLog_ThreeReplicas(t *testing.T) {
	t.Parallel()
	c := clustertest.Start(t, 3, func(_ int, o *cluster.Options) {
		o.Shards = 15
		o.AppendTimeout = clustertest.Patience / 4 // the largest record, with the race detector
	})
	c.WaitHealthy()
	c.WaitSpread()
	next := 0
	logtest.Run(t, func(*testing.T) engine.Log {
		shard := next
		next++
		return c.Node(c.WaitLeader(shard)).Log(shard)
	})
}

// mustAppend appends a record through a node and waits for it.
func mustAppend(t *testing.T, l engine.Log, expect uint64, rec string) {
	t.Helper()
	done := make(chan error, 1)
	l.Append(expect, []byte(rec), func(_ uint64, err error) { done <- err })
	if err := receive(t, done, "the answer to an append"); err != nil {
		t.Fatalf("append of %q behind %d: %v", rec, expect, err)
	}
}

// receive takes a value from a channel; what says what it is.
func receive[T any](t *testing.T, c <-chan T, what string) T {
	t.Helper()
	select {
	case v, open := <-c:
		if !open {
			t.Fatalf("%s will not come: the channel is closed", what)
		}
		return v
	case <-time.After(clustertest.Patience):
		t.Fatalf("waited in vain for %s", what)
	}
	panic("unreachable")
}

// records returns what a node reads of a log.
func records(t *testing.T, l engine.Log) []string {
	t.Helper()
	var recs []string
	err := l.Scan(t.Context(), 1, func(_ uint64, rec []byte) error {
		recs = append(recs, string(rec))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return recs
}

func numbered(n int) []string {
	var recs []string
	for i := range n {
		recs = append(recs, fmt.Sprintf("record %d", i))
	}
	return recs
}

func TestNode_LeadershipMovesWhenANodeEnds(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		end  func(c *clustertest.Cluster, i int)
	}{
		{"stopped in order", (*clustertest.Cluster).Stop},
		{"killed", (*clustertest.Cluster).Kill},
	} {
		t.Run(c.name, func(t *testing.T) {
			k := clustertest.Start(t, 3, func(_ int, o *cluster.Options) { o.Shards = 2 })
			k.WaitHealthy()
			first := k.WaitLeader(0)
			for i, rec := range numbered(5) {
				mustAppend(t, k.Node(first).Log(0), uint64(i), rec)
			}
			c.end(k, first)
			second := k.WaitLeader(0)
			if second == first {
				t.Fatalf("got the leader n%d, which does not run", second)
			}
			l := k.Node(second).Log(0)
			waitLeads(t, k, second, 0)
			mustAppend(t, l, 5, "record 5")
			if got := records(t, l); !slices.Equal(got, numbered(6)) {
				t.Errorf("got %q, want %q", got, numbered(6))
			}
			k.StartNode(first)
			k.WaitReady()
			k.WaitHealthy()
			if got := records(t, k.Node(first).Log(0)); !slices.Equal(got, numbered(6)) {
				t.Errorf("from the node that came back: got %q, want %q", got, numbered(6))
			}
		})
	}
}

// waitLeads waits until a node says by its channel that it leads a shard.
func waitLeads(t *testing.T, c *clustertest.Cluster, i, shard int) {
	t.Helper()
	want := engine.Leadership{Shard: shard, Leads: true}
	for receive(t, c.Node(i).Leadership(), "leadership") != want {
	}
}

func TestNode_RestartOfAllKeepsEverything(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		end  func(c *clustertest.Cluster)
	}{
		{"stopped in order", (*clustertest.Cluster).StopAll},
		{"killed", func(c *clustertest.Cluster) {
			for i := range c.Len() {
				c.Kill(i)
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			k := clustertest.Start(t, 3, func(_ int, o *cluster.Options) { o.Shards = 2 })
			l := k.Node(k.WaitLeader(1)).Log(1)
			for i, rec := range numbered(20) {
				mustAppend(t, l, uint64(i), rec)
			}
			if err := l.Purge(t.Context(), 5); err != nil {
				t.Fatal(err)
			}
			c.end(k)
			k.StartAll()
			k.WaitReady()
			k.WaitHealthy()
			for i := range k.Len() {
				if got := records(t, k.Node(i).Log(1)); !slices.Equal(got, numbered(20)[5:]) {
					t.Errorf("from n%d: got %q, want %q", i, got, numbered(20)[5:])
				}
			}
		})
	}
}

// A cluster is not healthy before all its nodes are there, nor a moment longer
// than they are.
func TestNode_HealthyFromTheLastStartToTheFirstEnd(t *testing.T) {
	t.Parallel()
	k := clustertest.New(t, 3, func(_ int, o *cluster.Options) { o.Shards = 2 })
	k.StartNode(0)
	k.StartNode(1)
	k.WaitReady()
	k.StartNode(2)
	k.Wait("the cluster of three is healthy", func() bool {
		healthy, up := k.Node(0).Healthy(), 0
		for _, m := range k.Node(0).Members() {
			if m.State == cluster.MemberUp {
				up++
			}
		}
		three := len(k.Node(0).Replicas(0)) == 3
		if healthy && three && up < 3 {
			t.Fatalf("healthy with %d of three nodes up", up)
		}
		return healthy && three
	})
	k.WaitHealthy()
	k.Cut(2) // its connections end, as those of a killed process do
	killed := time.Now()
	k.Wait("the others do not call the cluster healthy", func() bool {
		return !k.Node(0).Healthy() && !k.Node(1).Healthy()
	})
	if took := time.Since(killed); took > time.Second {
		t.Errorf("healthy for %v after a node was cut off", took)
	}
}
