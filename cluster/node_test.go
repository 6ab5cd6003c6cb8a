package cluster_test

import (
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/selvedge-mq/selvedge/cluster"
	"github.com/selvedge-mq/selvedge/cluster/clustertest"
	"github.com/selvedge-mq/selvedge/internal/linetest"
	"github.com/selvedge-mq/selvedge/internal/metrictest"
	"github.com/selvedge-mq/selvedge/routing/engine"
)

func TestNode_RefusesOtherNodes(t *testing.T) {
	t.Parallel()
	logs := &linetest.Lines{}
	k := clustertest.New(t, 3, func(_ int, o *cluster.Options) { o.Shards, o.Log = 1, zerolog.New(logs) })
	k.StartNode(0)
	k.StartNode(1) // two of three are a cluster
	good := k.Options(2)
	for _, c := range []struct {
		name   string
		change func(o *cluster.Options)
		reason string
	}{
		{"with another secret", func(o *cluster.Options) { o.Secret = "another secret" }, "its secret differs from ours"},
		{"of another cluster", func(o *cluster.Options) { o.ClusterName = "other" }, "its cluster name differs from ours"},
	} {
		t.Run(c.name, func(t *testing.T) {
			logs.Reset()
			k.SetOptions(2, func(o *cluster.Options) {
				*o = good
				o.Dir = t.TempDir() // a folder remembers its cluster
				c.change(o)
			})
			stranger := k.StartNode(2)
			defer k.Kill(2)
			k.Wait("both sides tell", func() bool {
				return logs.Count(`"node":"n0"`, `"warn"`, "refused a node", c.reason) > 0 &&
					logs.Count(`"node":"n2"`, `"warn"`, "refused by another node") > 0
			})
			ctx, cancel := context.WithTimeout(t.Context(), clustertest.Patience)
			defer cancel()
			for _, i := range []int{0, 1} {
				if err := k.Node(i).WaitReady(ctx); err != nil {
					t.Fatal(err)
				}
			}
			if stranger.Quorum() || stranger.Ready() == nil {
				t.Error("the node that was refused has a quorum")
			}
			for _, m := range k.Node(0).Members() {
				if m.Name == "n2" {
					t.Errorf("the node that was refused is a member: %+v", m)
				}
			}
			if logs.Count("another secret")+logs.Count("a secret of the test") > 0 {
				t.Error("a secret is in the log")
			}
		})
	}
}

func TestNode_MembersSeeEachOther(t *testing.T) {
	t.Parallel()
	k := clustertest.Start(t, 3, func(i int, o *cluster.Options) {
		o.Shards = 1
		o.FrontOnly = i == 2
	})
	for i := range k.Len() {
		k.Node(i).SetStatus([]byte{byte('a' + i)})
	}
	want := []string{"n0 up true a", "n1 up true b", "n2 up false c"}
	for i := range k.Len() {
		k.Wait("all members are seen", func() bool { return cmp.Equal(want, memberLines(k.Node(i))) })
	}
	session := k.Node(1).Session()
	k.Stop(1)
	k.Wait("the goodbye is heard", func() bool { return slices.Contains(memberLines(k.Node(0)), "n1 left true b") })
	k.StartNode(1)
	k.Wait("the node is back", func() bool { return slices.Contains(memberLines(k.Node(0)), "n1 up true ") })
	if k.Node(1).Session() == session {
		t.Error("got the same session after a restart, want a new one")
	}
}

func memberLines(n *cluster.Node) []string {
	var lines []string
	for _, m := range n.Members() {
		storage := "false"
		if m.Storage {
			storage = "true"
		}
		lines = append(lines, m.Name+" "+string(m.State)+" "+storage+" "+string(m.Status))
	}
	return lines
}

