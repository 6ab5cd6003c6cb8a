package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"

	"github.com/rs/zerolog"

	"github.com/selvedge-mq/selvedge/cluster"
	"github.com/selvedge-mq/selvedge/cluster/clustertest"
)

// entryLines shows what a node knows of the registry.
func entryLines(n *cluster.Node) string {
	var lines []string
	for _, e := range n.Registry() {
		lines = append(lines, e.Node+" "+string(e.State)+" "+e.Version)
	}
	return strings.Join(lines, ", ")
}

func waitEntries(k *clustertest.Cluster, i int, want string) {
	k.Wait(fmt.Sprintf("n%d knows of %s", i, want), func() bool { return entryLines(k.Node(i)) == want })
}

func TestRegistry_RemembersTheNodesThatStore(t *testing.T) {
	t.Parallel()
	k := clustertest.Start(t, 4, func(i int, o *cluster.Options) {
		o.Shards = 1
		if o.FrontOnly = i == 3; !o.FrontOnly {
			o.Seeds = o.Seeds[:2] // the front-only node is no seed
		}
	})
	for i := range k.Len() {
		waitEntries(k, i, "n0 member test, n1 member test, n2 member test")
	}
	before := k.Node(0).Registry()[1]
	if before.FirstSeen.IsZero() || before.Session != k.Node(1).Session() || !before.Folder.Equal(k.Node(1).FolderMade()) ||
		before.Address != k.Options(1).Advertise {
		t.Errorf("got the entry %+v of n1", before)
	}
	k.Stop(1)
	k.SetOptions(1, func(o *cluster.Options) { o.Version = "next" })
	k.StartNode(1)
	waitEntries(k, 0, "n0 member test, n1 member next, n2 member test")
	after := k.Node(0).Registry()[1]
	if !after.FirstSeen.Equal(before.FirstSeen) || after.Session == before.Session || !after.Folder.Equal(before.Folder) {
		t.Errorf("got the entry %+v after a restart of %+v", after, before)
	}
}

func TestRegistry_OfANodeAlone(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	n := openStandalone(t, dir)
	wait := func(n *cluster.Node) cluster.Entry {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), clustertest.Patience)
		defer cancel()
		for {
			e, err := n.ReadEntry(ctx, "alone")
			if err == nil && e.Session == n.Session() {
				return e
			}
			if ctx.Err() != nil {
				t.Fatalf("got the entry %+v, error %v", e, err)
			}
		}
	}
	first := wait(n)
	if err := n.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if again := wait(openStandalone(t, dir)); !again.FirstSeen.Equal(first.FirstSeen) {
		t.Errorf("got first seen %v after a restart, want %v", again.FirstSeen, first.FirstSeen)
	}
	if err := openApartRetire(t); !errors.Is(err, cluster.ErrRetirement) {
		t.Errorf("retire at a node alone: got %v, want %v", err, cluster.ErrRetirement)
	}
}

// openApartRetire asks a node alone to retire another one.
func openApartRetire(t *testing.T) error {
	t.Helper()
	n, err := cluster.Open(t.Context(), cluster.Options{Node: "alone", Dir: t.TempDir(), Shards: 1, Log: zerolog.New(io.Discard)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.Kill)
	return n.Retire(t.Context(), "other", "ann", func(string) {})
}

// Writers that change one entry at once, at different nodes, lose no change of
// another.
func TestRegistry_ChangesOfOneEntryAreInOrder(t *testing.T) {
	t.Parallel()
	k := clustertest.Start(t, 3, func(_ int, o *cluster.Options) { o.Shards = 1 })
	waitEntries(k, 0, "n0 member test, n1 member test, n2 member test")
	const each = 20
	var wg sync.WaitGroup
	for i := range k.Len() {
		wg.Go(func() {
			for j := range each {
				mark := fmt.Sprintf(" %d-%d;", i, j)
				err := k.Node(i).ChangeEntry(t.Context(), "shared", func(e *cluster.Entry) error {
					if !strings.Contains(e.Version, mark) { // the answer of a former try may be lost
						e.Version += mark
					}
					return nil
				})
				if err != nil {
					t.Errorf("n%d: %v", i, err)
				}
			}
		})
	}
	wg.Wait()
	e, err := k.Node(0).ReadEntry(t.Context(), "shared")
	if got := strings.Count(e.Version, ";"); err != nil || got != 3*each {
		t.Errorf("got %d changes, error %v, want %d: %s", got, err, 3*each, e.Version)
	}
}

func TestRegistry_RaftIDIsTheServers(t *testing.T) {
	t.Parallel()
	if ours, servers := openStandalone(t, t.TempDir()).RaftIDs(); ours != servers {
		t.Errorf("got the id %q, the server has %q", ours, servers)
	}
}

// A node starts and serves while the registry takes nothing.
func TestRegistry_NobodyWaitsForIt(t *testing.T) {
	t.Parallel()
	k := clustertest.Start(t, 3, func(_ int, o *cluster.Options) { o.Shards = 1 })
	waitEntries(k, 0, "n0 member test, n1 member test, n2 member test")
	session := k.Node(2).Session()
	if err := k.Node(0).SilenceRegistry(t.Context()); err != nil {
		t.Fatal(err)
	}
	k.Stop(2)
	k.SetOptions(2, func(o *cluster.Options) { o.Version = "next" })
	k.StartNode(2)
	k.WaitReady()
	k.WaitHealthy()
	appendTo(t, k, 0, 0, "a record")
	for _, e := range k.Node(0).Registry() {
		if e.Node == "n2" && (e.Version != "test" || e.Session != session) {
			t.Errorf("got the entry %+v, which nobody could write", e)
		}
	}
}
