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
	c := clustertest.Start(t, 3, func(_ int, o *cluster.Options) { o.Shards = 15 })
	c.WaitHealthy()
	c.WaitSpread()
	next := 0
	logtest.Run(t, func(*testing.T) engine.Log {
		shard := next
		next++
		return c.Node(waitTaking(t, c, shard)).Log(shard)
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
	k := clustertest.Start(t, 3, func(_ int, o *cluster.Options) { o.Shards = 2 })
	k.WaitHealthy()
	for n, c := range []struct {
		name string
		end  func(c *clustertest.Cluster, i int)
	}{
		{"stopped in order", (*clustertest.Cluster).Stop},
		{"killed", (*clustertest.Cluster).Kill},
	} {
		t.Run(c.name, func(t *testing.T) {
			recs := numbered(6 * (n + 1)) // six more in each case, the last by the next leader
			k.WaitSpread()
			first := waitTaking(t, k, 0)
			for i := 6 * n; i < len(recs)-1; i++ {
				mustAppend(t, k.Node(first).Log(0), uint64(i), recs[i])
			}
			c.end(k, first)
			if second := k.WaitLeader(0); second == first {
				t.Fatalf("got the leader n%d, which does not run", second)
			}
			l := k.Node(waitTaking(t, k, 0)).Log(0)
			mustAppend(t, l, uint64(len(recs)-1), recs[len(recs)-1])
			if got := records(t, l); !slices.Equal(got, recs) {
				t.Errorf("got %q, want %q", got, recs)
			}
			k.StartNode(first)
			k.WaitReady()
			k.WaitHealthy()
			if got := records(t, k.Node(first).Log(0)); !slices.Equal(got, recs) {
				t.Errorf("from the node that came back: got %q, want %q", got, recs)
			}
		})
	}
}

// waitTaking waits until the leader of a shard takes appends, which is a moment after
// the others know of it, and returns its number.
func waitTaking(t *testing.T, c *clustertest.Cluster, shard int) int {
	t.Helper()
	leader := -1
	c.Wait(fmt.Sprintf("the leader of shard %d takes appends", shard), func() bool {
		leader = c.WaitLeader(shard)
		return c.Node(leader).Leads(shard)
	})
	return leader
}

// waitLeads waits until a node says by its channel that it leads a shard. The channel
// may still tell of a leadership that was before: see waitTaking.
func waitLeads(t *testing.T, c *clustertest.Cluster, i, shard int) {
	t.Helper()
	want := engine.Leadership{Shard: shard, Leads: true}
	for receive(t, c.Node(i).Leadership(), "leadership") != want {
	}
}

func TestNode_RestartOfAllKeepsEverything(t *testing.T) {
	t.Parallel()
	k := clustertest.Start(t, 3, func(_ int, o *cluster.Options) { o.Shards = 2 })
	for n, c := range []struct {
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
			recs := numbered(20 * (n + 1)) // twenty more in each case
			l := k.Node(waitTaking(t, k, 1)).Log(1)
			for i := 20 * n; i < len(recs); i++ {
				mustAppend(t, l, uint64(i), recs[i])
			}
			first := 20*n + 5
			if err := l.Purge(t.Context(), uint64(first)); err != nil {
				t.Fatal(err)
			}
			c.end(k)
			k.StartAll()
			k.WaitReady()
			k.WaitHealthy()
			for i := range k.Len() {
				// One that ended before it had purged may still hold what was purged.
				got := records(t, k.Node(i).Log(1))
				if from := len(recs) - len(got); from < 0 || from > first || !slices.Equal(got, recs[from:]) {
					t.Errorf("from n%d: got %q, want %q, and nothing but what was before", i, got, recs[first:])
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
	k.Wait("the others do not call the cluster healthy", func() bool {
		return !k.Node(0).Healthy() && !k.Node(1).Healthy()
	})
	for i := range 2 {
		if got := stateOf(k, i, "n2"); got != cluster.MemberUp {
			t.Errorf("n%d calls n2 %s, want that it was missed before its silence", i, got)
		}
	}
}