func TestNode_FrontOnlyReachesTheLogs(t *testing.T) {
	t.Parallel()
	k := clustertest.Start(t, 4, func(i int, o *cluster.Options) {
		o.Shards = 2
		if i == 3 {
			o.FrontOnly, o.Dir = true, ""
			return
		}
		o.Seeds = o.Seeds[:2] // the front-only node is no seed
	})
	front := k.Node(3)
	l := front.Log(1)
	for i, rec := range numbered(600) {
		mustAppend(t, l, uint64(i), rec)
	}
	if got := records(t, l); !slices.Equal(got, numbered(600)) {
		t.Errorf("got %d records, want 600 in order", len(got))
	}
	if err := l.Purge(t.Context(), 10); err != nil {
		t.Fatal(err)
	}
	if first, last, err := l.Bounds(t.Context()); err != nil || first != 11 || last != 600 {
		t.Errorf("got %d to %d, error %v, want 11 to 600", first, last, err)
	}
	if got := front.Replicas(1); !slices.Equal(got, []string{"n0", "n1", "n2"}) {
		t.Errorf("got replicas %q, want the three nodes that store", got)
	}
}

func TestNode_ReplicasAreRaisedWhenNodesJoin(t *testing.T) {
	t.Parallel()
	k := clustertest.New(t, 3, func(_ int, o *cluster.Options) { o.Shards = 2 })
	k.StartNode(0)
	k.StartNode(1)
	k.WaitReady()
	if got := k.Node(0).Replicas(0); len(got) != 2 {
		t.Fatalf("got replicas %q, want two", got)
	}
	l := k.Node(waitTaking(t, k, 0)).Log(0)
	for i, rec := range numbered(50) {
		mustAppend(t, l, uint64(i), rec)
	}
	k.StartNode(2)
	k.Wait("all logs have three replicas", func() bool {
		return len(k.Node(0).Replicas(0)) == 3 && len(k.Node(0).Replicas(1)) == 3
	})
	k.WaitReady()
	k.WaitHealthy()
	if got := records(t, k.Node(2).Log(0)); !slices.Equal(got, numbered(50)) {
		t.Errorf("from the new node: got %d records, want 50 in order", len(got))
	}
}

func TestNode_ResignHandsOver(t *testing.T) {
	t.Parallel()
	k := clustertest.Start(t, 3, func(_ int, o *cluster.Options) { o.Shards = 1 })
	k.WaitHealthy()
	first := k.WaitLeader(0)
	waitLeads(t, k, first, 0)
	for i := range k.Len() {
		if i == first {
			continue
		}
		if err := k.Node(i).Resign(t.Context(), 0); !errors.Is(err, cluster.ErrNotLeader) {
			t.Errorf("n%d: got %v, want %v", i, err, cluster.ErrNotLeader)
		}
	}
	// Also a leadership that comes back at once, before anybody looked, is told to
	// have ended.
	if err := k.Node(first).Resign(t.Context(), 0); err != nil {
		t.Fatalf("the leader n%d: %v", first, err)
	}
	if got := receive(t, k.Node(first).Leadership(), "the end of the leadership"); got != (engine.Leadership{}) {
		t.Fatalf("got the change %+v, want the end of the leadership", got)
	}
	waitLeads(t, k, k.WaitLeader(0), 0)
}

func TestNode_ResignAloneEndsAndBegins(t *testing.T) {
	n := openStandalone(t, t.TempDir())
	want := []engine.Leadership{{Leads: true}, {}, {Leads: true}}
	got := []engine.Leadership{receive(t, n.Leadership(), "leadership")}
	if err := n.Resign(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		got = append(got, receive(t, n.Leadership(), "a change of leadership"))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("changes (-want +got):\n%s", diff)
	}
	if err := n.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, open := <-n.Leadership(); open {
		t.Error("got an open channel after Close, want a closed one")
	}
}

