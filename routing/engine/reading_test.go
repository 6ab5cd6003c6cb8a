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

// A delivery that a node had lost to another consumer, and whose reader had heard so, was
// reported to the next leader once more: no one was to end it, and the message stayed with
// a subscription that settles by itself until that was closed.
func TestReading_ALostDeliveryOfASettledSubscriptionIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 3, 1, nil)
		c.nodes[0].fabric.Lead(0)
		far, near := c.nodes[2].largeClient(t), c.nodes[1].largeClient(t)
		near.sendLarge(1, "q", payload(1<<20))
		sub := far.s.Subscribe(routing.SubscribeOptions{Address: routing.Queue("q"), Settled: true}, far, far, 2)
		sub.Grant(1)
		far.until("the message", func() bool { return len(far.got) == 1 })
		c.net.sever("c")
		other := subscribed(t, near.client, "q", 3)
		other.Grant(1)
		near.until("the message", func() bool { return len(near.got) == 1 })
		c.net.rejoin("c")
		if p := far.read(sub, far.got[0].Tag, 1000, 10); routing.CodeOf(p.Err) != routing.CodeStale {
			t.Fatalf("a read of what another one has: got %v, want that it is stale", p.Err)
		}
		other.Close(near, 4)
		if err := near.result(4); err != nil {
			t.Fatal(err)
		}
		c.nodes[1].fabric.Lead(0)
		c.nodes[1].serves(t, 0)
		next := subscribed(t, near.client, "q", 5)
		next.Grant(1)
		if !near.within(time.Second, func() bool { return len(near.got) == 2 }) {
			t.Error("nobody gets the message any more")
		}
	})
}
