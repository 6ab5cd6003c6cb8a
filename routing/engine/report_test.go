package engine_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/selvedge-mq/selvedge/routing"
	"github.com/selvedge-mq/selvedge/routing/engine"
)

// A node with very many deliveries in flight could not tell a new leader: its
// report was larger than a message may be.
func TestReport_ALargeOneTravelsInParts(t *testing.T) {
	const total = 70_000 // in three parts
	c := newCluster(t, 2, 1, nil)
	a, b := c.nodes[0], c.nodes[1]
	a.fabric.Lead(0)
	r, p := a.client(t), b.client(t)
	subs := []routing.Subscription{subscribed(t, r, "q", 1), subscribed(t, r, "q", 2)}
	subs[0].Grant(total - 100)
	for i := range total {
		p.send(uint64(i), "q", "x", true)
	}
	r.until("most messages", func() bool { return len(r.got) == total-100 })
	subs[1].Grant(100)
	r.until("all messages", func() bool { return len(r.got) == total })
	c.net.takeLargest()
	b.fabric.Lead(0)
	b.serves(t, 0)
	other := subscribed(t, p, "q", 1<<30)
	other.Grant(1000)
	other.Drain() // answered when the new leader serves, and there is nothing for it
	p.until("the drain", func() bool { return len(p.drained) == 1 })
	qs, err := b.Queues(context.Background())
	if err != nil || len(qs) != 1 || qs[0].Leader != "b" || qs[0].InFlight != total || len(p.got) > 0 {
		t.Errorf("got queues %+v, %v and %d deliveries, want all of %d still in flight", qs, err, len(p.got), total)
	}
	if size := c.net.takeLargest(); size > 600<<10 {
		t.Errorf("got a message of %d bytes", size)
	}
}

// What was given back is handed on without a trace in the log. When the leader ended
// before it was confirmed, the node of the former consumer said first to the next leader that
// it has the message; the one that has it was not listened to, and the message handed out
// once more.
func TestReport_WhoGivesAMessageBackHasItNoMore(t *testing.T) {
	for _, o := range []routing.Outcome{{Kind: routing.Released}, {Kind: routing.Modified, UndeliverableHere: true}} {
		synctest.Test(t, func(t *testing.T) {
			c := newCluster(t, 3, 1, nil)
			c.nodes[0].fabric.Lead(0)
			first, next, idle := c.nodes[1].client(t), c.nodes[2].client(t), c.nodes[1].client(t)
			sub := subscribed(t, first, "q", 1)
			sub.Grant(1)
			first.send(2, "q", "x", true)
			first.until("the message", func() bool { return len(first.got) == 1 })
			c.net.losing(func(from, to string, lane engine.Lane) bool {
				return from == "a" && to == "b" && lane == engine.LaneControl
			})
			sub.Settle(first.got[0].Tag, o, first, 3)
			at := subscribed(t, next, "q", 1)
			at.Grant(1)
			next.until("the message", func() bool { return len(next.got) == 1 })
			report := c.net.plug("c")
			c.nodes[1].fabric.Lead(0)
			<-time.After(100 * time.Millisecond)
			report()
			subscribed(t, idle, "q", 1).Grant(1)
			<-time.After(2 * time.Second)
			if len(idle.got) > 0 || len(next.got) > 1 {
				t.Errorf("%v: handed out once more", o)
			}
			at.Settle(next.got[0].Tag, accepted, next, 3)
			wantCode(t, "accept", next.result(3), routing.CodeOK)
			wantCode(t, "give it back", first.result(3), routing.CodeOK)
		})
	}
}

// departures is a fabric that knows who left.
type departures struct {
	engine.Fabric

	mu    sync.Mutex
	gone  uint64 // the session that left
	asked map[uint64]int
}

func (d *departures) Left(_ string, session uint64) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.asked[session]++
	return session == d.gone
}

