package engine_test

import (
	"context"
	"strconv"
	"testing"
	"time"

	"github.com/selvedge-mq/selvedge/routing"
	"github.com/selvedge-mq/selvedge/routing/engine"
)

func TestEngine_OneNodeSendsReceivesAndSettles(t *testing.T) {
	c := newCluster(t, 1, 2, nil)
	n := c.nodes[0]
	n.leadAll()
	p, r := n.client(t), n.client(t)
	sub := r.s.Subscribe(routing.SubscribeOptions{Address: routing.Queue("q")}, r, r, 1)
	if err := r.result(1); err != nil {
		t.Fatal(err)
	}
	sub.Grant(100)
	for i := range 50 {
		p.send(uint64(i), "q", strconv.Itoa(i), i%2 == 0)
	}
	for i := range 50 {
		if err := p.result(uint64(i)); err != nil {
			t.Fatalf("send %d: %v", i, err)
		}
	}
	r.until("50 deliveries", func() bool { return len(r.got) == 50 })
	for i, d := range r.got {
		if string(d.Envelope.Payload) != strconv.Itoa(i) || d.Redelivered {
			t.Fatalf("delivery %d: got %q, redelivered %v", i, d.Envelope.Payload, d.Redelivered)
		}
		sub.Settle(d.Tag, accepted, r, uint64(100+i))
	}
	for i := range 50 {
		if err := r.result(uint64(100 + i)); err != nil {
			t.Fatalf("settle %d: %v", i, err)
		}
	}
	sub.Drain()
	r.until("the drain", func() bool { return len(r.drained) == 1 && r.drained[0] == 50 })
	qs, err := n.Queues(context.Background())
	if err != nil || len(qs) != 1 || qs[0].Depth != 0 || qs[0].In != 50 || qs[0].Out != 50 {
		t.Fatalf("got queues %+v, %v", qs, err)
	}
}

func TestEngine_ThreeNodesKeepEveryConfirmedMessageThroughLeaderChanges(t *testing.T) {
	c := newCluster(t, 3, 1, nil)
	a, b, last := c.nodes[0], c.nodes[1], c.nodes[2]
	last.fabric.Lead(0)
	p, r := a.client(t), b.client(t)
	sub := r.s.Subscribe(routing.SubscribeOptions{Address: routing.Queue("q")}, r, r, 1)
	if err := r.result(1); err != nil {
		t.Fatal(err)
	}
	const total = 3000
	sub.Grant(total * 2)
	for i := range total {
		p.send(uint64(10+i), "q", strconv.Itoa(i), true)
		switch i {
		case total / 3:
			if err := p.result(uint64(10 + i/2)); err != nil {
				t.Fatal(err)
			}
			a.fabric.Lead(0)
		case total * 2 / 3:
			b.fabric.Lead(0)
		}
	}
	for i := range total {
		if err := p.result(uint64(10 + i)); err != nil {
			t.Fatalf("send %d: %v", i, err)
		}
	}
	seen := map[string]int{}
	r.until("every message", func() bool {
		clear(seen)
		for _, d := range r.got {
			body := string(d.Envelope.Payload)
			seen[body]++
			if seen[body] > 1 && !d.Redelivered {
				t.Fatalf("message %s came twice without a mark", body)
			}
		}
		return len(seen) == total
	})
	for i, d := range r.got {
		sub.Settle(d.Tag, accepted, r, uint64(100000+i))
	}
	for i := range r.got {
		if err := r.result(uint64(100000 + i)); err != nil {
			t.Fatal(err)
		}
	}
	qs, err := a.Queues(context.Background())
	if err != nil || len(qs) != 1 || qs[0].Depth != 0 || qs[0].Leader != "b" {
		t.Fatalf("got queues %+v, %v; want one, empty, led by b", qs, err)
	}
}

