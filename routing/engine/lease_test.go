package engine_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/selvedge-mq/selvedge/routing"
	"github.com/selvedge-mq/selvedge/routing/engine"
)

// Without a lease nothing that is not logged may be confirmed.
func TestLease_NonPersistentSendsAreNotConfirmedWithoutOne(t *testing.T) {
	c := newCluster(t, 3, 1, func(o *engine.Options) { o.Lease, o.SendTimeout = 1, time.Second })
	n := c.nodes[0]
	n.fabric.Lead(0)
	p := n.client(t)
	p.send(1, "q", "x", false)
	if err := p.result(1); err == nil {
		t.Fatal("got a confirmation of a leader that never had a lease")
	}
}

// A batch that is not logged waits behind a record under way. When the record is
// committed at last, the lease may have ended long ago, and another node may lead.
func TestLease_WhatIsNotLoggedIsNotConfirmedBehindALateRecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 3, 1, func(o *engine.Options) { o.SendTimeout = 3 * time.Second })
		a := c.nodes[0]
		a.fabric.Lead(0)
		p := a.client(t)
		p.send(1, "q", "first", true)
		if err := p.result(1); err != nil {
			t.Fatal(err)
		}
		appending := a.slowAppend("slow", 1500*time.Millisecond)
		p.send(2, "q", "slow", true)
		<-appending
		p.send(3, "q", "soft", false) // sealed behind the record, while the lease is held
		p.send(4, "q", "late", true)
		synctest.Wait()
		c.net.sever("b")
		c.net.sever("c")
		if err := p.result(2); err != nil {
			t.Errorf("the record was committed, but got %v", err)
		}
		if err := p.result(3); routing.CodeOf(err) != routing.CodeTimeout {
			t.Errorf("got %v for a send that is not logged, want a timeout", err)
		}
	})
}

// A deposed leader whose fabric does not tell it stops at the first word of the
// later epoch, stands back while the other one lives, and leads again after it.
func TestLease_ALeaderThatHearsOfALaterEpochStandsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 3, 1, nil)
		a, b := c.nodes[0], c.nodes[1]
		a.fabric.Lead(0)
		p := a.client(t)
		p.send(1, "q", "first", true)
		if err := p.result(1); err != nil {
			t.Fatal(err)
		}
		b.fabric.Usurp(0)
		<-time.After(3 * time.Second)
		p.send(2, "q", "second", true)
		if err := p.result(2); err != nil {
			t.Fatal(err)
		}
		qs, err := a.Queues(context.Background())
		if err != nil || len(qs) != 1 || qs[0].Leader != "b" {
			t.Fatalf("got queues %+v, %v; want one, led by b", qs, err)
		}
		b.fabric.Abandon(0)
		p.send(3, "q", "third", true)
		if err := p.result(3); err != nil {
			t.Fatal(err)
		}
		<-time.After(time.Second) // for the reports and the lease
		if led := a.Stats().ShardsLed; len(led) != 1 {
			t.Errorf("got shards %v led by the node that the fabric names, want its one", led)
		}
	})
}

// An outlet looked at the lease, then waited for the node's window, and sent what
// it had without another look, however long that took.
func TestLease_ADeliveryThatWaitedForAWindowNeedsItToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 5, 1, nil)
		a, b := c.nodes[0], c.nodes[1]
		a.fabric.Lead(0)
		slow := &stuckSink{client: b.client(t), entered: make(chan struct{}), goOn: make(chan struct{})}
		const total = 20
		slow.s.Subscribe(routing.SubscribeOptions{Address: routing.Queue("q")}, slow, slow, 1).Grant(total)
		if err := slow.result(1); err != nil {
			t.Fatal(err)
		}
		p := a.client(t)
		big := string(make([]byte, 300<<10))
		for i := range total {
			p.send(uint64(i), "q", big, true)
			if err := p.result(uint64(i)); err != nil {
				t.Fatal(err)
			}
		}
		<-slow.entered
		synctest.Wait() // the window is full, a delivery waits for it
		for _, n := range []string{"c", "d", "e"} {
			c.net.sever(n)
		}
		<-time.After(time.Second)
		var handed atomic.Int32
		c.net.mu.Lock()
		c.net.lose = func(_, _ string, lane engine.Lane) bool {
			if lane == engine.LaneDeliver {
				handed.Add(1)
			}
			return false
		}
		c.net.mu.Unlock()
		close(slow.goOn)
		<-time.After(time.Second)
		if n := handed.Load(); n > 0 {
			t.Errorf("a leader without a lease handed out %d times", n)
		}
	})
}
