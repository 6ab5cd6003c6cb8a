package cluster_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/selvedge-mq/selvedge/cluster"
	"github.com/selvedge-mq/selvedge/cluster/clustertest"
)

// retire retires a node, asked at another one, and returns the steps.
func retire(t *testing.T, k *clustertest.Cluster, at int, node string) []string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), clustertest.Patience)
	defer cancel()
	var steps []string
	err := withQuorum(ctx, func() error {
		return k.Node(at).Retire(ctx, node, "ann", func(step string) { steps = append(steps, step) })
	}, cluster.ErrRetirement) // until the others have elected and are whole
	if err != nil {
		t.Fatalf("retire %s: %v, after %q", node, err, steps)
	}
	return steps
}

// withQuorum calls f until it says something else than that there is no quorum, or
// what also names: on a busy machine an election may take longer than f waits for it.
func withQuorum(ctx context.Context, f func() error, also ...error) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		err := f()
		again := func(kind error) bool { return errors.Is(err, kind) }
		if !again(cluster.ErrNoQuorum) && !slices.ContainsFunc(also, again) {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return err
		}
	}
}

// waitLost waits until all running nodes hear no more of a node.
func waitLost(k *clustertest.Cluster, node string) {
	k.Wait(node+" is lost", func() bool {
		for _, i := range k.Running() {
			for _, m := range k.Node(i).Members() {
				if m.Name == node && m.State != cluster.MemberLost && m.State != cluster.MemberLeft {
					return false
				}
			}
		}
		return true
	})
}

// stateOf returns how a node has last seen another one.
func stateOf(k *clustertest.Cluster, at int, node string) cluster.MemberState {
	for _, m := range k.Node(at).Members() {
		if m.Name == node {
			return m.State
		}
	}
	return ""
}

// refusedStart starts a node and wants it to be refused, as one that was retired.
func refusedStart(t *testing.T, k *clustertest.Cluster, i int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), clustertest.Patience)
	defer cancel()
	n, err := cluster.Open(ctx, k.Options(i))
	if err == nil {
		defer n.Kill()
		err = n.WaitReady(ctx)
	}
	if !errors.Is(err, cluster.ErrRetired) {
		t.Errorf("start of n%d: got %v, want %v", i, err, cluster.ErrRetired)
	}
}

func wantReplicas(t *testing.T, k *clustertest.Cluster, at int, want ...string) {
	t.Helper()
	for shard := range k.Node(at).Shards() {
		if got := k.Node(at).Replicas(shard); !slices.Equal(got, want) {
			t.Errorf("shard %d: got replicas %q, want %q", shard, got, want)
		}
	}
}

// appendTo appends a record through the leader of a shard.
func appendTo(t *testing.T, k *clustertest.Cluster, shard int, behind int, rec string) {
	t.Helper()
	leader := waitTaking(t, k, shard)
	mustAppend(t, k.Node(leader).Log(shard), uint64(behind), rec)
}

func TestRetire_OneOfThreeIsGoneForGood(t *testing.T) {
	t.Parallel()
	k := clustertest.New(t, 4, func(_ int, o *cluster.Options) { o.Shards = 2 })
	for i := range 3 {
		k.StartNode(i)
	}
	k.WaitReady()
	waitEntries(k, 0, "n0 member test, n1 member test, n2 member test")
	k.Wait("every log has three replicas", func() bool { return len(k.Node(0).Replicas(0)) == 3 && len(k.Node(0).Replicas(1)) == 3 })
	k.WaitHealthy()
	l := k.Node(waitTaking(t, k, 0)).Log(0)
	for i, rec := range numbered(50) {
		mustAppend(t, l, uint64(i), rec)
	}
	k.Kill(2)
	waitLost(k, "n2")
	if k.Node(0).Healthy() {
		t.Error("healthy without a node that was not retired")
	}
	steps := retire(t, k, 0, "n2")
	if len(steps) < 4 || steps[len(steps)-1] != "n2 is retired" {
		t.Errorf("got the steps %q", steps)
	}
	k.WaitHealthy()
	wantReplicas(t, k, 0, "n0", "n1")
	waitEntries(k, 1, "n0 member test, n1 member test, n2 retired test")
	for _, i := range k.Running() {
		if k.Node(i).Votes("n2") || !k.Node(i).Left("n2", 7) || k.Node(i).Left("n1", 7) {
			t.Errorf("n%d still counts on n2, or not on n1", i)
		}
		if got := records(t, k.Node(i).Log(0)); !slices.Equal(got, numbered(50)) {
			t.Errorf("n%d: got %d records, want 50 in order", i, len(got))
		}
	}
	retire(t, k, 1, "n2") // again, elsewhere: nothing is left to do

	refusedStart(t, k, 2)
	k.Cut(2)
	refusedStart(t, k, 2) // its folder knows by now, and needs nobody
	k.Mend(2)

	k.StartNode(3) // another one takes its place
	k.Wait("every log has three replicas again", func() bool {
		return len(k.Node(0).Replicas(0)) == 3 && len(k.Node(0).Replicas(1)) == 3
	})
	k.WaitReady()
	k.WaitHealthy()
	wantReplicas(t, k, 0, "n0", "n1", "n3")
	if got := records(t, k.Node(3).Log(0)); !slices.Equal(got, numbered(50)) {
		t.Errorf("n3: got %d records, want 50 in order", len(got))
	}
}

