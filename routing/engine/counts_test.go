package engine_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/selvedge-mq/selvedge/internal/metrictest"
	"github.com/selvedge-mq/selvedge/routing"
	"github.com/selvedge-mq/selvedge/routing/engine"
)

// What became of messages is counted once, though every leader reads the whole log.
func TestCounts_EveryDropAndRedeliveryByCause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reg := prometheus.NewPedanticRegistry()
		c := newCluster(t, 1, 1, func(o *engine.Options) { o.DeadLetter, o.MaxDeliveries, o.Metrics = "dead", 1, reg })
		n := c.nodes[0]
		n.fabric.Lead(0)
		r := n.client(t)
		sub := subscribed(t, r, "q", 1)
		failed := routing.Outcome{Kind: routing.Modified, DeliveryFailed: true}
		for i, o := range []routing.Outcome{rejected, failed, {Kind: routing.Released}} {
			sub.Grant(1)
			r.send(uint64(10+i), "q", "x", true)
			r.until("the message", func() bool { return len(r.got) == i+1 })
			sub.Settle(r.got[i].Tag, o, r, uint64(20+i))
			sub.Settle(r.got[i].Tag, rejected, r, uint64(30+i)) // stale
			_ = r.result(uint64(30 + i))
		}
		sub.Grant(1) // the exhausted one is found when it would be handed out again
		r.until("the released one again", func() bool { return len(r.got) == 4 })
		sub.Settle(r.got[3].Tag, accepted, r, 40)
		dead := subscribed(t, r, "dead", 2)
		dead.Grant(1)
		r.until("a dead letter", func() bool { return len(r.got) == 5 })
		dead.Settle(r.got[4].Tag, rejected, r, 41) // dropped
		_ = r.result(41)
		r.s.Send(&routing.Envelope{
			Address: routing.Queue("old"), Encoding: routing.EncodingSTOMP, Persistent: true, Expiry: time.Now().UnixMilli() + 10,
		}, r, 42)
		r.send(43, "soft", "x", false)
		_ = r.result(43)
		<-time.After(time.Second)
		n.fabric.Abandon(0)
		synctest.Wait()
		n.fabric.Lead(0) // reads it all again
		<-time.After(time.Second)
		want := engine.Counts{Rejected: 1, Exhausted: 1, Expired: 1, Refused: 1, Lost: 1, Stale: 3}
		if diff := cmp.Diff(want, n.Stats().Counts); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		sum := metrictest.Value(t, reg, "selvedge_engine_dropped_total") + metrictest.Value(t, reg, "selvedge_engine_dead_letters_total")
		if sum != 5 {
			t.Errorf("got %v dropped and dead-lettered in the metrics, want 5", sum)
		}
	})
}
