package cluster_test

import (
	"strings"
	"testing"

	"github.com/selvedge-mq/selvedge/cluster/clustertest"
)

// Why a node of a new cluster is not ready said nothing of the nodes that it waits for.
func TestReady_SaysWhoIsMissing(t *testing.T) {
	t.Parallel()
	k := clustertest.New(t, 3, nil)
	n := k.StartNode(0)
	says := func(text string) func() bool {
		return func() bool {
			err := n.Ready()
			return err != nil && strings.Contains(err.Error(), text)
		}
	}
	k.Wait("n0 says that it is alone", says("the cluster has no leader: connected to no other node, 2 others are in the seeds"))
	k.StartNode(1)
	k.WaitReady()
	k.Kill(1)
	k.Wait("n0 says that it lost its majority", says("connected to no other node"))
}
