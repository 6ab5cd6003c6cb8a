package engine_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/selvedge-mq/selvedge/routing"
	"github.com/selvedge-mq/selvedge/routing/engine"
	"github.com/selvedge-mq/selvedge/routing/memlog"
)

// A confirmation that a leader makes after the node went down waits in
// gates.control; after PeerUp everything queues behind it and nobody flushes.
func TestFailover_ANodeThatComesBackJoinsThoughAConfirmationWasUnderWay(t *testing.T) {
	c := newCluster(t, 2, 1, nil)
	a, b := c.nodes[0], c.nodes[1]
	a.fabric.Lead(0)
	p := b.client(t)
	p.send(1, "q", "first", true)
	if err := p.result(1); err != nil {
		t.Fatal(err)
	}
	appending := a.slowAppend("second", 300*time.Millisecond)
	p.send(2, "q", "second", true)
	<-appending
	c.net.sever("b")
	w := a.client(t) // confirmed behind "second": then that was answered too
	w.send(1, "q", "third", true)
	if err := w.result(1); err != nil {
		t.Fatal(err)
	}
	c.net.rejoin("b")
	if !p.within(5*time.Second, func() bool { _, ok := p.results[2]; return ok }) {
		t.Fatal("got no result 5 s after the node came back")
	}
}

// The old process's confirmation reaches the new process, which takes numbers
// that it has not given out yet for done.
func TestFailover_AConfirmationOfAFormerProcessDoesNotConfirmNewSends(t *testing.T) {
	c := newCluster(t, 2, 1, nil)
	a := c.nodes[0]
	a.fabric.Lead(0)
	p := c.nodes[1].client(t)
	for i := range 5 {
		p.send(uint64(i), "q", "before", true)
		_ = p.result(uint64(i))
	}
	appending := a.slowAppend("slow", 1500*time.Millisecond)
	p.send(10, "q", "slow", true)
	<-appending
	c.net.sever("b")
	b := c.restart(1, 999)
	n := b.client(t)
	n.s.Subscribe(routing.SubscribeOptions{Address: routing.Queue("q")}, n, n, 1)
	if err := n.result(1); err != nil { // the new process has joined
		t.Fatal(err)
	}
	w := a.client(t)
	w.send(1, "q", "behind", true)
	_ = w.result(1) // the slow append and its confirmation are over
	n.send(2, "other", "marker", true)
	if err := n.result(2); err != nil {
		t.Fatal(err)
	}
	n.send(3, "other", "marker", true)
	if err := n.result(3); err != nil {
		t.Fatal(err)
	}
	r := a.client(t)
	subscribed(t, r, "other", 1).Grant(10)
	if !r.within(3*time.Second, func() bool { return len(r.got) == 2 }) {
		t.Fatalf("got %d of two messages that were confirmed", len(r.got))
	}
}

// A node kept in mind whatever a leader confirmed, and confirmed what its clients sent
// later, though nothing of it was in a log: that is for an import alone, which has sent it
// as another process.
func TestFailover_NothingIsConfirmedThatWasNotMade(t *testing.T) {
	for _, sent := range []int{0, 5} {
		synctest.Test(t, func(t *testing.T) {
			c := newCluster(t, 2, 1, nil)
			a := c.nodes[0]
			a.fabric.Lead(0)
			p := c.nodes[1].client(t)
			subscribed(t, p, "q", 1)
			for i := range uint64(sent) {
				p.send(10+i, "q", "before", true)
				_ = p.result(10 + i)
			}
			a.peers.Send("b", engine.LaneControl, message(12).u64(101).uvarints(1).octets(2).uvarints(1<<40))
			appending := a.slowAppend("late", 1500*time.Millisecond)
			p.send(2, "q", "late", true)
			<-appending
			<-time.After(time.Second)
			if p.within(time.Millisecond, func() bool { _, ok := p.results[2]; return ok }) {
				t.Errorf("after %d sends: got a confirmation of what is not in the log", sent)
			}
			if err := p.result(2); err != nil {
				t.Error(err)
			}
		})
	}
}

// After a restart the leader knows two sessions of the node and takes any.
func TestFailover_SubscriptionsOfARestartedNodeWork(t *testing.T) {
	c := newCluster(t, 2, 1, nil)
	a := c.nodes[0]
	a.fabric.Lead(0)
	p := c.nodes[1].client(t)
	subscribed(t, p, "q", 1)
	c.net.sever("b")
	b := c.restart(1, 999)
	n := b.client(t)
	subscribed(t, n, "first", 1)
	for i := range 20 {
		r, queue := b.client(t), fmt.Sprintf("q%d", i)
		sub := subscribed(t, r, queue, 1)
		sub.Grant(10)
		r.send(2, queue, "x", true)
		if !r.within(2*time.Second, func() bool { return len(r.got) == 1 }) {
			t.Fatalf("subscription %d: got no delivery", i)
		}
		sub.Settle(r.got[0].Tag, accepted, r, 3)
		if err := r.result(3); err != nil {
			t.Fatalf("subscription %d: settlement: %v", i, err)
		}
	}
}

