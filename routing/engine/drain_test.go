package engine_test

import (
	"context"
	"errors"
	"strconv"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/selvedge-mq/selvedge/routing/engine"
	"github.com/selvedge-mq/selvedge/routing/memlog"
)

// A leader that hands over is at rest first: nothing arrives late in the log of the
// next one, nobody waits for a timeout, and nothing is confirmed twice or never.
func TestDrain_HandsOverALogAtRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 2, 1, nil)
		a, b := c.nodes[0], c.nodes[1]
		for _, n := range c.nodes {
			n.fabric.View(0).SetHook(func(op memlog.Op) memlog.Fault {
				if op.Kind == memlog.Append {
					return memlog.Fault{Delay: 20 * time.Millisecond}
				}
				return memlog.Fault{}
			})
		}
		a.fabric.Lead(0)
		p := b.client(t)
		p.send(0, "q", "0", true)
		if err := p.result(0); err != nil {
			t.Fatal(err)
		}
		var longest time.Duration
		for i := range uint64(100) {
			if i == 50 {
				go func() { // while appends are under way
					if err := a.HandOver(context.Background()); err != nil {
						t.Error(err)
					}
				}()
			}
			began := time.Now()
			p.send(i, "q", strconv.Itoa(int(i)), true)
			if err := p.result(i); err != nil {
				t.Fatal(err)
			}
			longest = max(longest, time.Since(began))
		}
		b.serves(t, 0)
		if longest > 300*time.Millisecond {
			t.Errorf("got a pause of %v, want less than 300 ms", longest)
		}
		if void := a.Stats().Counts.Void + b.Stats().Counts.Void; void > 0 {
			t.Errorf("got %d records that arrived late, want none", void)
		}
		if err := b.Drain(context.Background()); err != nil {
			t.Error(err)
		}
		qs, err := b.Queues(context.Background())
		if err != nil || len(qs) != 1 || qs[0].Depth != 101 || qs[0].Leader != "b" {
			t.Errorf("got queues %+v, %v; want one with 101 messages, led by b", qs, err)
		}
	})
}

// A leader whose log had been silent for as long as it may take to hand over asked the fabric
// for another one when the time was over, which was in vain, and led on.
func TestDrain_ASilentLogIsHandedOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 2, 1, nil)
		a, b := c.nodes[0], c.nodes[1]
		a.fabric.Lead(0)
		p := b.client(t)
		p.send(0, "q", "0", true)
		if err := p.result(0); err != nil {
			t.Fatal(err)
		}
		begun := a.slowAppend("silence", 10*time.Second)
		p.send(1, "q", "silence", true)
		<-begun
		if err := a.HandOver(context.Background()); err != nil {
			t.Error(err)
		}
		b.serves(t, 0)
	})
}

// A node alone led again after a hand-over to itself, and lost what is not
// persistent.
func TestDrain_AShardThatNobodyElseHoldsStays(t *testing.T) {
	c := newCluster(t, 1, 1, nil)
	n := c.nodes[0]
	n.fabric.Lead(0)
	r := n.client(t)
	r.send(1, "q", "soft", false)
	if err := r.result(1); err != nil {
		t.Fatal(err)
	}
	if err := n.HandOver(context.Background()); err != nil {
		t.Fatal(err)
	}
	subscribed(t, r, "q", 2).Grant(1)
	r.until("the message", func() bool { return len(r.got) == 1 })
}

// stubborn is a fabric that finds no other leader.
type stubborn struct {
	engine.Fabric
	asked atomic.Int32
}

func (s *stubborn) Resign(context.Context, int) error {
	s.asked.Add(1)
	return errors.New("there is no replica that could lead")
}

func TestDrain_ALeaderThatNobodyFollowsLeadsOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &stubborn{}
		c := newCluster(t, 2, 1, func(o *engine.Options) {
			if name, _ := o.Peers.Self(); name == "a" {
				s.Fabric, o.Fabric = o.Fabric, s
			}
		})
		a := c.nodes[0]
		a.fabric.Lead(0)
		p := a.client(t)
		p.send(1, "q", "x", true)
		if err := p.result(1); err != nil {
			t.Fatal(err)
		}
		if err := a.HandOver(context.Background()); err == nil || s.asked.Load() != 1 {
			t.Errorf("got %v after %d questions, want an error after one", err, s.asked.Load())
		}
		p.send(2, "q", "x", true)
		if err := p.result(2); err != nil {
			t.Fatal(err)
		}
		a.serves(t, 0)
	})
}