// openStandalone opens a node of one shard on its own, closed with the test.
func openStandalone(t *testing.T, dir string) *cluster.Node {
	t.Helper()
	n, err := cluster.Open(t.Context(), cluster.Options{
		Node: "alone", Dir: dir, Shards: 1, AppendTimeout: clustertest.Patience / 5, Log: zerolog.New(io.Discard),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.Kill)
	return n
}

func TestNode_LeaderThatIsFrozenIsReplaced(t *testing.T) {
	t.Parallel()
	k := clustertest.Start(t, 3, func(_ int, o *cluster.Options) {
		o.Shards, o.AppendTimeout = 1, cluster.DefaultAppendTimeout // an append that stays silent is meant
	})
	k.WaitHealthy()
	first := k.WaitLeader(0)
	waitLeads(t, k, first, 0)
	mustAppend(t, k.Node(first).Log(0), 0, "record 0")
	k.Freeze(first)
	lost := make(chan error, 1)
	k.Node(first).Log(0).Append(1, []byte("lost"), func(_ uint64, err error) { lost <- err })
	second := -1
	k.Wait("another node leads", func() bool {
		for i := range k.Len() {
			if i != first && k.Node(i).ShardStats(0).Leader == k.Options(i).Node {
				second = i
			}
		}
		return second >= 0
	})
	waitLeads(t, k, second, 0)
	mustAppend(t, k.Node(second).Log(0), 1, "record 1")
	if err := receive(t, lost, "the answer to an append without quorum"); err == nil || errors.Is(err, engine.ErrConflict) {
		t.Errorf("append without quorum: got %v, want an unknown outcome", err)
	}
	for receive(t, k.Node(first).Leadership(), "the end of a leadership without quorum").Leads {
	}
	k.Mend(first)
	k.WaitReady()
	k.WaitHealthy()
	for i := range k.Len() {
		if got := records(t, k.Node(i).Log(0)); !slices.Equal(got, numbered(2)) {
			t.Errorf("from n%d: got %q, want %q", i, got, numbered(2))
		}
	}
}

func TestNode_LeadersSpread(t *testing.T) {
	t.Parallel()
	k := clustertest.Start(t, 3, func(_ int, o *cluster.Options) { o.Shards = 6 })
	k.WaitHealthy()
	k.Stop(2) // what it led goes to the others
	for shard := range 6 {
		k.WaitLeader(shard)
	}
	k.StartNode(2)
	k.WaitReady()
	k.WaitSpread()
}

func TestNode_AnotherNumberOfShardsIsRefusedAndCorrected(t *testing.T) {
	t.Parallel()
	k := clustertest.New(t, 3, func(i int, o *cluster.Options) {
		o.Shards = 2
		if i == 2 {
			o.Shards = 3
		}
	})
	k.StartNode(0)
	k.StartNode(1)
	k.WaitReady()
	k.StartNode(2)
	if err := receive(t, k.Node(2).Failed(), "the failure"); !errors.Is(err, cluster.ErrShards) {
		t.Errorf("got %v, want %v", err, cluster.ErrShards)
	}
	k.Stop(2)
	k.Wait("another one knows why", func() bool {
		return slices.ContainsFunc(slices.Concat(k.Node(0).Members(), k.Node(1).Members()), func(m cluster.Member) bool {
			return m.Name == "n2" && m.State == cluster.MemberLeft && strings.Contains(m.Ended, "the cluster has 2, this node was started with 3")
		})
	})
	k.StartNode(2)
	k.WaitReady()
	if got := k.Node(2).Shards(); got != 2 {
		t.Errorf("got %d shards after the restart, want 2", got)
	}
}

func TestFolder_StandaloneIsReadFromTheCluster(t *testing.T) {
	t.Parallel()
	k := clustertest.New(t, 3, func(_ int, o *cluster.Options) { o.Shards = 2 })
	old := openStandalone(t, k.Options(0).Dir)
	for i, rec := range numbered(30) {
		mustAppend(t, old.Log(0), uint64(i), rec)
	}
	if err := old.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	k.StartAll()
	k.WaitReady()
	for _, retire := range []bool{false, true} {
		f, err := cluster.OpenFolder(t.Context(), k.Node(0).ImportDir(), zerolog.New(io.Discard))
		if err != nil {
			t.Fatal(err)
		}
		if f.Shards() != 1 || f.Node() != "alone" {
			t.Errorf("got %d shards of %q, want 1 of alone", f.Shards(), f.Node())
		}
		if got := records(t, f.Log(0)); !slices.Equal(got, numbered(30)) {
			t.Errorf("got %d records, want 30 in order", len(got))
		}
		if !retire {
			f.Close()
		} else if _, err := f.Retire(); err != nil {
			t.Fatal(err)
		}
	}
	if _, last, err := k.Node(0).Log(0).Bounds(t.Context()); err != nil || last != 0 {
		t.Errorf("got a cluster's log up to %d, error %v, want an empty one", last, err)
	}
	k.Stop(0)
	k.StartNode(0)
	if got := k.Node(0).ImportDir(); got != "" {
		t.Errorf("got %q to import after Retire, want nothing", got)
	}
}

func TestNode_Metrics(t *testing.T) {
	r := prometheus.NewRegistry()
	n, err := cluster.Open(t.Context(), cluster.Options{Node: "alone", Dir: t.TempDir(), Shards: 1, Log: zerolog.New(io.Discard), Metrics: r})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.Kill)
	receive(t, n.Leadership(), "leadership")
	mustAppend(t, n.Log(0), 0, "12345678")
	for name, want := range map[string]float64{
		"selvedge_fabric_quorum":          1,
		"selvedge_shard_led":              1,
		"selvedge_log_stored_records":     1,
		"selvedge_log_replicas_damaged":   0,
		"selvedge_log_append_bytes_total": 8,
		"selvedge_log_appends_total":      1,
	} {
		if got := metrictest.Value(t, r, name); got != want {
			t.Errorf("%s: got %v, want %v", name, got, want)
		}
	}
	n.Kill()
	if families, err := r.Gather(); err != nil || len(families) != 0 {
		t.Errorf("got %d families, error %v, after the end, want none", len(families), err)
	}
}

