package engine_test

import (
	"testing"

	"github.com/selvedge-mq/selvedge/routing"
	"github.com/selvedge-mq/selvedge/routing/engine"
)

// The leader that would have counted the attempt dies with the consumer: a message
// that killed each of its consumers that way came back for ever.
func TestAttempt_OfAConsumerThatDiesWithItsLeaderIsCounted(t *testing.T) {
	const most = 3
	c := newCluster(t, 2, 1, func(o *engine.Options) { o.MaxDeliveries = most })
	p := c.nodes[0].client(t)
	c.nodes[1].fabric.Lead(0)
	for i, body := range []string{"poison", "good", "better"} {
		p.send(uint64(i), "q", body, true)
		if err := p.result(uint64(i)); err != nil {
			t.Fatal(err)
		}
	}
	for death := range most + 1 {
		r := c.nodes[1].client(t)
		subscribed(t, r, "q", 1).Grant(2)
		r.until("what kills", func() bool { return len(r.got) > 0 })
		r.mu.Lock()
		d := r.got[0] // the next one may come now
		r.mu.Unlock()
		if string(d.Envelope.Payload) != "poison" || int(d.Failed) != max(death-1, 0) || d.Redelivered != (death > 0) {
			t.Fatalf("after %d deaths: got %q with %d failed attempts, marked %v", death, d.Envelope.Payload, d.Failed, d.Redelivered)
		}
		c.net.sever("b")
		c.restart(1, uint64(200+death))
		c.nodes[1].fabric.Lead(0)
	}
	r := c.nodes[0].client(t)
	subscribed(t, r, "q", 1).Grant(9)
	subscribed(t, r, "ActiveMQ.DLQ", 2).Grant(9)
	r.until("the good and the dead", func() bool { return len(r.got) == 3 })
	for _, d := range r.got {
		dead := d.Envelope.Address == routing.Queue("q") && string(d.Envelope.Payload) == "poison"
		if !dead && d.Failed != 0 {
			t.Errorf("got %q with %d failed attempts, want none", d.Envelope.Payload, d.Failed)
		}
	}
}

// A leader that starts over, on a node that lives on, counts nothing: the consumer
// is there.
func TestAttempt_OfAConsumerThatLivesIsNotCounted(t *testing.T) {
	c := newCluster(t, 2, 1, func(o *engine.Options) { o.MaxDeliveries = 2 })
	a, b := c.nodes[0], c.nodes[1]
	a.fabric.Lead(0)
	r := a.client(t)
	sub := subscribed(t, r, "q", 1)
	sub.Grant(9)
	r.send(2, "q", "x", true)
	r.until("the message", func() bool { return len(r.got) == 1 })
	sub.Settle(r.got[0].Tag, routing.Outcome{Kind: routing.Modified, DeliveryFailed: true}, r, 3)
	r.until("the message again", func() bool { return len(r.got) == 2 })
	for i := range 3 {
		[]*testNode{b, a}[i%2].fabric.Lead(0)
		[]*testNode{b, a}[i%2].serves(t, 0)
	}
	sub.Settle(r.got[1].Tag, routing.Outcome{Kind: routing.Released}, r, 4)
	r.until("the message once more", func() bool { return len(r.got) == 3 })
	if d := r.got[2]; d.Failed != 1 {
		t.Errorf("got %d failed attempts, want 1", d.Failed)
	}
}
