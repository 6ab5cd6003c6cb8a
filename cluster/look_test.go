package cluster_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/selvedge-mq/selvedge/cluster"
	"github.com/selvedge-mq/selvedge/cluster/clustertest"
)

// With the sync at an interval the embedded server writes the end of a log some time
// after it counts its records. That is no damage, however often somebody looks.
func TestNode_AnEndThatIsNotWrittenYetIsNoDamage(t *testing.T) {
	t.Parallel()
	for _, interval := range []time.Duration{0, time.Second} {
		t.Run(fmt.Sprint("interval ", interval), func(t *testing.T) {
			t.Parallel()
			k := clustertest.Start(t, 3, func(_ int, o *cluster.Options) {
				o.Shards, o.SyncInterval = 1, interval
			})
			k.WaitHealthy()
			leader := waitTaking(t, k, 0)
			written := make(chan error, 1)
			go func() { written <- writeAndPurge(t.Context(), k.Node(leader).Log(0), 80) }()
			for looks := 0; ; looks++ {
				select {
				case err := <-written:
					if err != nil {
						t.Error(err)
					}
					return
				default:
				}
				if err := k.Node(looks%k.Len()).Look(t.Context(), 0); err != nil {
					t.Fatalf("look %d at n%d: %v", looks, looks%k.Len(), err)
				}
			}
		})
	}
}
