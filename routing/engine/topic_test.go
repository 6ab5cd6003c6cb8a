package engine_test

import (
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/selvedge-mq/selvedge/internal/metrictest"
	"github.com/selvedge-mq/selvedge/routing"
	"github.com/selvedge-mq/selvedge/routing/engine"
)

// publish sends messages to the topic "news" that expire after a time, 0 for never.
func publish(t *testing.T, p *client, after time.Duration, bodies ...string) {
	t.Helper()
	expiry := int64(0)
	if after > 0 {
		expiry = time.Now().Add(after).UnixMilli()
	}
	for _, body := range bodies {
		token := uint64(len(p.results) + 100)
		p.s.Send(&routing.Envelope{
			Address: routing.Topic("news"), Encoding: routing.EncodingSTOMP, Expiry: expiry, Payload: []byte(body),
		}, p, token)
		if err := p.result(token); err != nil {
			t.Fatal(err)
		}
	}
}

// A message that expired while its subscription had no credit was handed out.
func TestTopic_WhatHasExpiredIsNotHandedOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reg := prometheus.NewRegistry()
		c := newCluster(t, 1, 1, func(o *engine.Options) { o.Metrics = reg })
		r, p := c.nodes[0].client(t), c.nodes[0].client(t)
		sub := r.s.Subscribe(routing.SubscribeOptions{Address: routing.Topic("news")}, r, r, 1)
		if err := r.result(1); err != nil {
			t.Fatal(err)
		}
		publish(t, p, 50*time.Millisecond, "short", "short too")
		publish(t, p, time.Hour, "long")
		publish(t, p, 0, "for ever")
		<-time.After(time.Second)
		sub.Grant(2)
		r.until("what has not expired", func() bool { return len(r.got) == 2 })
		for i, want := range []string{"long", "for ever"} {
			if got := string(r.got[i].Envelope.Payload); got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		}
		if got := metrictest.Value(t, reg, "selvedge_engine_topic_expired_total"); got != 2 {
			t.Errorf("got %v messages counted as expired, want 2", got)
		}
	})
}

// What has expired makes room for what has not.
func TestTopic_WhatHasExpiredTakesNoRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const fits = 10
		reg := prometheus.NewRegistry()
		c := newCluster(t, 1, 1, func(o *engine.Options) { o.Metrics, o.TopicBytes = reg, fits*1100 })
		r, p := c.nodes[0].client(t), c.nodes[0].client(t)
		sub := r.s.Subscribe(routing.SubscribeOptions{Address: routing.Topic("news")}, r, r, 1)
		if err := r.result(1); err != nil {
			t.Fatal(err)
		}
		for i := range fits {
			publish(t, p, 50*time.Millisecond, strconv.Itoa(i)+string(make([]byte, 1000)))
		}
		<-time.After(time.Second)
		for i := range fits {
			publish(t, p, 0, strconv.Itoa(i)+string(make([]byte, 1000)))
		}
		sub.Grant(3 * fits)
		r.until("all that has not expired", func() bool { return len(r.got) == fits })
		if got := metrictest.Value(t, reg, "selvedge_engine_topic_dropped_total"); got != 0 {
			t.Errorf("got %v messages dropped, want none", got)
		}
	})
}

// What waited for a node that read nothing was dropped with the connection, and nobody
// counted it. [invariant 4]
func TestTopic_WhatWaitsForANodeThatIsLostIsCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const sent = 10 // the window takes one
		c, reg := newControlCluster(t)
		r, p := c.nodes[1].client(t), c.nodes[0].client(t)
		r.s.Subscribe(routing.SubscribeOptions{Address: routing.Topic("news")}, r, r, 1)
		if err := r.result(1); err != nil {
			t.Fatal(err)
		}
		unplug := c.net.plug("b")
		for range sent {
			publish(t, p, 0, string(make([]byte, 10<<10)))
			synctest.Wait()
		}
		c.nodes[0].peers.Reset("b")
		unplug()
		synctest.Wait()
		if got := metrictest.Value(t, reg, "selvedge_engine_topic_dropped_total"); got != sent-1 {
			t.Errorf("got %v messages dropped, want %d", got, sent-1)
		}
	})
}
