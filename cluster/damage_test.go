package cluster_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"github.com/selvedge-mq/selvedge/cluster"
	"github.com/selvedge-mq/selvedge/cluster/clustertest"
)

// bulky are records that fill pages: every second one is compressed between the
// nodes.
func bulky(n int) []string {
	var recs []string
	for i, rec := range numbered(n) {
		recs = append(recs, rec+strings.Repeat("-", i%2*12_000))
	}
	return recs
}

// logGroup stands in a pattern for the raft group of the first log, which is not the
// only one.
const logGroup = "S-*"

// note is what a node has noted of its first log.
type note struct {
	Group        string
	Last         uint64
	Full, Behind bool
}

// noted returns what stands in a node's folder of its first log, nothing while the
// file is not there.
func noted(dir string) note {
	var file struct{ State struct{ Shards []note } }
	b, err := os.ReadFile(filepath.Join(dir, "selvedge.state"))
	if err != nil || json.Unmarshal(b, &file) != nil || len(file.State.Shards) == 0 {
		return note{}
	}
	return file.State.Shards[0]
}

// files returns the files of a node whose paths match a pattern below its store.
func files(t *testing.T, dir, pattern string) []string {
	t.Helper()
	if before, after, found := strings.Cut(pattern, logGroup); found {
		group := noted(dir).Group
		if group == "" {
			t.Fatalf("no group is noted in %s", dir)
		}
		pattern = before + group + after
	}
	list, err := filepath.Glob(filepath.Join(dir, "fabric", "jetstream", filepath.FromSlash(pattern)))
	if err != nil || len(list) == 0 {
		t.Fatalf("%s: got the files %q, error %v", pattern, list, err)
	}
	return list
}

// Where the embedded server stores what.
const (
	streamBlocks = "SELVEDGE/streams/S0/msgs/*.blk"
	groupBlocks  = "SYS/_js_/" + logGroup + "/msgs/*.blk"
	metaFiles    = "SYS/_js_/_meta_/snapshots/*"
	snapshots    = "SYS/_js_/" + logGroup + "/snapshots/*"
	indexes      = "*/*/*/msgs/index.db"
)

