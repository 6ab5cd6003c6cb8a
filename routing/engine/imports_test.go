package engine_test

import (
	"bytes"
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"github.com/selvedge-mq/selvedge/routing"
	"github.com/selvedge-mq/selvedge/routing/engine"
	"github.com/selvedge-mq/selvedge/routing/envelope"
	"github.com/selvedge-mq/selvedge/routing/memlog"
	"github.com/selvedge-mq/selvedge/routing/shard"
)

// oldFolder returns logs with n messages in some queues, a third of them consumed.
func oldFolder(t *testing.T, n int) []engine.Log {
	t.Helper()
	c := newCluster(t, 1, 2, nil)
	old := c.nodes[0]
	old.leadAll()
	p := old.client(t)
	for i := range n {
		p.send(uint64(i), fmt.Sprintf("q%d", i%7), fmt.Sprint(i), true)
	}
	for i := range n {
		if err := p.result(uint64(i)); err != nil {
			t.Fatal(err)
		}
	}
	sub := p.s.Subscribe(routing.SubscribeOptions{Address: routing.Queue("q0"), Settled: true}, p, p, uint64(n))
	sub.Grant(int32(n))
	p.until("the consumed ones", func() bool { return len(p.got) == (n+6)/7 })
	ctx, stop := context.WithTimeout(context.Background(), 10*time.Second)
	defer stop()
	if err := old.Drain(ctx); err != nil {
		t.Fatal(err)
	}
	return []engine.Log{old.fabric.Log(0), old.fabric.Log(1)}
}

