package cluster_test

import (
	"encoding/binary"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/selvedge-mq/selvedge/cluster"
	"github.com/selvedge-mq/selvedge/cluster/clustertest"
)

// filledBlocks is a cluster of three nodes whose one log fills some blocks.
func filledBlocks(t *testing.T) (k *clustertest.Cluster, want []string) {
	t.Helper()
	k = clustertest.Start(t, 3, func(_ int, o *cluster.Options) { o.Shards, o.AppendTimeout = 1, clustertest.Patience })
	k.WaitHealthy()
	l := k.Node(k.WaitLeader(0)).Log(0)
	for i, rec := range numbered(60) {
		want = append(want, rec+strings.Repeat("-", 400_000))
		mustAppend(t, l, uint64(i), want[i])
	}
	return k, want
}

// breakLength makes the length of a record in the middle of a block one that cannot
// be. The server drops such a block from there on, and tells the others that what
// was in it was deleted.
func breakLength(t *testing.T, path string) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	at := 0
	for at < len(b)/2 {
		at += int(binary.LittleEndian.Uint32(b[at:]) &^ (1 << 31))
	}
	binary.LittleEndian.PutUint32(b[at:], 7)
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// A replica that was emptied is filled by its leader, whose own files are damaged,
// which nobody has noticed: it was stopped in order. The embedded server calls such a
// replica current, also where what the leader has lost came as deletions. It must not
// count as whole.
func TestNode_FilledByADamagedReplica(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		harm func(t *testing.T, path string)
		// operator says that neither can go on by itself.
		operator bool
	}{
		{"a record of the leader cannot be read", flipFiller, false},
		{"the leader has dropped records", breakLength, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			k, want := filledBlocks(t)
			source := k.WaitLeader(0)
			victim, up := (source+1)%3, (source+2)%3
			waitNoted(t, k, victim, "60")
			k.Kill(victim)
			k.Stop(source)
			k.Stop(up)
			c.harm(t, files(t, k.Options(source).Dir, streamBlocks)[0])
			flipFiller(t, files(t, k.Options(victim).Dir, streamBlocks)[0])
			k.StartNode(source)
			k.StartNode(up)
			lead(t, k, source)
			k.StartNode(victim) // emptied, since both others say that they are whole
			_ = receive(t, k.Node(source).Failed(), "the failure of the one that is damaged")
			k.Kill(source)
			k.Wait("the replica that is whole leads", func() bool { return k.WaitLeader(0) == up })
			if c.operator {
				acceptLoss(t, k, victim, source, up, want)
			} else {
				k.StartNode(source)
			}
			k.WaitReady()
			k.WaitHealthy()
			k.Wait("all replicas are called whole", func() bool {
				return len(k.Node(victim).Health()) == 0 && len(k.Node(source).Health()) == 0
			})
			wantWhole(t, k, want)
		})
	}
}

// lead has a node lead the shard.
func lead(t *testing.T, k *clustertest.Cluster, i int) {
	t.Helper()
	k.Wait("the node leads", func() bool {
		now := k.WaitLeader(0)
		if now != i {
			_ = k.Node(now).Resign(t.Context(), 0) // tried again
		}
		return now == i
	})
}

// acceptLoss does what the manual says: two of three that wait for each other are
// started once with accept-loss, while the third one is up. One is not enough: a
// replica that is empty does not make a majority, unless all have been heard.
func acceptLoss(t *testing.T, k *clustertest.Cluster, victim, source, up int, want []string) {
	t.Helper()
	k.Wait("the replica says that it was filled wrongly", func() bool {
		h := k.Node(victim).Health()
		return len(h) == 1 && strings.Contains(h[0].Reason, "filled by a damaged replica")
	})
	if got := records(t, k.Node(up).Log(0)); !slices.Equal(got, want) {
		t.Errorf("from the node that is whole: got %d records, want %d", len(got), len(want))
	}
	k.Stop(victim)
	for _, i := range []int{victim, source} {
		k.SetOptions(i, func(o *cluster.Options) { o.AcceptLoss, o.AcceptAfter = true, 2*time.Second })
	}
	k.StartAll()
}
