package integration

import (
	"fmt"
	"testing"

	"github.com/go-stomp/stomp/v3"

	"github.com/selvedge-mq/selvedge/integration/harness"
)

func dialGoSTOMP(t *testing.T, addr string) *stomp.Conn {
	t.Helper()
	c, err := stomp.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.MustDisconnect() })
	return c
}

func ok(t *testing.T, doing string, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("%s: %v", doing, err)
	}
}

// A transaction over queues whose shards three nodes lead: all of it, or nothing.
func TestSTOMPTransactionsAcrossShards(t *testing.T) {
	cluster := harness.StartCluster(t, 3)
	via := cluster.Nodes[0]
	var queues []string
	for _, leader := range []string{"a", "b", "c"} {
		queues = append(queues, ledBy(t, via, leader, "tx."+leader))
	}
	depths := func(want ...int) {
		t.Helper()
		for i, q := range queues {
			harness.AwaitDepth(t, via.HTTP, q, want[i])
		}
	}
	c := dialGoSTOMP(t, via.STOMP)
	send := func(tx *stomp.Transaction, queue, body string) {
		t.Helper()
		ok(t, "send", tx.Send("/queue/"+queue, "text/plain", []byte(body), stomp.SendOpt.Header("persistent", "true"), stomp.SendOpt.Receipt))
	}

	aborted, committed := c.Begin(), c.Begin()
	for i := range 10 {
		for _, q := range queues {
			send(aborted, q, "never")
			send(committed, q, fmt.Sprint(i))
		}
	}
	depths(0, 0, 0)
	ok(t, "abort", aborted.AbortWithReceipt())
	depths(0, 0, 0)
	ok(t, "commit", committed.CommitWithReceipt())
	depths(10, 10, 10)

	// A message is moved from one shard to another.
	from := dialGoSTOMP(t, cluster.Nodes[1].STOMP)
	sub, err := from.Subscribe("/queue/"+queues[0], stomp.AckClientIndividual, stomp.SubscribeOpt.Header("prefetch-count", "1"))
	ok(t, "subscribe", err)
	m := <-sub.C
	ok(t, "receive", m.Err)
	for _, commit := range []bool{false, true} {
		tx := from.Begin()
		send(tx, queues[2], "moved")
		ok(t, "ack", tx.Ack(m))
		if !commit {
			ok(t, "abort", tx.AbortWithReceipt())
			depths(10, 10, 10)
			continue
		}
		ok(t, "commit", tx.CommitWithReceipt())
		depths(9, 10, 11)
	}

	// A client that is gone leaves no part of its transaction.
	next := <-sub.C
	ok(t, "receive", next.Err)
	open := from.Begin()
	send(open, queues[1], "never")
	ok(t, "ack", open.Ack(next))
	ok(t, "go away", from.MustDisconnect())
	depths(9, 10, 11)
	last := dialGoSTOMP(t, cluster.Nodes[2].STOMP)
	again, err := last.Subscribe("/queue/"+queues[0], stomp.AckClientIndividual)
	ok(t, "subscribe", err)
	for m := range again.C { // those behind it may come before the node sees that the client is gone
		ok(t, "receive", m.Err)
		if string(m.Body) != string(next.Body) {
			continue
		}
		if m.Header.Get("redelivered") != "true" {
			t.Errorf("got %v, want it marked as redelivered", m.Header)
		}
		return
	}
}