func (d *departures) count(session uint64) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.asked[session]
}

// The lanes of a node that says goodbye and never comes back stayed for ever.
func TestReport_TheLanesOfANodeThatLeftAreDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &departures{asked: map[uint64]int{}}
		c := newCluster(t, 3, 1, func(o *engine.Options) {
			if name, _ := o.Peers.Self(); name == "a" {
				d.Fabric, o.Fabric = o.Fabric, d
			}
		})
		c.nodes[0].fabric.Lead(0)
		for i, n := range c.nodes {
			p := n.client(t)
			p.send(uint64(i), "q", "x", true)
			if err := p.result(uint64(i)); err != nil {
				t.Fatal(err)
			}
		}
		c.net.sever("b")
		c.net.sever("c")
		<-time.After(5 * time.Second)
		if d.count(101) == 0 || d.count(102) == 0 {
			t.Fatal("got no question about the nodes that are not here")
		}
		c.net.rejoin("c") // for the lease
		d.mu.Lock()
		d.gone = 101
		d.mu.Unlock()
		<-time.After(5 * time.Second)
		before := d.count(101)
		<-time.After(5 * time.Second)
		if again := d.count(101) - before; again != 0 || d.count(100) != 0 {
			t.Errorf("got %d questions about a session without lanes, %d about the own one", again, d.count(100))
		}
	})
}

// replicasOn is a fabric whose logs have replicas on some of the nodes.
type replicasOn struct {
	engine.Fabric
	nodes []string
}

func (f replicasOn) Replicas(int) []string { return f.nodes }

// A new process led a shard, met a node without a replica of it while it waited for the
// reports of others, and handed out what that node had in flight.
func TestReport_WhoComesWhileOthersAreWaitedForIsWaitedForToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 3, 1, func(o *engine.Options) { o.Fabric = replicasOn{o.Fabric, []string{"a", "b"}} })
		c.nodes[1].fabric.Lead(0)
		idle, holder := c.nodes[0].client(t), c.nodes[2].client(t)
		subscribed(t, holder, "q", 1).Grant(1)
		holder.send(2, "q", "x", true)
		holder.until("the message", func() bool { return len(holder.got) == 1 })
		subscribed(t, idle, "q", 1).Grant(1)
		c.net.sever("b")
		c.net.sever("c")
		report := c.net.plug("a")
		c.restart(1, 999).fabric.Lead(0)
		synctest.Wait()
		c.net.rejoin("c")
		synctest.Wait()
		report()
		<-time.After(2 * time.Second)
		if len(idle.got) > 0 {
			t.Errorf("got %d deliveries of what a live node has in flight", len(idle.got))
		}
	})
}

// A new process led a shard whose other replicas had all reported at once, met a node
// without a replica a moment later, and had handed out by then what that node's clients
// had in flight. The log names the nodes whose requests it took.
func TestReport_ANodeThatTheLogNamesIsWaitedFor(t *testing.T) {
	for _, c := range []struct {
		name string
		meet time.Duration // after the takeover; 0: never
		most time.Duration // until messages are handed out again
	}{
		{"it comes", 300 * time.Millisecond, 450 * time.Millisecond},
		{"it is gone", 0, 700 * time.Millisecond},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				k := newCluster(t, 3, 1, func(o *engine.Options) { o.Fabric = replicasOn{o.Fabric, []string{"a", "b"}} })
				k.nodes[1].fabric.Lead(0)
				idle, holder := k.nodes[0].client(t), k.nodes[2].client(t)
				subscribed(t, holder, "q", 1).Grant(1)
				holder.send(2, "q", "x", true)
				holder.until("the message", func() bool { return len(holder.got) == 1 })
				subscribed(t, idle, "q", 1).Grant(1)
				k.net.sever("b")
				k.net.sever("c")
				b, began := k.restart(1, 999), time.Now()
				b.fabric.Lead(0)
				if c.meet > 0 {
					<-time.After(c.meet)
					k.net.rejoin("c")
				}
				b.serves(t, 0)
				if took := time.Since(began); took > c.most {
					t.Errorf("messages are handed out %v after the takeover, want %v at most", took, c.most)
				}
				<-time.After(time.Second)
				idle.mu.Lock()
				defer idle.mu.Unlock()
				if got, want := len(idle.got), map[bool]int{true: 1}[c.meet == 0]; got != want {
					t.Errorf("got %d deliveries of what the other node has in flight, want %d", got, want)
				}
			})
		})
	}
}

