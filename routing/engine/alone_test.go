package engine_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/selvedge-mq/selvedge/routing/engine"
	"github.com/selvedge-mq/selvedge/routing/memlog"
)

// lastOf returns a cluster of three whose first node leads the shard, has confirmed a message
// of a client, and can reach no other node.
func lastOf(t *testing.T) (*testCluster, *client) {
	t.Helper()
	c := newCluster(t, 3, 1, nil)
	a := c.nodes[0]
	a.fabric.Lead(0)
	p := a.client(t)
	p.send(1, "q", "x", true)
	if err := p.result(1); err != nil {
		t.Fatal(err)
	}
	c.net.sever("b")
	c.net.sever("c")
	return c, p
}

// stop has a node hand over and drain, and returns how long both took.
func (n *testNode) stop() (took time.Duration, handOver, drain error) {
	began := time.Now()
	handOver = n.HandOver(context.Background())
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	drain = n.Drain(ctx)
	return time.Since(began), handOver, drain
}

// The last node of a cluster that stopped handed over for two seconds to nobody, and waited
// as long as it was allowed for confirmations that nobody could give.
func TestAlone_TheLastNodeWaitsForNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, p := lastOf(t)
		c.nodes[0].fabric.View(0).SetHook(func(op memlog.Op) memlog.Fault {
			if op.Kind == memlog.Append {
				return memlog.Fault{Delay: time.Minute, Err: memlog.ErrTimeout}
			}
			return memlog.Fault{}
		})
		p.send(2, "q", "x", true)
		took, handOver, drain := c.nodes[0].stop()
		if took > 500*time.Millisecond {
			t.Errorf("got a stop of %v, want it over when nobody has come for a while", took)
		}
		if !errors.Is(handOver, engine.ErrAlone) || !errors.Is(drain, engine.ErrAlone) {
			t.Errorf("got %v, and then %v; want %v", handOver, drain, engine.ErrAlone)
		}
		if took, _, drain = c.nodes[0].stop(); took > 100*time.Millisecond || !errors.Is(drain, engine.ErrAlone) {
			t.Errorf("got %v after %v for the second time, want %v at once", drain, took, engine.ErrAlone)
		}
	})
}

// Who comes back at the last moment takes over.
func TestAlone_WhoComesBackInTimeTakesOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, p := lastOf(t)
		time.AfterFunc(150*time.Millisecond, func() { c.net.rejoin("b") })
		p.send(2, "q", "x", true)
		_, handOver, drain := c.nodes[0].stop()
		if handOver != nil || drain != nil {
			t.Errorf("got %v, and then %v; want both done", handOver, drain)
		}
		if err := p.result(2); err != nil {
			t.Error(err)
		}
		c.nodes[1].serves(t, 0)
	})
}

// A node that is alone and has nothing under way has nothing to wait for either, and says so.
func TestAlone_WhatIsDoneIsDone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 2, 3, nil)
		c.net.sever("b")
		if took, _, err := c.nodes[0].stop(); err != nil || took > 500*time.Millisecond {
			t.Errorf("got %v after %v, want a drain that is done", err, took)
		}
	})
}