// flip flips a bit of a file, somewhere in the part of it given in per cent.
func flip(t *testing.T, path string, from, to int) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if len(b) == 0 {
		t.Fatalf("%s is empty: there is no bit to flip", path)
	}
	at := len(b)*from/100 + rand.IntN(max(len(b)*(to-from)/100, 1))
	b[at] ^= 1 << rand.IntN(8)
	t.Logf("flipped a bit at %d of %d in %s", at, len(b), path)
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// flipFiller flips a bit within a record of bulky that is not purged.
func flipFiller(t *testing.T, path string) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for {
		if at := len(b)/4 + rand.IntN(len(b)/2); b[at] == '-' && b[at-1] == '-' {
			b[at] ^= 1 << rand.IntN(8)
			break
		}
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// shorten cuts a file off at a random place.
func shorten(t *testing.T, path string) {
	t.Helper()
	fi, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	at := rand.Int64N(fi.Size())
	t.Logf("cut %s off at %d of %d", path, at, fi.Size())
	if err := os.Truncate(path, at); err != nil {
		t.Fatal(err)
	}
}

func remove(t *testing.T, paths ...string) {
	t.Helper()
	for _, path := range paths {
		if err := os.RemoveAll(path); err != nil {
			t.Fatal(err)
		}
	}
}

// waitNoted waits until a node has noted that its log reaches last, that it had all
// that the others had, and that it is not behind. Before that its files are not looked
// at when somebody doubts them, but read through as those of a replica that is filled.
func waitNoted(t *testing.T, k *clustertest.Cluster, i int, last string) {
	t.Helper()
	k.Wait(fmt.Sprintf("n%d has noted that it has all up to %s", i, last), func() bool {
		n := noted(k.Options(i).Dir)
		return fmt.Sprint(n.Last) == last && n.Full && !n.Behind
	})
}

// filled is a cluster of three nodes whose one log holds records, of which some are
// purged. Each node has noted what it holds.
func filled(t *testing.T) (k *clustertest.Cluster, want []string) {
	t.Helper()
	k = clustertest.Start(t, 3, func(_ int, o *cluster.Options) { o.Shards = 1 })
	k.WaitHealthy()
	l, recs := k.Node(waitTaking(t, k, 0)).Log(0), bulky(40)
	for i, rec := range recs {
		mustAppend(t, l, uint64(i), rec)
	}
	if err := l.Purge(t.Context(), purged); err != nil {
		t.Fatal(err)
	}
	for i := range k.Len() {
		waitNoted(t, k, i, filledTo)
	}
	return k, recs[purged:]
}

// The log of a filled cluster ends at filledTo; the records up to purged are not there
// any more.
const (
	filledTo = "40"
	purged   = 5
)

// wantRepaired starts a node again whose server has stopped at damage, and waits until
// its replica, one, was set aside and filled by the others.
func wantRepaired(t *testing.T, k *clustertest.Cluster, victim int, want []string) {
	t.Helper()
	k.Kill(victim)
	k.StartNode(victim)
	k.WaitReady()
	k.WaitHealthy()
	wantWhole(t, k, want)
	if got := kept(t, k.Options(victim).Dir); len(got) != 1 {
		t.Errorf("got %q set aside, want one", got)
	}
}

// wantWhole checks that every replica holds the records, read from each node. A
// replica that was away during a purge may still hold what was purged.
func wantWhole(t *testing.T, k *clustertest.Cluster, want []string) {
	t.Helper()
	for i := range k.Len() {
		got := records(t, k.Node(i).Log(0))
		if more := len(got) - len(want); more < 0 || more > purged || !slices.Equal(got[more:], want) {
			t.Errorf("from n%d: got %d records, want the %d as they were appended", i, len(got), len(want))
		}
	}
}

// kept returns what was set aside in a node's folder.
func kept(t *testing.T, dir string) []string {
	t.Helper()
	list, err := filepath.Glob(filepath.Join(dir, "damaged", "*"))
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// A node that was killed finds whatever its disk did to its files, before the
// embedded server does, and comes back whole; the others are as they were.
func TestNode_DamageIsFoundAndRepaired(t *testing.T) {
	t.Parallel()
	k, want := filled(t)
	for _, c := range []struct {
		name  string
		harm  func(t *testing.T, dir string)
		aside string // what must be kept, "" if the place decides
	}{
		{"a flipped bit in the log", func(t *testing.T, dir string) {
			t.Helper()
			flip(t, files(t, dir, streamBlocks)[0], 0, 90)
		}, "shard0"},
		{"a flipped bit in the log, without an index", func(t *testing.T, dir string) {
			t.Helper()
			flip(t, files(t, dir, streamBlocks)[0], 0, 90)
			remove(t, files(t, dir, indexes)...)
		}, "shard0"},
		{"a flipped bit at the end of the log", func(t *testing.T, dir string) {
			t.Helper()
			flip(t, files(t, dir, streamBlocks)[0], 95, 100)
		}, ""},
		{"a truncated log", func(t *testing.T, dir string) {
			t.Helper()
			shorten(t, files(t, dir, streamBlocks)[0])
		}, ""},
		{"a truncated log, without an index", func(t *testing.T, dir string) {
			t.Helper()
			shorten(t, files(t, dir, streamBlocks)[0])
			remove(t, files(t, dir, indexes)...)
		}, ""},
		{"a log that is gone", func(t *testing.T, dir string) {
			t.Helper()
			remove(t, filepath.Dir(filepath.Dir(files(t, dir, streamBlocks)[0])))
		}, ""}, // the raft group may still have all of it
	} {
		t.Run(c.name, func(t *testing.T) { harmAndRestart(t, k, want, c.harm, c.aside) })
	}
}

func TestNode_DamageOfRaftGroupsIsFoundAndRepaired(t *testing.T) {
	t.Parallel()
	k, want := filled(t)
	for _, c := range []struct {
		name  string
		harm  func(t *testing.T, dir string)
		aside string
	}{
		{"a flipped bit in the entries", func(t *testing.T, dir string) {
			t.Helper()
			flip(t, files(t, dir, groupBlocks)[0], 0, 60)
		}, "shard0"},
		{"truncated entries", func(t *testing.T, dir string) {
			t.Helper()
			shorten(t, files(t, dir, groupBlocks)[0])
		}, ""},
		{"truncated entries, without an index", func(t *testing.T, dir string) {
			t.Helper()
			shorten(t, files(t, dir, groupBlocks)[0])
			remove(t, files(t, dir, indexes)...)
		}, ""},
		{"a flipped bit in a snapshot", func(t *testing.T, dir string) {
			t.Helper()
			flip(t, files(t, dir, snapshots)[0], 0, 100)
		}, "shard0"},
		{"a flipped bit in the cluster's own snapshot", func(t *testing.T, dir string) {
			t.Helper()
			flip(t, files(t, dir, metaFiles)[0], 0, 100)
		}, "node"},
	} {
		t.Run(c.name, func(t *testing.T) { harmAndRestart(t, k, want, c.harm, c.aside) })
	}
}

// nothing is what is set aside of a replica that is not damaged.
const nothing = "nothing"

// copied returns a copy of a node's folder while the node runs and is idle. That is
// what a process leaves that is killed, while a node of a test ends its server.
func copied(t *testing.T, dir string) string {
	t.Helper()
	to := dir + "-copied"
	if err := os.CopyFS(to, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	return to
}

// harmAndRestart kills the node after the leader, damages its files, starts it
// again and checks all.
func harmAndRestart(t *testing.T, k *clustertest.Cluster, want []string, harm func(*testing.T, string), aside string) {
	t.Helper()
	victim := (k.WaitLeader(0) + 1) % k.Len()
	waitNoted(t, k, victim, filledTo)
	dir := k.Options(victim).Dir
	asLeft := copied(t, dir)
	k.Kill(victim)
	remove(t, dir)
	if err := os.Rename(asLeft, dir); err != nil {
		t.Fatal(err)
	}
	remove(t, filepath.Join(dir, "damaged"))
	harm(t, dir)
	k.StartNode(victim)
	k.WaitReady()
	k.WaitHealthy()
	k.Wait("the replica is called whole", func() bool { return len(k.Node(victim).Health()) == 0 })
	wantWhole(t, k, want)
	got := kept(t, dir)
	if aside == nothing {
		if len(got) > 0 {
			t.Errorf("got %q set aside, want nothing: a replica that catches up is not damaged", got)
		}
		return
	}
	if aside != "" && (len(got) != 1 || !strings.HasSuffix(got[0], "-"+aside)) {
		t.Errorf("got %q set aside, want one of %s", got, aside)
	}
}

func TestNode_WipedDiskIsFilledAgain(t *testing.T) {
	t.Parallel()
	k, want := filled(t)
	for victim := range k.Len() {
		k.Kill(victim)
		remove(t, k.Options(victim).Dir)
		k.StartNode(victim)
		k.WaitReady()
		k.WaitHealthy()
		wantWhole(t, k, want)
	}
}

// A damaged replica is not emptied while another one is away: that one may be
// the only other holder of what was confirmed.
func TestNode_RepairWaitsForAllOthers(t *testing.T) {
	t.Parallel()
	k, want := filled(t)
	leader := k.WaitLeader(0)
	victim, away := (leader+1)%3, (leader+2)%3
	k.Kill(victim)
	k.Stop(away)
	flip(t, files(t, k.Options(victim).Dir, streamBlocks)[0], 0, 90)
	health := make(chan []cluster.ReplicaHealth, 100)
	k.SetOptions(victim, func(o *cluster.Options) { o.OnHealth = func(h []cluster.ReplicaHealth) { health <- h } })
	opened := make(chan struct{})
	go func() {
		defer close(opened)
		k.StartNode(victim)
	}()
	for {
		h := receive(t, health, "the replica's health")
		if len(h) == 1 && h[0].State == cluster.ReplicaDamaged && strings.Contains(h[0].Reason, "repair waits") {
			break
		}
	}
	k.Wait("the others see it", func() bool {
		return slices.ContainsFunc(k.Node(leader).Members(), func(m cluster.Member) bool {
			return m.Name == k.Options(victim).Node && m.State == cluster.MemberRepairing && len(m.Health) == 1
		})
	})
	if got := kept(t, k.Options(victim).Dir); len(got) > 0 {
		t.Errorf("got %q set aside while a replica is away", got)
	}
	k.StartNode(away)
	receiveClosed(t, opened)
	k.WaitReady()
	k.WaitHealthy()
	wantWhole(t, k, want)
	if got := kept(t, k.Options(victim).Dir); len(got) != 1 {
		t.Errorf("got %q set aside, want one", got)
	}
}

// Two damaged nodes of three wait for each other: neither vouches for anything
// before its own repair. They say so, and who is up fills one whose loss is accepted.
func TestNode_RepairsThatWaitForEachOther(t *testing.T) {
	t.Parallel()
	k, want := filled(t)
	up := k.WaitLeader(0)
	damaged := []int{(up + 1) % 3, (up + 2) % 3}
	for _, i := range damaged {
		k.Kill(i)
		flipFiller(t, files(t, k.Options(i).Dir, streamBlocks)[0])
	}
	ctx, cancel := context.WithCancel(t.Context())
	mutual, ended := make(chan int, 1000), make(chan error, 2)
	for _, i := range damaged {
		o := k.Options(i)
		o.Log = zerolog.New(io.Discard)
		o.OnHealth = func(h []cluster.ReplicaHealth) {
			if len(h) == 1 && strings.Contains(h[0].Reason, "neither can go on") {
				mutual <- i
			}
		}
		go func() {
			n, err := cluster.Open(ctx, o)
			if err == nil {
				n.Kill()
			}
			ended <- err
		}()
	}
	for seen := make(map[int]bool); len(seen) < 2; {
		seen[receive(t, mutual, "the wait of one for the other")] = true
	}
	cancel()
	for range damaged {
		if err := receive(t, ended, "the end of a start"); !errors.Is(err, cluster.ErrDamaged) {
			t.Errorf("got %v, want %v", err, cluster.ErrDamaged)
		}
	}
	if got := records(t, k.Node(up).Log(0)); !slices.Equal(got, want) {
		t.Errorf("from the whole node: got %d records, want %d", len(got), len(want))
	}
}

// receiveClosed waits until a channel is closed.
func receiveClosed(t *testing.T, c <-chan struct{}) {
	t.Helper()
	done := make(chan bool, 1)
	go func() {
		<-c
		done <- true
	}()
	receive(t, done, "the end of the start")
}

// What goes wrong while a node runs is found by the first who reads it: the node
// stops, and repairs when it starts again. It was stopped in order before, so that
// nothing of the log is in memory.
func TestNode_DamageIsFoundWhileServing(t *testing.T) {
	t.Parallel()
	k, want := filled(t)
	victim := k.WaitLeader(0)
	k.StopAll() // in order: the files are not verified at the next start
	flipFiller(t, files(t, k.Options(victim).Dir, streamBlocks)[0])
	k.StartAll()
	k.WaitReady()
	k.WaitHealthy()
	// Which replica answers a read is the server's choice: the reader that met the
	// damage is another node here.
	k.Node((victim + 1) % k.Len()).Raise(0)
	if err := receive(t, k.Node(victim).Failed(), "the failure"); !errors.Is(err, cluster.ErrDamaged) {
		t.Errorf("got the failure %v, want %v", err, cluster.ErrDamaged)
	}
	for i := range k.Len() {
		if i == victim {
			continue
		}
		select { // it may not be ready for the moment of an election
		case err := <-k.Node(i).Failed():
			t.Errorf("n%d, whose files are whole: got the failure %v, want it to serve", i, err)
		default:
		}
	}
	wantRepaired(t, k, victim, want)
}

func TestNode_DamageAloneIsRefused(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		harm func(t *testing.T, dir string)
	}{
		{"a flipped bit", func(t *testing.T, dir string) {
			t.Helper()
			flip(t, files(t, dir, streamBlocks)[0], 0, 100)
		}},
		{"a flipped bit, without an index", func(t *testing.T, dir string) {
			t.Helper()
			flip(t, files(t, dir, streamBlocks)[0], 0, 100)
			remove(t, files(t, dir, indexes)...)
		}},
		{"a truncated file", func(t *testing.T, dir string) {
			t.Helper()
			shorten(t, files(t, dir, streamBlocks)[0])
		}},
		{"a truncated file, without an index", func(t *testing.T, dir string) {
			t.Helper()
			shorten(t, files(t, dir, streamBlocks)[0])
			remove(t, files(t, dir, indexes)...)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := cluster.Options{Node: "alone", Dir: t.TempDir(), Shards: 1, Log: zerolog.New(io.Discard)}
			n := openStandalone(t, o.Dir)
			for i, rec := range bulky(12) {
				mustAppend(t, n.Log(0), uint64(i), rec)
			}
			if err := n.Close(t.Context()); err != nil {
				t.Fatal(err)
			}
			n = openStandalone(t, o.Dir) // notes what the log holds, as an hour of service does
			n.Kill()
			c.harm(t, o.Dir)
			n, err := cluster.Open(t.Context(), o)
			if err == nil {
				n.Kill()
			}
			if !errors.Is(err, cluster.ErrDamaged) || !strings.Contains(err.Error(), "accept-loss") {
				t.Fatalf("got %v, want %v and what to do", err, cluster.ErrDamaged)
			}
			o.AcceptLoss = true
			if n, err = cluster.Open(t.Context(), o); err != nil {
				t.Fatal(err)
			}
			defer n.Kill()
			if got := records(t, n.Log(0)); len(got) != 0 {
				t.Errorf("got %d records after an accepted loss, want an empty log", len(got))
			}
			mustAppend(t, n.Log(0), 0, "again")
			if got := kept(t, o.Dir); len(got) != 1 {
				t.Errorf("got %q set aside, want one", got)
			}
		})
	}
}

// A node that was killed while it caught up has a snapshot of its leader, and not
// yet all records up to it. It was called damaged, and emptied.
func TestNode_KilledWhileItCaughtUp(t *testing.T) {
	t.Parallel()
	k, want := filled(t)
	k.StopAll() // each group begins with a snapshot
	k.StartAll()
	k.WaitReady()
	k.WaitHealthy()
	for _, c := range []struct {
		name   string
		behind bool
		aside  string
	}{
		{"it caught up", true, nothing},
		{"it had all", false, "shard0"},
	} {
		t.Run(c.name, func(t *testing.T) {
			harmAndRestart(t, k, want, func(t *testing.T, dir string) {
				t.Helper()
				t.Log(files(t, dir, snapshots))
				remove(t, filepath.Dir(filepath.Dir(files(t, dir, streamBlocks)[0])))
				if !c.behind {
					return
				}
				if err := cluster.MarkBehind(dir); err != nil {
					t.Fatal(err)
				}
			}, c.aside)
		})
	}
}
