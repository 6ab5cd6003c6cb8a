package engine_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/selvedge-mq/selvedge/routing"
	"github.com/selvedge-mq/selvedge/routing/engine"
)

const shortTimeout = 2 * time.Second

func impatient(o *engine.Options) { o.SendTimeout = shortTimeout }

// ended fails unless each of the requests ends with CodeTimeout and a reason,
// within the send timeout and one look of the portal.
func (c *client) ended(tokens ...uint64) {
	c.t.Helper()
	in := func() bool {
		for _, token := range tokens {
			if _, ok := c.results[token]; !ok {
				return false
			}
		}
		return true
	}
	if !c.within(shortTimeout+500*time.Millisecond, in) {
		c.t.Fatalf("got results %v in time, want all of %v", c.results, tokens)
	}
	for _, token := range tokens {
		err, ok := errors.AsType[*routing.Error](c.result(token))
		if !ok || err.Code != routing.CodeTimeout || err.Reason == "" {
			c.t.Errorf("request %d: got %v, want a timeout with a reason", token, err)
		}
	}
}

func TestTimeout_EveryRequestEndsWhenTheLeaderIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 1, 1, impatient)
		n := c.nodes[0]
		n.fabric.Lead(0)
		p := n.client(t)
		sub := subscribed(t, p, "q", 1)
		sub.Grant(10)
		p.send(2, "q", "x", true)
		p.until("the message", func() bool { return len(p.got) == 1 })
		idle := subscribed(t, p, "q", 3)
		n.fabric.Abandon(0)
		synctest.Wait()
		sub.Settle(p.got[0].Tag, accepted, p, 4)
		sub.Close(p, 5)
		idle.Close(p, 6)
		p.send(7, "q", "y", true)
		p.s.Subscribe(routing.SubscribeOptions{Address: routing.Queue("q")}, p, p, 8)
		if err := p.result(6); err != nil {
			t.Errorf("the end of a subscription without deliveries: got %v, want none", err)
		}
		p.ended(4, 5, 7, 8)

		n.fabric.Lead(0)
		p.send(9, "q", "z", true)
		if err := p.result(9); err != nil {
			t.Fatal(err)
		}
		qs, err := n.Queues(context.Background())
		if err != nil || len(qs) != 1 || qs[0].Consumers != 0 {
			t.Errorf("got queues %+v, %v; want one without consumers", qs, err)
		}
	})
}

// The leader made the subscription, but the word of it was lost: the client was
// told that it has none, so no message may go there.
func TestTimeout_ASubscriptionThatTimedOutDoesNotLiveOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 2, 1, impatient)
		a, b := c.nodes[0], c.nodes[1]
		a.fabric.Lead(0)
		r, p := b.client(t), a.client(t)
		r.send(1, "other", "joined", true)
		if err := r.result(1); err != nil {
			t.Fatal(err)
		}
		c.net.losing(func(from, _ string, lane engine.Lane) bool { return from == "a" && lane == engine.LaneControl })
		sub := r.s.Subscribe(routing.SubscribeOptions{Address: routing.Queue("q")}, r, r, 2)
		r.ended(2)
		sub.Grant(10)
		c.net.losing(nil)
		p.send(1, "q", "x", true)
		if err := p.result(1); err != nil {
			t.Fatal(err)
		}
		<-time.After(time.Second)
		qs, err := a.Queues(context.Background())
		if err != nil || len(qs) != 2 || qs[1].Consumers != 0 || qs[1].InFlight != 0 || len(r.got) != 0 {
			t.Errorf("got queues %+v, %v and %d deliveries; want no consumer", qs, err, len(r.got))
		}
	})
}

// A node that is up and does not take note of an interest must not keep the
// subscriptions of others waiting for ever.
func TestTimeout_ATopicSubscriptionEndsWhenANodeDoesNotTakeNote(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 2, 1, impatient)
		r := c.nodes[0].client(t)
		synctest.Wait()
		c.net.losing(func(from, _ string, lane engine.Lane) bool { return from == "b" && lane == engine.LaneControl })
		news := routing.SubscribeOptions{Address: routing.Topic("news")}
		r.s.Subscribe(news, r, r, 1).Grant(10)
		r.s.Subscribe(news, r, r, 2).Grant(10)
		r.ended(1, 2)
		c.net.losing(nil)
		r.s.Send(&routing.Envelope{Address: news.Address, Encoding: routing.EncodingSTOMP}, r, 3)
		if err := r.result(3); err != nil || len(r.got) != 0 {
			t.Errorf("got %v and %d deliveries, want none at a subscription that timed out", err, len(r.got))
		}
		r.s.Subscribe(news, r, r, 4)
		if err := r.result(4); err != nil {
			t.Error(err)
		}
	})
}
