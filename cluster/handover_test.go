package cluster_test

import (
	"fmt"
	"testing"

	"github.com/selvedge-mq/selvedge/cluster"
	"github.com/selvedge-mq/selvedge/cluster/clustertest"
)

// A node that stops is given nothing: it would have to be given on.
func TestSuccessor_HasNotSaidGoodbye(t *testing.T) {
	t.Parallel()
	k := clustertest.Start(t, 3, func(_ int, o *cluster.Options) { o.Shards = 1 })
	k.WaitHealthy()
	leader := k.WaitLeader(0)
	waitLeads(t, k, leader, 0)
	leaves, stays := (leader+1)%3, (leader+2)%3
	if leaves > stays { // of equals the first one is taken
		leaves, stays = stays, leaves
	}
	if got, want := k.Node(leader).Successor(0), fmt.Sprintf("n%d", leaves); got != want {
		t.Fatalf("got %s before it leaves, want %s", got, want)
	}
	k.Node(leaves).Leave()
	k.Wait("the goodbye is heard", func() bool {
		for _, m := range k.Node(leader).Members() {
			if m.State == cluster.MemberLeft {
				return true
			}
		}
		return false
	})
	if got, want := k.Node(leader).Successor(0), fmt.Sprintf("n%d", stays); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
