package engine_test

import (
	"sync/atomic"
	"testing"

	"github.com/selvedge-mq/selvedge/routing"
	"github.com/selvedge-mq/selvedge/routing/engine"
)

// TestEngine_ANodeMayRefuseSends: while Admit refuses, sends are answered with its
// error, and what is there is still delivered and settled.
func TestEngine_ANodeMayRefuseSends(t *testing.T) {
	var full atomic.Bool
	c := newCluster(t, 1, 1, func(o *engine.Options) {
		o.Admit = func() error {
			if full.Load() {
				return &routing.Error{Code: routing.CodeFull, Op: "send", Reason: "no room"}
			}
			return nil
		}
	})
	n := c.nodes[0]
	n.fabric.Lead(0)
	p, r := n.client(t), n.client(t)
	p.send(1, "q", "first", true)
	if err := p.result(1); err != nil {
		t.Fatal(err)
	}
	full.Store(true)
	p.send(2, "q", "second", true)
	if err := p.result(2); routing.CodeOf(err) != routing.CodeFull {
		t.Errorf("got %v, want code full", err)
	}
	sub := r.s.Subscribe(routing.SubscribeOptions{Address: routing.Queue("q")}, r, r, 1)
	sub.Grant(10)
	r.until("the first message", func() bool { return len(r.got) == 1 })
	sub.Settle(r.got[0].Tag, accepted, r, 2)
	if err := r.result(2); err != nil {
		t.Errorf("the settlement: got %v, want it done", err)
	}
	full.Store(false)
	p.send(3, "q", "third", true)
	if err := p.result(3); err != nil {
		t.Errorf("got %v, want the send admitted again", err)
	}
}
