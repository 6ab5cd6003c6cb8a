package engine_test

import (
	"context"
	"slices"
	"testing"

	"github.com/selvedge-mq/selvedge/routing"
	"github.com/selvedge-mq/selvedge/routing/engine"
)

// goneFrom returns the address of a temporary queue that was in a shard.
func (c *client) goneFrom(t *testing.T, n *testNode, shard int) routing.Address {
	t.Helper()
	for token := uint64(1000); token < 1100; token += 2 {
		a := c.s.CreateTemporary(routing.KindTempQueue, c, token)
		if err := c.result(token); err != nil {
			t.Fatal(err)
		}
		qs, err := n.Queues(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		c.s.DeleteTemporary(a, c, token+1)
		if err := c.result(token + 1); err != nil {
			t.Fatal(err)
		}
		if slices.ContainsFunc(qs, func(q engine.QueueInfo) bool { return q.Name == a.String() && q.Shard == shard }) {
			return a
		}
	}
	t.Fatalf("got no temporary queue in shard %d", shard)
	return routing.Address{}
}

// A client that was told that its transaction had failed settled the delivery anew,
// as it may: the shard still held the message for the transaction and answered
// stale, so that the message stayed in flight until the consumer was gone.
func TestTransaction_ThatFailedHasGivenItsDeliveriesBackWhenItIsTold(t *testing.T) {
	c := newCluster(t, 1, 2, nil)
	n := c.nodes[0]
	n.leadAll()
	r := n.client(t)
	gone, queue := r.goneFrom(t, n, 1), n.queueIn(t, 0)
	sub := subscribed(t, r, queue, 1)
	sub.Grant(10)
	r.send(2, queue, "work", true)
	r.until("the work", func() bool { return len(r.got) == 1 })
	tx := r.s.Begin()
	tx.Settle(sub, r.got[0].Tag, accepted)
	tx.Send(&routing.Envelope{Address: gone, Encoding: routing.EncodingSTOMP, Persistent: true, Payload: []byte("x")}, nil, 0)
	tx.Commit(r, 3)
	if got := routing.CodeOf(r.result(3)); got != routing.CodeNotFound {
		t.Fatalf("the commit: got %v, want not-found", got)
	}
	sub.Settle(r.got[0].Tag, accepted, r, 4)
	if err := r.result(4); err != nil {
		t.Errorf("the settlement behind it: %v", err)
	}
}