func TestImport_KilledInTheMiddleAndRepeatedCopiesEachMessageOnce(t *testing.T) {
	const n = 20000
	logs := oldFolder(t, n)
	c := newCluster(t, 2, 3, nil)
	for i := range 3 {
		c.nodes[i%2].fabric.Lead(i)
	}
	run := func(until int) {
		f := memlog.NewFabric("import", 3, memlog.Options{})
		defer func() { _ = f.Close() }()
		peers := c.net.join("import", 4711)
		e, err := engine.New(engine.Options{Fabric: f, Peers: peers, Log: zerolog.Nop()})
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithTimeout(context.Background(), 30*time.Second)
		defer stop()
		err = e.Import(ctx, logs, func(done int) {
			if done >= until {
				stop()
			}
		})
		if until > n && err != nil {
			t.Fatal(err)
		}
		e.Close()
		c.net.sever("import")
	}
	run(n / 5)
	run(n / 2)
	run(n + 1)
	seen := map[string]bool{}
	r := c.nodes[0].client(t)
	for q := range 7 {
		sub := r.s.Subscribe(routing.SubscribeOptions{Address: routing.Queue(fmt.Sprintf("q%d", q))}, r, r, uint64(q))
		sub.Grant(n)
	}
	want := n - (n+6)/7
	r.until("every message", func() bool { return len(r.got) >= want })
	for _, d := range r.got {
		body := string(d.Envelope.Payload)
		if seen[body] {
			t.Fatalf("message %s came twice", body)
		}
		seen[body] = true
	}
	qs, err := c.nodes[1].Queues(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	depth := 0
	for _, q := range qs {
		depth += q.Depth
	}
	if depth != want {
		t.Errorf("got %d messages in the queues, want %d", depth, want)
	}
}

// The leader of the first run had refused a message; the second run took it for
// done, and the old folder was retired without it.
func TestImport_WhatWasRefusedOnceIsNotDone(t *testing.T) {
	logs := oldFolder(t, 1000)
	c := newCluster(t, 1, 1, nil)
	n := c.nodes[0]
	s := shard.New(shard.Options{SoftBytes: 1})
	appendBatch(t, n.fabric.View(0), s, s.Lead("a", 1, 1))
	lane := shard.LaneID{Session: 4711, Lane: 2}
	s.OpenLane(lane, "import", 1)
	s.Send(lane, 1, envelope.Append(nil, &routing.Envelope{Address: routing.Queue("q0"), Payload: []byte("too much")}))
	appendBatch(t, n.fabric.View(0), s, s.Seal(1))
	n.fabric.Lead(0)
	for run := range 3 {
		f := memlog.NewFabric("import", 1, memlog.Options{})
		e, err := engine.New(engine.Options{Fabric: f, Peers: c.net.join("import", 4711), Log: zerolog.Nop()})
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithTimeout(context.Background(), 20*time.Second)
		err = e.Import(ctx, logs, func(int) {})
		stop()
		if routing.CodeOf(err) == routing.CodeInternal || err == nil {
			t.Errorf("run %d: got %v, want the refusal", run, err)
		}
		e.Close()
		c.net.sever("import")
		_ = f.Close()
	}
}

// A persistent message in a temporary queue failed the import, whenever it was
// tried, as did one that cannot be read; and a rejected one on its way to the dead
// letters came back as new.
func TestImport_TakesWhatIsToBeTaken(t *testing.T) {
	old := memlog.NewFabric("old", 2, memlog.Options{})
	defer func() { _ = old.Close() }()
	lane, dead := shard.LaneID{Session: 1, Lane: 2}, shard.LaneID{Session: 0, Lane: 3}
	envOf := func(a routing.Address, body string) []byte {
		return envelope.Append(nil, &routing.Envelope{Address: a, Persistent: true, Encoding: routing.EncodingSTOMP, Group: "group", Payload: []byte(body)})
	}
	s := shard.New(shard.Options{DeadLetter: routing.Queue("ActiveMQ.DLQ")})
	appendBatch(t, old.View(0), s, s.Lead("old", 1, 1))
	s.OpenLane(lane, "old", 1)
	temp, q := routing.Address{Kind: routing.KindTempQueue, Name: "temp"}, routing.Queue("q")
	s.Create(lane, 1, temp)
	s.Send(lane, 2, envOf(temp, "temporary"))
	s.Send(lane, 3, envOf(q, "arrived"))
	s.Send(lane, 4, envOf(q, "poison"))
	s.Send(lane, 5, bytes.TrimSuffix(envOf(q, ""), []byte("oup\x00")))
	s.Send(lane, 6, envOf(q, "good"))
	sub := shard.SubID{Session: 1, Sub: 1}
	s.Subscribe(sub, q)
	s.Grant(sub, 2)
	appendBatch(t, old.View(0), s, s.Seal(1))
	s.Serve(true)
	s.Dispatch()
	appendBatch(t, old.View(0), s, s.Seal(1)) // the reservation
	s.Dispatch()
	settles := shard.LaneID{Session: 1, Lane: 1}
	s.OpenLane(settles, "old", 1)
	for i, d := range s.Effects().Deliveries {
		s.Settle(settles, uint64(i+1), shard.Settlement{Sub: sub, Key: d.Key, Outcome: rejected})
	}
	appendBatch(t, old.View(0), s, s.Seal(1))
	o := shard.New(shard.Options{})
	appendBatch(t, old.View(1), o, o.Lead("old", 1, 1))
	o.OpenLane(dead, "", 1)
	o.Send(dead, 1, envOf(routing.Queue("ActiveMQ.DLQ"), "arrived"))
	appendBatch(t, old.View(1), o, o.Seal(1))

	c := newCluster(t, 1, 1, nil)
	c.nodes[0].leadAll()
	f := memlog.NewFabric("import", 1, memlog.Options{})
	defer func() { _ = f.Close() }()
	e, err := engine.New(engine.Options{Fabric: f, Peers: c.net.join("import", 4711), Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	defer c.net.sever("import")
	defer e.Close()
	ctx, stop := context.WithTimeout(context.Background(), 20*time.Second)
	defer stop()
	if err := e.Import(ctx, []engine.Log{old.View(0), old.View(1)}, func(int) {}); err != nil {
		t.Fatal(err)
	}
	r := c.nodes[0].client(t)
	subscribed(t, r, "q", 1).Grant(10)
	subscribed(t, r, "ActiveMQ.DLQ", 2).Grant(10)
	r.until("the messages", func() bool { return len(r.got) == 3 })
	qs, err := c.nodes[0].Queues(ctx)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]int{}
	for _, q := range qs {
		got[q.Name] = q.Depth
	}
	if diff := cmp.Diff(map[string]int{"q": 1, "ActiveMQ.DLQ": 2}, got); diff != "" {
		t.Errorf("messages in the queues (-want +got):\n%s", diff)
	}
}