func TestOpen_PortInUseIsTold(t *testing.T) {
	t.Parallel()
	k := clustertest.New(t, 2, nil)
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", k.Options(0).Listen)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	n, err := cluster.Open(t.Context(), k.Options(0))
	if err == nil {
		n.Kill()
	}
	if !errors.Is(err, cluster.ErrServer) || !strings.Contains(err.Error(), "address already in use (choose another address by cluster)") {
		t.Errorf("got %v, want an ErrServer: address already in use, and what to do", err)
	}
}

func TestOpen_OptionsAreChecked(t *testing.T) {
	good := cluster.Options{Node: "n", Dir: t.TempDir()}
	inCluster := cluster.Options{
		Node: "n", Dir: t.TempDir(), Listen: "127.0.0.1:6222", ClusterName: "c", Secret: "s", Seeds: []string{"a:1"},
	}
	for _, c := range []struct {
		name   string
		base   cluster.Options
		change func(o *cluster.Options)
		want   string
	}{
		{"a node needs a name", good, func(o *cluster.Options) { o.Node = "" }, "Node"},
		{"a name has no dots", good, func(o *cluster.Options) { o.Node = "a.b" }, "Node"},
		{"a node that stores needs a folder", good, func(o *cluster.Options) { o.Dir = "" }, "Dir"},
		{"there is at least one shard", good, func(o *cluster.Options) { o.Shards = -1 }, "Shards"},
		{"a node on its own has no seeds", good, func(o *cluster.Options) { o.Seeds = []string{"a:1"} }, "Seeds"},
		{"a node on its own stores", good, func(o *cluster.Options) { o.FrontOnly = true }, "FrontOnly"},
		{"a cluster has a name", inCluster, func(o *cluster.Options) { o.ClusterName = "" }, "ClusterName"},
		{"a cluster has a secret", inCluster, func(o *cluster.Options) { o.Secret = "" }, "Secret"},
		{"a cluster has seeds", inCluster, func(o *cluster.Options) { o.Seeds = nil }, "Seeds"},
		{"seeds have addresses", inCluster, func(o *cluster.Options) { o.Seeds = []string{","} }, "Seeds"},
		{"seeds name another node", inCluster, func(o *cluster.Options) { o.Seeds = []string{o.Listen} }, "Seeds"},
		{"seeds have a port that is a number", inCluster, func(o *cluster.Options) { o.Seeds = []string{"a:x"} }, "Seeds"},
		{"routes need a port", inCluster, func(o *cluster.Options) { o.Listen = "127.0.0.1:0" }, "Listen"},
		{"there are not too many replicas", inCluster, func(o *cluster.Options) { o.Replicas = 6 }, "Replicas"},
		{"elections take their time", inCluster, func(o *cluster.Options) { o.Election = time.Millisecond }, "Election"},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := c.base
			c.change(&o)
			n, err := cluster.Open(t.Context(), o)
			if err == nil {
				n.Kill()
			}
			if e, ok := errors.AsType[*cluster.OptionError](err); !ok || e.Option != c.want || !strings.HasPrefix(err.Error(), "cluster: "+c.want+": ") {
				t.Errorf("got %v, want an error about %s", err, c.want)
			}
		})
	}
}