func TestRetire_SpareTakesTheReplicas(t *testing.T) {
	t.Parallel()
	k := clustertest.Start(t, 4, func(_ int, o *cluster.Options) { o.Shards = 4 })
	k.WaitHealthy()
	waitEntries(k, 0, "n0 member test, n1 member test, n2 member test, n3 member test")
	l := k.Node(waitTaking(t, k, 0)).Log(0)
	for i, rec := range numbered(20) {
		mustAppend(t, l, uint64(i), rec)
	}
	k.Kill(3)
	waitLost(k, "n3")
	retire(t, k, 1, "n3")
	k.WaitHealthy()
	wantReplicas(t, k, 0, "n0", "n1", "n2")
	for _, i := range k.Running() {
		if got := records(t, k.Node(i).Log(0)); !slices.Equal(got, numbered(20)) {
			t.Errorf("n%d: got %d records, want 20 in order", i, len(got))
		}
	}
}

// Logs of two replicas have no leader when one is gone; the other one has all that was
// confirmed, so it goes on with another node.
func TestRetire_OneOfTwoReplicas(t *testing.T) {
	t.Parallel()
	k := clustertest.Start(t, 3, func(_ int, o *cluster.Options) { o.Shards, o.Replicas = 3, 2 })
	k.WaitHealthy()
	waitEntries(k, 0, "n0 member test, n1 member test, n2 member test")
	for shard := range 3 {
		appendTo(t, k, shard, 0, "record 0")
	}
	k.Wait("all replicas are noted as full", func() bool {
		full := 0
		for i := range k.Len() {
			b, err := os.ReadFile(filepath.Join(k.Options(i).Dir, "selvedge.state"))
			if err == nil {
				full += strings.Count(string(b), `"full":true`)
			}
		}
		return full == 3*2
	})
	k.Kill(2)
	waitLost(k, "n2")
	retire(t, k, 0, "n2")
	k.WaitHealthy()
	wantReplicas(t, k, 0, "n0", "n1")
	for shard := range 3 {
		for _, i := range k.Running() {
			if got := records(t, k.Node(i).Log(shard)); !slices.Equal(got, numbered(1)) {
				t.Errorf("n%d, shard %d: got %q, want %q", i, shard, got, numbered(1))
			}
		}
	}
}

