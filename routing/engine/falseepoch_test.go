package engine_test

import (
	"encoding/binary"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/selvedge-mq/selvedge/internal/metrictest"
	"github.com/selvedge-mq/selvedge/routing/engine"
)

// A node took the greatest epoch that it had heard of for that of the leader, and sent
// each leader of a lower one back to begin another, one greater. After the word of one
// process with damaged memory the shard was served by nobody, for years.
func TestEpoch_OneThatIsInNoLogIsRefuted(t *testing.T) {
	const ping = 1
	for _, c := range []struct {
		name  string
		epoch uint32
		told  []string
	}{
		{"to all", math.MaxUint32, []string{"a", "c"}},
		{"to the leader alone", 1 << 30, []string{"a"}},
		{"to a node that follows", 1 << 20, []string{"c"}},
		{"not by much", 4, []string{"a", "c"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				metrics := prometheus.NewRegistry()
				k := newCluster(t, 3, 1, func(o *engine.Options) {
					if name, _ := o.Peers.Self(); name == "a" {
						o.Metrics = metrics
					}
				})
				k.nodes[0].fabric.Lead(0)
				p := k.nodes[2].client(t)
				p.send(1, "q", "before", true)
				if err := p.result(1); err != nil {
					t.Fatal(err)
				}
				for _, node := range c.told {
					word := binary.BigEndian.AppendUint32([]byte{ping, 0, 0}, c.epoch)
					k.nodes[1].peers.Send(node, engine.LaneControl, binary.BigEndian.AppendUint64(word, 1))
				}
				<-time.After(5 * time.Second)
				sub := subscribed(t, p, "q", 2)
				sub.Grant(2)
				p.send(3, "q", "after", true)
				if err := p.result(3); err != nil {
					t.Fatal(err)
				}
				p.until("both messages", func() bool { return len(p.got) == 2 })
				k.nodes[0].serves(t, 0)
				want := 1.0
				if c.epoch < 1000 {
					want = 0 // the leader has gone beyond it
				}
				if got := metrictest.Value(t, metrics, "selvedge_engine_false_epochs_total"); got != want {
					t.Errorf("got %v epochs counted that are in no log, want %v", got, want)
				}
			})
		})
	}
}