func TestEngine_ADeadNodesDeliveriesComeBackMarked(t *testing.T) {
	c := newCluster(t, 3, 1, nil)
	c.nodes[0].fabric.Lead(0)
	p, dead, alive := c.nodes[0].client(t), c.nodes[1].client(t), c.nodes[2].client(t)
	doomed := dead.s.Subscribe(routing.SubscribeOptions{Address: routing.Queue("q")}, dead, dead, 1)
	doomed.Grant(10)
	for i := range 10 {
		p.send(uint64(i), "q", strconv.Itoa(i), true)
	}
	dead.until("ten deliveries", func() bool { return len(dead.got) == 10 })
	heir := alive.s.Subscribe(routing.SubscribeOptions{Address: routing.Queue("q")}, alive, alive, 1)
	heir.Grant(20)
	c.net.sever("b")
	alive.until("ten deliveries", func() bool { return len(alive.got) == 10 })
	for i, d := range alive.got {
		if !d.Redelivered || string(d.Envelope.Payload) != strconv.Itoa(i) {
			t.Errorf("delivery %d: got %q, redelivered %v", i, d.Envelope.Payload, d.Redelivered)
		}
	}
}

func TestEngine_TopicsReachEveryNodesSubscriptions(t *testing.T) {
	c := newCluster(t, 3, 1, nil)
	p := c.nodes[0].client(t)
	var rs []*client
	for _, n := range c.nodes {
		r := n.client(t)
		sub := r.s.Subscribe(routing.SubscribeOptions{Address: routing.Topic("news")}, r, r, 1)
		sub.Grant(100)
		if err := r.result(1); err != nil {
			t.Fatal(err)
		}
		rs = append(rs, r)
	}
	for i := range 50 {
		p.s.Send(&routing.Envelope{Address: routing.Topic("news"), Encoding: routing.EncodingSTOMP, Payload: []byte(strconv.Itoa(i))}, p, uint64(i))
	}
	for _, r := range rs {
		r.until("50 messages", func() bool { return len(r.got) == 50 })
		for i, d := range r.got {
			if string(d.Envelope.Payload) != strconv.Itoa(i) {
				t.Fatalf("message %d: got %q", i, d.Envelope.Payload)
			}
		}
	}
}

func TestEngine_RejectedMessagesGoToTheDeadLetterQueue(t *testing.T) {
	c := newCluster(t, 1, 3, func(o *engine.Options) { o.DeadLetter = "DLQ" })
	n := c.nodes[0]
	n.leadAll()
	p, r, d := n.client(t), n.client(t), n.client(t)
	sub := r.s.Subscribe(routing.SubscribeOptions{Address: routing.Queue("q")}, r, r, 1)
	sub.Grant(100)
	dlq := d.s.Subscribe(routing.SubscribeOptions{Address: routing.Queue("DLQ")}, d, d, 1)
	dlq.Grant(100)
	p.send(1, "q", "rejected", true)
	r.until("the message", func() bool { return len(r.got) == 1 })
	sub.Settle(r.got[0].Tag, routing.Outcome{Kind: routing.Rejected}, r, 2)
	d.until("the dead letter", func() bool { return len(d.got) == 1 })
	if got := string(d.got[0].Envelope.Payload); got != "rejected" {
		t.Errorf("got %q, want %q", got, "rejected")
	}
	p.send(2, "q", "poison", true)
	for i := range 10 {
		r.until("the poison", func() bool { return len(r.got) == 2+i })
		if got := r.got[1+i].Failed; got != uint32(i) {
			t.Fatalf("attempt %d: got %d failed attempts before", i, got)
		}
		sub.Settle(r.got[1+i].Tag, routing.Outcome{Kind: routing.Modified, DeliveryFailed: true}, r, uint64(10+i))
	}
	d.until("the poison", func() bool { return len(d.got) == 2 })
}

// Requests made while or after the engine closes must end.
func TestEngine_RequestsAfterCloseEnd(t *testing.T) {
	c := newCluster(t, 1, 1, nil)
	n := c.nodes[0]
	n.fabric.Lead(0)
	p := n.client(t)
	n.Close()
	p.send(1, "q", "x", true)
	p.s.Subscribe(routing.SubscribeOptions{Address: routing.Queue("q")}, p, p, 2)
	if !p.within(time.Second, func() bool { return len(p.results) == 2 }) {
		t.Fatalf("got %d of two results", len(p.results))
	}
}
