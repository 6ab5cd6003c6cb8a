package engine_test

import (
	"bytes"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/selvedge-mq/selvedge/routing"
	"github.com/selvedge-mq/selvedge/routing/engine"
	"github.com/selvedge-mq/selvedge/routing/memlog"
)

// stuckLeader is a leader that stands still in an append, and whose outlet to another
// node does so while it reads a body.
type stuckLeader struct{ read, append chan struct{} } // closed to let them go on

// standStill has the next read of the log by a node stand still, and the append of a
// record that holds "stop".
func (n *testNode) standStill() stuckLeader {
	s := stuckLeader{make(chan struct{}), make(chan struct{})}
	n.fabric.View(0).SetHook(func(op memlog.Op) memlog.Fault {
		switch {
		case op.Kind == memlog.Scan:
			<-s.read
		case op.Kind == memlog.Append && bytes.Contains(op.Rec, []byte("stop")):
			<-s.append
		}
		return memlog.Fault{}
	})
	return s
}

// sendCold sends a message whose body has to be read, where the cache holds one record.
func (c *client) sendCold(queue string) {
	c.t.Helper()
	for i, to := range []string{queue, "elsewhere"} {
		c.send(uint64(i), to, "x", true)
		if err := c.result(uint64(i)); err != nil {
			c.t.Fatal(err)
		}
	}
}

// The connection of two nodes was lost and began anew while the leader had not come to
// it yet: its outlet sent what had gone back by then on the new connection, and two
// consumers had the message.
func TestOutlet_WhatWentBackDoesNotGoOutOnTheNextConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 2, 1, func(o *engine.Options) { o.CacheBytes = 1 })
		a, b := c.nodes[0], c.nodes[1]
		a.fabric.Lead(0)
		a.serves(t, 0)
		here, there := a.client(t), b.client(t)
		here.sendCold("q")
		other, sub := subscribed(t, here, "q", 2), subscribed(t, there, "q", 2)
		stuck := a.standStill()
		sub.Grant(1)
		synctest.Wait()
		here.send(3, "elsewhere", "stop", true)
		synctest.Wait()

		a.peers.Reset("b")
		synctest.Wait()
		if c.net.turned("up b at a") != 2 {
			t.Error("the nodes have not met anew") // what stands still has to go on
		}
		close(stuck.read)
		synctest.Wait()
		other.Grant(1)
		close(stuck.append)
		<-time.After(time.Second)
		if len(here.got)+len(there.got) != 1 {
			t.Errorf("got the message %d times here and %d times there, want one of it", len(here.got), len(there.got))
		}
	})
}

// holdUp holds up the goroutine that brings the answer to a read, until it is closed.
type holdUp chan struct{}

func (h holdUp) Piece(routing.Piece) { <-h }

// A node that was slow to see that its connection was lost brought the report that had waited
// on the next one, and then another one. What came for the first was taken for its own by
// a node that had reported anew without it, and was handed out again.
func TestOutlet_WhatGoesByAFormerReportIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 3, 1, nil) // the third one is for the lease
		c.net.window = 16 << 10
		a, b := c.nodes[0], c.nodes[1]
		b.fabric.Lead(0)
		b.serves(t, 0)
		here, there := a.client(t), b.client(t)
		q := longName(0) // the report is no smaller than what fills the lane
		other, sub := subscribed(t, here, q, 1), subscribed(t, there, q, 1)
		sub.Grant(1)
		unplug := c.net.plug("a")
		for i := range 20 { // more than the lane takes: the report has to wait
			there.s.Subscribe(routing.SubscribeOptions{Address: routing.Topic(longName(i))}, there, there, uint64(10+i))
		}
		a.fabric.Lead(0)
		synctest.Wait()

		first, second := make(holdUp), make(holdUp)
		sub.Read(routing.Tag{}, 0, 1, first, 0)
		synctest.Wait()
		sub.Read(routing.Tag{}, 0, 1, second, 0)
		a.peers.Reset("b")
		unplug()
		synctest.Wait()
		close(first)
		here.send(2, q, "x", true)
		<-time.After(2 * time.Second)
		other.Grant(1)
		synctest.Wait()
		close(second)
		<-time.After(2 * time.Second)
		if len(here.got)+len(there.got) != 1 {
			t.Errorf("got the message %d times here and %d times there, want one of it", len(here.got), len(there.got))
		}
	})
}

// A read came in just before its connection was lost, and found its way to an outlet behind
// that: the outlet was nobody's, and the node got no delivery of the shard any more.
func TestOutlet_AReadOfAConnectionThatWasLostMakesNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 2, 1, nil)
		a, b := c.nodes[0], c.nodes[1]
		a.fabric.Lead(0)
		a.serves(t, 0)
		p, r := a.largeClient(t), b.largeClient(t)
		p.sendLarge(1, "q", payload(2<<20))
		if err := p.result(1); err != nil {
			t.Fatal(err)
		}
		sub := subscribed(t, r.client, "q", 1)
		sub.Grant(9)
		r.until("the message", func() bool { return len(r.got) == 1 })
		stuck := a.standStill()
		close(stuck.read)
		p.send(2, "elsewhere", "stop", true)
		synctest.Wait()
		sub.Read(r.got[0].Tag, int64(len(r.got[0].Envelope.Payload)), 1000, r, 2)
		synctest.Wait()
		c.net.sever("b")
		close(stuck.append)
		synctest.Wait()
		c.net.rejoin("b")
		p.send(3, "q", "x", true)
		<-time.After(time.Second)
		last := r.got[len(r.got)-1]
		if string(last.Envelope.Payload) != "x" {
			t.Errorf("got %d deliveries, want the next message as the last one", len(r.got))
		}
	})
}

// A leader that had heard of a later epoch waited for the answer to an append before it
// ended, and its outlets went on to hand out what they had. [invariant 2]
func TestOutlet_OfADeposedLeaderHandsNothingOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 3, 1, func(o *engine.Options) { o.CacheBytes = 1 })
		a, b := c.nodes[0], c.nodes[1]
		a.fabric.Lead(0)
		a.serves(t, 0)
		here, there := a.client(t), b.client(t)
		here.sendCold("q")
		sub := subscribed(t, there, "q", 2)
		asked, reading := make(chan struct{}), make(chan struct{})
		a.fabric.View(0).SetHook(func(op memlog.Op) memlog.Fault {
			switch {
			case op.Kind == memlog.Scan:
				close(asked)
				<-reading
			case op.Kind == memlog.Append && bytes.Contains(op.Rec, []byte("stop")):
				return memlog.Fault{Delay: time.Second}
			}
			return memlog.Fault{}
		})
		sub.Grant(1)
		<-asked
		here.send(3, "elsewhere", "stop", true)
		synctest.Wait()
		c.nodes[2].fabric.Usurp(0)
		c.nodes[2].serves(t, 0)
		var handed atomic.Int32
		c.net.losing(func(from, _ string, lane engine.Lane) bool {
			if from == "a" && lane == engine.LaneDeliver {
				handed.Add(1)
			}
			return false
		})
		close(reading)
		<-time.After(100 * time.Millisecond)
		if n := handed.Load(); n > 0 {
			t.Errorf("got %d messages for consumers from the leader of a former epoch, want none", n)
		}
	})
}