// A failed attempt is logged, its confirmation is lost: the node reports the
// delivery as in flight, then learns that it settled it.
func TestFailover_AFailedAttemptComesBackAfterALeaderChange(t *testing.T) {
	c := newCluster(t, 1, 1, nil)
	n := c.nodes[0]
	n.fabric.Lead(0)
	r := n.client(t)
	sub := subscribed(t, r, "q", 1)
	sub.Grant(10)
	r.send(2, "q", "x", true)
	r.until("the message", func() bool { return len(r.got) == 1 })
	if err := r.result(2); err != nil {
		t.Fatal(err)
	}
	n.fabric.View(0).FailNext(memlog.Append, 1, memlog.Fault{LoseAnswer: true, Err: memlog.ErrTimeout})
	sub.Settle(r.got[0].Tag, routing.Outcome{Kind: routing.Modified, DeliveryFailed: true}, r, 3)
	if err := r.result(3); err != nil {
		t.Fatal(err)
	}
	if !r.within(4*time.Second, func() bool { return len(r.got) == 2 }) {
		qs, _ := n.Queues(context.Background())
		t.Fatalf("the message does not come back; queues %+v", qs)
	}
}

// A node's report came in the order of a map: after a change of leader the end of
// a subscription counted any of its deliveries, not the oldest one.
func TestFailover_TheOldestDeliveryIsKnownToTheNextLeader(t *testing.T) {
	c := newCluster(t, 2, 1, nil)
	a, b := c.nodes[0], c.nodes[1]
	a.fabric.Lead(0)
	const n = 20
	first := a.client(t)
	sub := subscribed(t, first, "q", 1)
	sub.Grant(n)
	for i := range n {
		first.send(uint64(10+i), "q", "x", true)
	}
	first.until("all messages", func() bool { return len(first.got) == n })
	b.fabric.Lead(0)
	second := b.client(t)
	again := subscribed(t, second, "q", 1)
	b.serves(t, 0)
	first.send(2, "other", "x", true)
	if err := first.result(2); err != nil { // the next leader knows what the first node holds
		t.Fatal(err)
	}
	sub.Close(first, 3)
	if err := first.result(3); err != nil {
		t.Fatal(err)
	}
	again.Grant(n)
	second.until("all messages again", func() bool { return len(second.got) == n })
	for i, d := range second.got {
		want := uint32(0)
		if i == 0 {
			want = 1
		}
		if d.Failed != want {
			t.Errorf("message %d: got %d failed attempts, want %d", i, d.Failed, want)
		}
	}
}

// A consumer got an older message that came back after the one at which it was. The next leader
// heard of its deliveries in the order of their keys, and counted an attempt at the older one.
func TestFailover_TheOldestDeliveryIsTheOneThatCameFirst(t *testing.T) {
	c := newCluster(t, 2, 1, nil)
	a, b := c.nodes[0], c.nodes[1]
	a.fabric.Lead(0)
	first, other := a.client(t), b.client(t)
	sub, away := subscribed(t, first, "q", 1), subscribed(t, other, "q", 1)
	away.Grant(1)
	first.send(2, "q", "older", true)
	other.until("the older message", func() bool { return len(other.got) == 1 })
	sub.Grant(2)
	first.send(3, "q", "younger", true)
	first.until("the younger message", func() bool { return len(first.got) == 1 })
	away.Settle(other.got[0].Tag, routing.Outcome{Kind: routing.Released}, other, 2)
	if err := other.result(2); err != nil {
		t.Fatal(err)
	}
	first.until("both messages", func() bool { return len(first.got) == 2 })
	b.fabric.Lead(0)
	b.serves(t, 0)
	first.send(4, "other", "x", true)
	if err := first.result(4); err != nil { // the next leader knows what the first node holds
		t.Fatal(err)
	}
	sub.Close(first, 5)
	if err := first.result(5); err != nil {
		t.Fatal(err)
	}
	away.Grant(2)
	other.until("both messages again", func() bool { return len(other.got) == 3 })
	if older, younger := other.got[1].Failed, other.got[2].Failed; older != 0 || younger != 1 {
		t.Errorf("got %d and %d failed attempts, want none at the older message and one at the younger, which came first", older, younger)
	}
}

// The writer of a later epoch is gone, and the fabric names the leader of an
// earlier one that never heard of it: the nodes that had heard of it waited for ever.
func TestFailover_ALeaderThatMissedAnEpochBeginsAnother(t *testing.T) {
	c := newCluster(t, 3, 1, nil)
	a, b := c.nodes[0], c.nodes[1]
	a.fabric.Lead(0)
	p := c.nodes[2].client(t)
	p.send(1, "q", "first", true)
	if err := p.result(1); err != nil {
		t.Fatal(err)
	}
	c.net.sever("a")
	b.fabric.Usurp(0)
	p.send(2, "q", "second", true)
	if err := p.result(2); err != nil {
		t.Fatal(err)
	}
	b.fabric.Abandon(0)
	for tick := time.NewTicker(time.Millisecond); len(b.Stats().ShardsLed) > 0; <-tick.C {
	}
	c.net.rejoin("a")
	p.send(3, "q", "third", true)
	if !p.within(5*time.Second, func() bool { _, ok := p.results[3]; return ok }) {
		t.Fatal("got no result 5 s after the leader came back")
	}
	if err := p.result(3); err != nil {
		t.Fatal(err)
	}
}