// A new leader dropped what had expired before it heard who had it in flight: its consumer
// was told that somebody else had got it.
func TestReport_WhatIsInFlightDoesNotExpireBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newCluster(t, 3, 1, nil)
		k.nodes[0].fabric.Lead(0)
		holder := k.nodes[1].client(t)
		sub := subscribed(t, holder, "q", 1)
		sub.Grant(1)
		holder.s.Send(&routing.Envelope{
			Address: routing.Queue("q"), Encoding: routing.EncodingSTOMP, Persistent: true,
			Payload: []byte("x"), Expiry: time.Now().Add(time.Second).UnixMilli(),
		}, holder, 2)
		holder.until("the message", func() bool { return len(holder.got) == 1 })
		<-time.After(2 * time.Second)
		report := k.net.plug("b")
		k.nodes[2].fabric.Lead(0)
		<-time.After(300 * time.Millisecond)
		report()
		k.nodes[2].serves(t, 0)
		sub.Settle(holder.got[0].Tag, accepted, holder, 3)
		wantCode(t, "accept", holder.result(3), routing.CodeOK)
	})
}

// Nobody waits for a node that the leader has met, and that is gone: it is not known
// better by the log.
func TestReport_ANodeThatIsGoneIsNotWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newCluster(t, 3, 1, nil)
		k.nodes[2].fabric.Lead(0)
		p := k.nodes[2].client(t)
		p.send(1, "q", "x", true)
		if err := p.result(1); err != nil {
			t.Fatal(err)
		}
		k.net.sever("c")
		began := time.Now()
		k.nodes[0].fabric.Lead(0)
		k.nodes[0].serves(t, 0)
		if took := time.Since(began); took > 450*time.Millisecond { // a lease of two nodes of three takes one
			t.Errorf("messages are handed out %v after the takeover", took)
		}
	})
}

// A consumer had given a message back, and had got it again, when another node began to lead
// that knew nothing of that: the node of the consumer said once more that it gives the
// message back, and others got it, too.
func TestReport_WhatWasGivenBackAndCameAgainStays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 2, 1, nil)
		a, b := c.nodes[0], c.nodes[1]
		a.fabric.Lead(0)
		here, there := b.client(t), a.client(t)
		sub := subscribed(t, here, "q", 1)
		sub.Grant(2)
		here.send(2, "q", "x", true)
		here.until("the message", func() bool { return len(here.got) == 1 })
		c.net.losing(func(_, to string, lane engine.Lane) bool { return to == "b" && lane == engine.LaneControl })
		sub.Settle(here.got[0].Tag, routing.Outcome{Kind: routing.Released}, here, 3)
		here.until("the message again", func() bool { return len(here.got) == 2 })
		c.net.losing(nil)
		b.fabric.Lead(0)
		b.serves(t, 0)
		other := subscribed(t, there, "q", 4)
		other.Grant(1)
		<-time.After(time.Second)
		if len(there.got) > 0 {
			t.Error("somebody else got what the consumer has in flight")
		}
		if err := here.result(3); err != nil {
			t.Errorf("the end of what was given back: %v", err)
		}
		sub.Settle(here.got[1].Tag, accepted, here, 5)
		if err := here.result(5); err != nil {
			t.Errorf("the settlement of what came again: %v", err)
		}
	})
}