// A retirement is interrupted in each of its states: what was begun goes on, or ends
// with the return of the node, and what has taken effect cannot be undone by it.
func TestRetire_IsInterrupted(t *testing.T) {
	t.Parallel()
	k := clustertest.Start(t, 3, func(_ int, o *cluster.Options) { o.Shards = 1 })
	k.WaitHealthy()
	waitEntries(k, 0, "n0 member test, n1 member test, n2 member test")
	k.Kill(2)
	waitLost(k, "n2")

	// A node whose retirement has not taken effect comes back, and stays.
	err := k.Node(0).ChangeEntry(t.Context(), "n2", func(e *cluster.Entry) error {
		e.State, e.RetiredBy = cluster.EntryRetiring, "ann"
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	waitEntries(k, 1, "n0 member test, n1 member test, n2 retiring test")
	k.StartNode(2)
	waitEntries(k, 0, "n0 member test, n1 member test, n2 member test")
	k.WaitReady()
	k.WaitHealthy()

	// Who asked for the retirement is gone after its first step; another node ends it.
	k.Kill(2)
	waitLost(k, "n2")
	ctx, cancel := context.WithTimeout(t.Context(), clustertest.Patience)
	defer cancel()
	err = withQuorum(ctx, func() error {
		return k.Node(0).Retire(ctx, "n2", "ann", func(string) { cancel() })
	}, cluster.ErrRetirement)
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("a retirement that was interrupted: got %v, want %v", err, context.Canceled)
	}
	waitEntries(k, 1, "n0 member test, n1 member test, n2 retiring test")
	retire(t, k, 1, "n2")
	e, err := k.Node(1).ReadEntry(t.Context(), "n2")
	if err != nil || e.State != cluster.EntryRetired || e.RetiredBy != "ann" {
		t.Errorf("got %+v, error %v, want a node that was retired", e, err)
	}
	k.WaitHealthy()

	// A node that comes back with a folder that was retired, and meets nobody in time,
	// begins; it is refused as soon as the registry can be read.
	k.Cut(2)
	n := k.StartNode(2)
	k.Mend(2)
	if err := receive(t, n.Failed(), "the refusal"); !errors.Is(err, cluster.ErrRetired) && !errors.Is(err, cluster.ErrReopen) {
		t.Errorf("got %v, want %v", err, cluster.ErrRetired)
	}
	k.Stop(2)
	refusedStart(t, k, 2)
	if _, err := os.Stat(filepath.Join(k.Options(2).Dir, "selvedge.json")); err != nil {
		t.Errorf("got %v, want the marker of the folder", err)
	}
	k.WaitHealthy()
	wantReplicas(t, k, 0, "n0", "n1")
}

func TestRetire_NameIsUsedAgain(t *testing.T) {
	t.Parallel()
	k := clustertest.Start(t, 3, func(_ int, o *cluster.Options) { o.Shards = 1 })
	k.WaitHealthy()
	waitEntries(k, 0, "n0 member test, n1 member test, n2 member test")
	appendTo(t, k, 0, 0, "record 0")
	k.Kill(2)
	waitLost(k, "n2")
	ctx, cancel := context.WithTimeout(t.Context(), clustertest.Patience)
	defer cancel()
	undo := func(at int, node string) error {
		return withQuorum(ctx, func() error { return k.Node(at).Restore(ctx, node, "ann") })
	}
	if err := undo(0, "n2"); !errors.Is(err, cluster.ErrRetirement) {
		t.Errorf("undo of nothing: got %v, want %v", err, cluster.ErrRetirement)
	}
	if err := undo(0, "nobody"); !errors.Is(err, cluster.ErrUnknownNode) {
		t.Errorf("undo for a node that nobody knows: got %v, want %v", err, cluster.ErrUnknownNode)
	}
	retire(t, k, 0, "n2")
	if err := undo(1, "n2"); err != nil {
		t.Fatal(err)
	}
	waitEntries(k, 0, "n0 member test, n1 member test, n2 member test")
	refusedStart(t, k, 2) // with the folder that was retired
	// The embedded server keeps a node away for five minutes that it has just removed,
	// unless it starts again itself. Meanwhile the cluster was called healthy, without
	// a replica on the node that is back.
	k.WaitHealthy()
	remove(t, k.Options(2).Dir)
	k.StartNode(2)
	k.Wait("n2 is up", func() bool { return stateOf(k, 0, "n2") == cluster.MemberUp })
	if k.Node(0).Healthy() {
		t.Error("got a healthy cluster, want one that misses a node")
	}
	k.StopAll()
	remove(t, k.Options(2).Dir)
	k.StartAll()
	k.WaitReady()
	k.Wait("the log has three replicas", func() bool { return len(k.Node(0).Replicas(0)) == 3 })
	k.WaitHealthy()
	if got := records(t, k.Node(2).Log(0)); !slices.Equal(got, numbered(1)) {
		t.Errorf("got %q, want %q", got, numbered(1))
	}
}

func TestRetire_IsRefused(t *testing.T) {
	t.Parallel()
	k := clustertest.Start(t, 4, func(i int, o *cluster.Options) {
		o.Shards = 1
		if o.FrontOnly = i == 3; !o.FrontOnly {
			o.Seeds = o.Seeds[:2] // the front-only node is no seed
		}
	})
	k.WaitHealthy()
	waitEntries(k, 0, "n0 member test, n1 member test, n2 member test")
	k.Wait("the front-only node is seen", func() bool { return len(k.Node(0).Members()) == 4 })
	refused := func(node string, kind error, text string) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), clustertest.Patience)
		defer cancel()
		ask := func() error {
			return k.Node(0).Retire(ctx, node, "ann", func(step string) { t.Errorf("%s: got the step %q", node, step) })
		}
		var err error
		if errors.Is(kind, cluster.ErrNoQuorum) {
			err = ask()
		} else {
			err = withQuorum(ctx, ask)
		}
		if !errors.Is(err, kind) || !strings.Contains(err.Error(), text) {
			t.Errorf("retire %s: got %v, want %v: %s", node, err, kind, text)
		} else if strings.Contains(err.Error(), "\n") { // two reasons, one below the other
			t.Errorf("retire %s: got %q, want one line", node, err)
		}
	}
	refused("n0", cluster.ErrRetirement, "the one that was asked")
	refused("n1", cluster.ErrRetirement, "it is alive")
	refused("n3", cluster.ErrUnknownNode, "stores nothing")
	refused("nobody", cluster.ErrUnknownNode, "not known")
	// A name that no node can have is refused before it is looked for: in the registry
	// it would stand for others, or for nothing.
	for _, name := range []string{"*", ">", "n1.n2", "n1 n2", ""} {
		refused(name, cluster.ErrUnknownNode, "not a name")
		if err := k.Node(0).Restore(t.Context(), name, "ann"); !errors.Is(err, cluster.ErrUnknownNode) {
			t.Errorf("restore %q: got %v, want %v", name, err, cluster.ErrUnknownNode)
		}
	}
	// A node that is cut off from the one that is asked, and from no other one, is alive.
	k.CutPair(0, 2)
	k.Wait("n2 is lost for n0", func() bool { return stateOf(k, 0, "n2") == cluster.MemberLost })
	refused("n2", cluster.ErrRetirement, "another node hears it")
	k.Mend(2)
	k.Wait("n2 is back for n0", func() bool { return stateOf(k, 0, "n2") == cluster.MemberUp })
	k.Cut(2) // was heard a moment ago
	refused("n2", cluster.ErrRetirement, "it is alive, heard")
	k.Kill(2)
	k.Kill(1)
	k.Wait("there is no quorum", func() bool { return !k.Node(0).Quorum() })
	refused("n2", cluster.ErrNoQuorum, "a majority of the cluster is out of reach")
	if got := entryLines(k.Node(0)); got != "n0 member test, n1 member test, n2 member test" {
		t.Errorf("got the entries %s after refusals", got)
	}
}

// What only a node has is not given up by retiring it.
func TestRetire_OfTheOnlyReplicaIsRefused(t *testing.T) {
	t.Parallel()
	k := clustertest.Start(t, 3, func(_ int, o *cluster.Options) { o.Shards, o.Replicas = 1, 1 })
	waitEntries(k, 0, "n0 member test, n1 member test, n2 member test")
	holder := k.WaitLeader(0)
	node := k.Options(holder).Node
	k.Kill(holder)
	waitLost(k, node)
	ctx, cancel := context.WithTimeout(t.Context(), clustertest.Patience)
	defer cancel()
	err := withQuorum(ctx, func() error {
		return k.Node((holder+1)%3).Retire(ctx, node, "ann", func(step string) { t.Errorf("got the step %q", step) })
	})
	if !errors.Is(err, cluster.ErrRetirement) || !strings.Contains(err.Error(), "no other node that holds a replica") {
		t.Errorf("got %v, want %v: no other node that holds a replica", err, cluster.ErrRetirement)
	}
}
