package engine_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/selvedge-mq/selvedge/routing"
	"github.com/selvedge-mq/selvedge/routing/engine"
)

// A read whose delivery was settled in the meantime waited for the time limit, and the
// next leader was asked for other bytes, as if there were no head.
func TestReading_EndsWithTheSettlementOfItsDelivery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 2, 1, nil)
		c.nodes[0].fabric.Lead(0)
		p := c.nodes[1].largeClient(t)
		p.sendLarge(1, "q", payload(1<<20))
		sub := subscribed(t, p.client, "q", 2)
		sub.Grant(1)
		p.until("the message", func() bool { return len(p.got) == 1 })
		c.net.losing(func(_, _ string, lane engine.Lane) bool { return lane == engine.LaneDeliver })
		sub.Read(p.got[0].Tag, 1000, 10, p, 3)
		sub.Settle(p.got[0].Tag, accepted, p, 4)
		if err := p.result(4); err != nil {
			t.Fatal(err)
		}
		ended := func() bool { _, ok := p.pieces[3]; return ok }
		if !p.within(time.Second, ended) || routing.CodeOf(p.pieces[3].Err) != routing.CodeStale {
			t.Errorf("got %v (ended: %v), want that it is stale", p.pieces[3].Err, ended())
		}
	})
}
