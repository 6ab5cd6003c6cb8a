package engine_test

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/selvedge-mq/selvedge/routing"
	"github.com/selvedge-mq/selvedge/routing/engine"
	"github.com/selvedge-mq/selvedge/routing/memlog"
)

// queueIn returns the name of a queue that lives in a shard.
func (n *testNode) queueIn(t *testing.T, shard int) string {
	t.Helper()
	c := n.client(t)
	for i := range 50 {
		name := "q" + strconv.Itoa(i)
		subscribed(t, c, name, uint64(i)).Close(c, uint64(100+i))
		if err := c.result(uint64(100 + i)); err != nil {
			t.Fatal(err)
		}
		qs, err := n.Queues(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		if slices.ContainsFunc(qs, func(q engine.QueueInfo) bool { return q.Name == name && q.Shard == shard }) {
			return name
		}
	}
	t.Fatalf("got no queue in shard %d", shard)
	return ""
}

func (c *client) sendIn(tx routing.Transaction, token uint64, queue, body string) {
	tx.Send(&routing.Envelope{
		Address: routing.Queue(queue), Encoding: routing.EncodingSTOMP, Persistent: true, Payload: []byte(body),
	}, c, token)
}

// bodies returns what was delivered, in its order.
func (c *client) bodies() []string {
	var out []string
	for _, d := range c.got {
		out = append(out, string(d.Envelope.Payload))
	}
	return out
}

func TestTransaction_InOneShardTakesEffectAsAWhole(t *testing.T) {
	c := newCluster(t, 1, 1, nil)
	n := c.nodes[0]
	n.leadAll()
	p, r := n.client(t), n.client(t)
	sub := subscribed(t, r, "in", 1)
	out := subscribed(t, p, "out", 1)
	out.Grant(10)
	sub.Grant(10)
	p.send(2, "in", "work", true)
	r.until("the work", func() bool { return len(r.got) == 1 })

	tx := r.s.Begin()
	r.sendIn(tx, 2, "out", "a")
	r.sendIn(tx, 3, "out", "b")
	tx.Settle(sub, r.got[0].Tag, accepted)
	if err := r.result(2); err != nil {
		t.Fatal(err)
	}
	if p.within(100*time.Millisecond, func() bool { return len(p.got) > 0 }) {
		t.Fatalf("got %q before the commit", p.bodies())
	}
	tx.Commit(r, 4)
	if err := r.result(4); err != nil {
		t.Fatal(err)
	}
	p.until("both messages", func() bool { return slices.Equal(p.bodies(), []string{"a", "b"}) })
	sub.Settle(r.got[0].Tag, accepted, r, 5)
	if got := routing.CodeOf(r.result(5)); got != routing.CodeStale {
		t.Errorf("a second settlement: got %v, want stale", got)
	}
	tx.Commit(r, 6)
	if got := routing.CodeOf(r.result(6)); got != routing.CodeInvalid {
		t.Errorf("a second commit: got %v, want invalid", got)
	}
}

func TestTransaction_RollbackLeavesTheDeliveryWithItsConsumer(t *testing.T) {
	c := newCluster(t, 1, 2, nil)
	n := c.nodes[0]
	n.leadAll()
	r := n.client(t)
	sub := subscribed(t, r, "in", 1)
	sub.Grant(10)
	r.send(2, "in", "work", true)
	r.until("the work", func() bool { return len(r.got) == 1 })
	tx := r.s.Begin()
	r.sendIn(tx, 3, "in", "never")
	tx.Settle(sub, r.got[0].Tag, accepted)
	tx.Rollback()
	sub.Settle(r.got[0].Tag, accepted, r, 4)
	if err := r.result(4); err != nil {
		t.Fatal(err)
	}
	r.send(5, "in", "after", true)
	r.until("the next message", func() bool { return slices.Equal(r.bodies(), []string{"work", "after"}) })
}

func TestTransaction_ADeliveryThatWasHandedOutAgainAbortsIt(t *testing.T) {
	for _, shards := range []int{1, 2} {
		t.Run(fmt.Sprintf("over %d shards", shards), func(t *testing.T) {
			c := newCluster(t, 1, 2, nil)
			n := c.nodes[0]
			n.leadAll()
			in, other := n.queueIn(t, 0), n.queueIn(t, shards-1)
			r := n.client(t)
			sub := subscribed(t, r, in, 1)
			sub.Grant(1)
			r.send(2, in, "work", true)
			r.send(3, in, "more", true)
			r.until("the work", func() bool { return len(r.got) == 1 })
			sub.Settle(r.got[0].Tag, accepted, r, 4)
			sub.Grant(1)
			r.until("more work", func() bool { return len(r.got) == 2 })
			tx := r.s.Begin()
			tx.Settle(sub, r.got[1].Tag, accepted)
			tx.Settle(sub, r.got[0].Tag, accepted)
			r.sendIn(tx, 5, other, "never")
			tx.Commit(r, 6)
			if got := routing.CodeOf(r.result(6)); got != routing.CodeStale {
				t.Fatalf("commit: got %v, want stale", got)
			}
			sub.Settle(r.got[1].Tag, accepted, r, 7)
			if err := r.result(7); err != nil {
				t.Fatalf("the delivery is the consumer's again: %v", err)
			}
			n.wantEmpty(t)
		})
	}
}

// wantEmpty waits until no queue has a message.
func (n *testNode) wantEmpty(t *testing.T) {
	t.Helper()
	n.wantDepths(t, "every queue is empty", func(depths map[string]int) bool { return len(depths) == 0 })
}

// wantDepths waits until the depths of the queues that are not empty are as they
// should be.
func (n *testNode) wantDepths(t *testing.T, what string, ok func(depths map[string]int) bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(20 * time.Second)
	var depths map[string]int
	for {
		qs, err := n.Queues(context.Background())
		depths = map[string]int{}
		for _, q := range qs {
			if q.Depth > 0 {
				depths[q.Name] = q.Depth
			}
		}
		if err == nil && ok(depths) {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("%s: not in time; got %v, %v", what, depths, err)
		}
	}
}

func TestTransaction_OverSeveralShardsAndNodes(t *testing.T) {
	c := newCluster(t, 3, 3, nil)
	for i, n := range c.nodes {
		n.fabric.Lead(i)
	}
	n := c.nodes[0]
	queues := []string{n.queueIn(t, 0), n.queueIn(t, 1), n.queueIn(t, 2)}
	r := n.client(t)
	sub := subscribed(t, r, queues[1], 1)
	sub.Grant(10)
	r.send(2, queues[1], "work", true)
	r.until("the work", func() bool { return len(r.got) == 1 })
	tx := r.s.Begin()
	for i, q := range queues {
		r.sendIn(tx, uint64(10+i), q, "made")
	}
	tx.Settle(sub, r.got[0].Tag, accepted)
	tx.Commit(r, 20)
	sub.Close(r, 21) // the deliveries are settled before the subscription ends
	if err := r.result(20); err != nil {
		t.Fatal(err)
	}
	r.send(22, queues[2], "after", true)
	other := c.nodes[2].client(t)
	last := subscribed(t, other, queues[2], 1)
	last.Grant(10)
	other.until("what was sent, in order", func() bool { return slices.Equal(other.bodies(), []string{"made", "after"}) })
	n.wantDepths(t, "one message in each queue", func(d map[string]int) bool {
		return d[queues[0]] == 1 && d[queues[1]] == 1 && d[queues[2]] == 2
	})
}

// lossAt counts the appends of a view and does something at the nth of them.
func lossAt(view *memlog.Log, n int, fault memlog.Fault, then func()) {
	var count atomic.Int32
	view.SetHook(func(op memlog.Op) memlog.Fault {
		if op.Kind != memlog.Append || count.Add(1) != int32(n) {
			return memlog.Fault{}
		}
		go then()
		return fault
	})
}

// A leader is lost at each of the steps of a commit, before or after its record
// reached the log: the client is told the end, and all of it took effect or nothing.
func TestTransaction_SurvivesTheLossOfLeadersAtEachStep(t *testing.T) {
	faults := map[string]memlog.Fault{"lost": {Err: memlog.ErrTimeout, Lose: true}, "not answered": {Err: memlog.ErrTimeout, LoseAnswer: true}}
	for name, fault := range faults {
		for shard, appends := range []int{4, 2} { // prepare, decide, finish, end; prepare, finish
			for nth := range appends {
				t.Run(fmt.Sprintf("append %d of shard %d is %s", nth+1, shard, name), func(t *testing.T) {
					c := newCluster(t, 3, 2, nil)
					c.nodes[1].leadAll()
					n, heir := c.nodes[0], c.nodes[2]
					queues := []string{n.queueIn(t, 0), n.queueIn(t, 1)}
					r := n.client(t)
					sub := subscribed(t, r, queues[0], 1)
					sub.Grant(10)
					r.send(2, queues[0], "work", true)
					r.until("the work", func() bool { return len(r.got) == 1 })
					sub.Grant(-9)
					lossAt(c.nodes[1].fabric.View(shard), nth+1, fault, func() { heir.fabric.Lead(shard) })
					tx := r.s.Begin()
					tx.Settle(sub, r.got[0].Tag, accepted)
					r.sendIn(tx, 3, queues[0], "made")
					r.sendIn(tx, 4, queues[1], "made")
					tx.Commit(r, 5)
					if err := r.result(5); err != nil {
						t.Fatal(err)
					}
					n.wantDepths(t, "the work is done, and one message made in each queue", func(d map[string]int) bool {
						return d[queues[0]] == 1 && d[queues[1]] == 1
					})
				})
			}
		}
	}
}

// The node that commits dies at each of the steps: the participants find out from
// the coordinator, and all of it took effect or nothing.
func TestTransaction_SurvivesTheDeathOfItsNodeAtEachStep(t *testing.T) {
	for shard, appends := range []int{3, 2} { // prepare, decide, finish; prepare, finish
		for nth := range appends {
			t.Run(fmt.Sprintf("at append %d of shard %d", nth+1, shard), func(t *testing.T) {
				c := newCluster(t, 3, 2, nil)
				c.nodes[1].leadAll()
				n, alive := c.nodes[0], c.nodes[2]
				queues := []string{n.queueIn(t, 0), n.queueIn(t, 1)}
				r, next := n.client(t), alive.client(t)
				sub := subscribed(t, r, queues[0], 1)
				sub.Grant(1)
				r.send(2, queues[0], "work", true)
				r.until("the work", func() bool { return len(r.got) == 1 })
				dead := make(chan struct{})
				lossAt(c.nodes[1].fabric.View(shard), nth+1, memlog.Fault{Delay: 50 * time.Millisecond}, func() {
					defer close(dead)
					c.net.sever("a")
				})
				tx := r.s.Begin()
				tx.Settle(sub, r.got[0].Tag, accepted)
				r.sendIn(tx, 3, queues[0], "made")
				r.sendIn(tx, 4, queues[1], "made")
				tx.Commit(r, 5)
				<-dead
				subscribed(t, next, queues[0], 1).Grant(5)
				subscribed(t, next, queues[1], 2).Grant(5)
				next.until("all or nothing", func() bool {
					got := strings.Join(slices.Sorted(slices.Values(next.bodies())), " ")
					return got == "made made" || got == "work"
				})
			})
		}
	}
}

func TestTransaction_WithoutALeaderEndsInTimeAndIsGivenUp(t *testing.T) {
	c := newCluster(t, 2, 2, func(o *engine.Options) { o.SendTimeout = 500 * time.Millisecond })
	n := c.nodes[0]
	n.leadAll()
	queues := []string{n.queueIn(t, 0), n.queueIn(t, 1)}
	r := n.client(t)
	sub := subscribed(t, r, queues[0], 1)
	sub.Grant(10)
	r.send(2, queues[0], "work", true)
	r.until("the work", func() bool { return len(r.got) == 1 })
	n.fabric.View(1).Cut()
	tx := r.s.Begin()
	tx.Settle(sub, r.got[0].Tag, accepted)
	r.sendIn(tx, 3, queues[1], "never")
	tx.Commit(r, 4)
	if got := routing.CodeOf(r.result(4)); got != routing.CodeTimeout {
		t.Fatalf("commit: got %v, want timeout", got)
	}
	c.nodes[1].fabric.Lead(1)
	for token := uint64(5); routing.CodeOf(func() error {
		sub.Settle(r.got[0].Tag, accepted, r, token)
		return r.result(token)
	}()) != routing.CodeOK; token++ { // until the part has been given up
	}
	n.wantEmpty(t)
}

func TestTransaction_TopicMessagesFollowTheCommit(t *testing.T) {
	c := newCluster(t, 1, 1, nil)
	n := c.nodes[0]
	n.leadAll()
	p, r := n.client(t), n.client(t)
	sub := r.s.Subscribe(routing.SubscribeOptions{Address: routing.Topic("news")}, r, r, 1)
	sub.Grant(10)
	if err := r.result(1); err != nil {
		t.Fatal(err)
	}
	publish := func(body string) routing.Transaction {
		tx := p.s.Begin()
		tx.Send(&routing.Envelope{Address: routing.Topic("news"), Encoding: routing.EncodingSTOMP, Payload: []byte(body)}, p, 1)
		return tx
	}
	publish("never").Rollback()
	publish("alone").Commit(p, 2)
	tx := publish("with a queue")
	p.sendIn(tx, 3, "q", "x")
	tx.Commit(p, 4)
	r.until("both", func() bool { return slices.Equal(r.bodies(), []string{"alone", "with a queue"}) })
}

// A folder whose node died in the middle of a commit: what its logs say decides.
func TestImport_ConcludesTransactionsThatWereUnderWay(t *testing.T) {
	for name, tc := range map[string]struct {
		appends int // of shard 1 that reach its log
		want    []string
	}{
		"prepared in one shard alone": {0, []string{"work"}},
		"committed, not finished":     {1, []string{"made", "made"}},
	} {
		t.Run(name, func(t *testing.T) {
			old := newCluster(t, 1, 2, nil)
			n := old.nodes[0]
			n.leadAll()
			queues := []string{n.queueIn(t, 0), n.queueIn(t, 1)}
			r := n.client(t)
			sub := subscribed(t, r, queues[0], 1)
			sub.Grant(1)
			r.send(2, queues[0], "work", true)
			r.until("the work", func() bool { return len(r.got) == 1 })
			lost := make(chan struct{})
			var count atomic.Int32
			n.fabric.View(1).SetHook(func(op memlog.Op) memlog.Fault {
				if op.Kind != memlog.Append || int(count.Add(1)) <= tc.appends {
					return memlog.Fault{}
				}
				if int(count.Load()) == tc.appends+1 {
					close(lost)
				}
				return memlog.Fault{Lose: true}
			})
			tx := r.s.Begin()
			tx.Settle(sub, r.got[0].Tag, accepted)
			r.sendIn(tx, 3, queues[0], "made")
			r.sendIn(tx, 4, queues[1], "made")
			tx.Commit(r, 5)
			<-lost
			if tc.appends > 0 { // the coordinator has committed, and finished its own part
				n.wantDepths(t, "the coordinator's part", func(d map[string]int) bool { return d[queues[0]] == 1 && len(d) == 1 })
			}
			n.Close()
			logs := []engine.Log{n.fabric.Log(0), n.fabric.Log(1)}
			n.fabric.View(1).Mend()

			c := newCluster(t, 1, 3, nil)
			c.nodes[0].leadAll()
			ctx, stop := context.WithTimeout(context.Background(), 20*time.Second)
			defer stop()
			if err := c.nodes[0].Import(ctx, logs, func(int) {}); err != nil {
				t.Fatal(err)
			}
			c.nodes[0].wantDepths(t, "what took effect and nothing else", func(d map[string]int) bool {
				return d[queues[0]]+d[queues[1]] == len(tc.want)
			})
			next := c.nodes[0].client(t)
			subscribed(t, next, queues[0], 1).Grant(9)
			subscribed(t, next, queues[1], 2).Grant(9)
			next.until("what took effect", func() bool { return slices.Equal(next.bodies(), tc.want) })
		})
	}
}

// A transaction waits for a shard without a leader. The subscription that it settles
// a delivery of was closed, could not end, and went on taking what others could have.
func TestTransaction_ThatWaitsKeepsNoMessagesFromOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 1, 2, nil)
		n := c.nodes[0]
		n.leadAll()
		here, there := n.queueIn(t, 0), n.queueIn(t, 1)
		r, other := n.client(t), n.client(t)
		sub := subscribed(t, r, here, 1)
		sub.Grant(100)
		r.send(2, here, "work", true)
		r.until("the work", func() bool { return len(r.got) == 1 })
		n.fabric.Abandon(1)
		<-time.After(time.Second)
		tx := r.s.Begin()
		tx.Settle(sub, r.got[0].Tag, accepted)
		r.sendIn(tx, 3, there, "result")
		tx.Commit(r, 4)
		sub.Close(r, 5)
		if err := r.result(5); err != nil {
			t.Errorf("the close: got %v", err)
		}
		subscribed(t, other, here, 1).Grant(100)
		other.send(2, here, "more", true)
		other.until("the next message", func() bool { return slices.Equal(other.bodies(), []string{"more"}) })
		n.fabric.Lead(1)
		if err := r.result(4); err != nil {
			t.Errorf("the commit: got %v", err)
		}
		subscribed(t, other, there, 3).Grant(1)
		other.until("the result", func() bool { return slices.Equal(other.bodies(), []string{"more", "result"}) })
		if d := other.got[0]; d.Failed > 0 || d.Redelivered {
			t.Errorf("got %+v, want a delivery that nobody had before", d)
		}
	})
}
