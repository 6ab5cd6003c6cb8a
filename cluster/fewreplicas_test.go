package cluster_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/selvedge-mq/selvedge/cluster"
	"github.com/selvedge-mq/selvedge/cluster/clustertest"
)

// Of two replicas each holds all that was confirmed, so the other one may be
// emptied, though it cannot elect a leader alone.
func TestNode_RepairOfTwo(t *testing.T) {
	t.Parallel()
	k := clustertest.Start(t, 2, func(_ int, o *cluster.Options) { o.Shards = 1 })
	k.WaitHealthy()
	l := k.Node(waitTaking(t, k, 0)).Log(0)
	for i, rec := range bulky(20) {
		mustAppend(t, l, uint64(i), rec)
	}
	waitNoted(t, k, 0, "20")
	waitNoted(t, k, 1, "20")
	k.Kill(0)
	k.Kill(1)
	flip(t, files(t, k.Options(0).Dir, streamBlocks)[0], 0, 90)
	k.StartAll()
	k.WaitReady()
	k.WaitHealthy()
	wantWhole(t, k, bulky(20))
	if got := kept(t, k.Options(0).Dir); len(got) != 1 {
		t.Errorf("got %q set aside, want one", got)
	}
}

func TestNode_DamageOfTheOnlyReplicaIsRefused(t *testing.T) {
	t.Parallel()
	k := clustertest.Start(t, 3, func(_ int, o *cluster.Options) { o.Shards, o.Replicas = 1, 1 })
	holder := waitTaking(t, k, 0)
	l := k.Node(holder).Log(0)
	for i, rec := range bulky(20) {
		mustAppend(t, l, uint64(i), rec)
	}
	waitNoted(t, k, holder, "20")
	k.Kill(holder)
	flip(t, files(t, k.Options(holder).Dir, streamBlocks)[0], 0, 100)
	n, err := cluster.Open(t.Context(), k.Options(holder))
	if err == nil {
		n.Kill()
	}
	if !errors.Is(err, cluster.ErrDamaged) || !strings.Contains(err.Error(), "no other replica") {
		t.Fatalf("got %v, want %v: no other replica", err, cluster.ErrDamaged)
	}
	k.SetOptions(holder, func(o *cluster.Options) { o.AcceptLoss = true })
	k.StartNode(holder)
	k.WaitReady()
	k.Wait("the lost log begins empty", func() bool {
		_, last, err := k.Node(holder).Log(0).Bounds(t.Context())
		return err == nil && last == 0
	})
}
