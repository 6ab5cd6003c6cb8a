package engine_test

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/selvedge-mq/selvedge/routing"
	"github.com/selvedge-mq/selvedge/routing/engine"
)

// says fails unless a request ends without a confirmation, with the outcome unknown
// and with that cause, in what an AMQP client can be told.
func (c *client) says(token uint64, cause string) {
	c.t.Helper()
	const room = 256 // of a description
	err, ok := errors.AsType[*routing.Error](c.result(token))
	if !ok || !strings.Contains(err.Reason, "the outcome is unknown; "+cause) || len(err.Reason) > room {
		c.t.Errorf("request %d: got %v (%d bytes), want an unknown outcome, and %q", token, err, len(err.Reason), cause)
	}
}

// A send that was not confirmed in time said that the outcome is unknown, and of a
// leader that its peers had left not a word more, though its node knew.
func TestTimeout_SaysWhy(t *testing.T) {
	const outOfReach = "a majority of the nodes that store the queue is out of reach (1 of 3 reached): start nodes"
	losing := func(f func(from string, lane engine.Lane) bool) func(c *testCluster) {
		return func(c *testCluster) {
			c.net.losing(func(from, _ string, lane engine.Lane) bool { return f(from, lane) })
		}
	}
	for _, c := range []struct {
		name       string
		harm       func(c *testCluster)
		at         int // the node of the client; a leads
		persistent bool
		cause      string
	}{
		{
			"both peers of the leader are gone",
			func(c *testCluster) { c.net.sever("b"); c.net.sever("c") }, 0, false, outOfReach,
		},
		{
			"all other nodes are gone, the leader among them",
			func(c *testCluster) { c.net.sever("b") }, 1, true, outOfReach,
		},
		{
			"the peers of the leader are silent",
			losing(func(from string, _ engine.Lane) bool { return from != "a" }), 0, false,
			"a majority of the nodes that store the queue has not answered this node, which leads it, for 400ms or longer",
		},
		{
			"the log of the leader is silent",
			func(c *testCluster) { c.nodes[0].slowAppend("late", time.Minute) }, 0, true,
			"its log has not stored it",
		},
		{
			"nobody leads",
			func(c *testCluster) { c.nodes[0].fabric.Abandon(0) }, 0, true,
			"this node has led the queue's shard, and does not at the moment",
		},
		{
			"the leader does not get it",
			losing(func(from string, lane engine.Lane) bool { return from == "b" && lane == engine.LaneSend }), 1, true,
			"node a, which leads the queue's shard, has not confirmed it",
		},
		{
			"the leader is silent",
			losing(func(from string, _ engine.Lane) bool { return from == "a" }), 1, true,
			"node a, which leads the queue's shard, was not heard for 3",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				k := newCluster(t, 3, 1, func(o *engine.Options) { o.SendTimeout = shortTimeout / 2 }) // an append ends later
				k.nodes[0].fabric.Lead(0)
				p := k.nodes[c.at].client(t)
				p.send(1, "q", "first", true)
				if err := p.result(1); err != nil {
					t.Fatal(err)
				}
				c.harm(k)
				<-time.After(shortTimeout) // a lease runs out
				p.send(2, "q", "late", c.persistent)
				p.says(2, c.cause)
			})
		})
	}
}

// cutOff is a fabric that knows that it has no majority.
type cutOff struct{ engine.Fabric }

func (cutOff) Quorum() bool { return false }

// The fabric knew that the majority was gone, the peers did not yet: the answer looked for
// a leader.
func TestTimeout_SaysWhyAsSoonAsTheFabricKnows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 3, 1, func(o *engine.Options) { o.SendTimeout, o.Fabric = shortTimeout, cutOff{o.Fabric} })
		p := c.nodes[0].client(t)
		p.send(1, "q", "x", true)
		p.says(1, "a majority of the cluster is out of reach: start nodes until there is one")
	})
}

// The same of the other requests that wait for the leader.
func TestTimeout_OfASubscriptionSaysWhy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 3, 1, impatient)
		c.net.sever("b")
		p := c.nodes[1].client(t)
		p.s.Subscribe(routing.SubscribeOptions{Address: routing.Queue("q")}, p, p, 1)
		p.says(1, "a majority of the nodes that store the queue is out of reach (1 of 3 reached)")
	})
}

// The same of a transaction over two shards.
func TestTimeout_OfATransactionSaysWhy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 3, 2, impatient)
		c.nodes[0].leadAll()
		b := c.nodes[1]
		p, one, other := b.client(t), b.queueIn(t, 0), b.queueIn(t, 1)
		p.send(1, one, "first", true)
		p.send(2, other, "first", true)
		if err := errors.Join(p.result(1), p.result(2)); err != nil {
			t.Fatal(err)
		}
		c.net.sever("b")
		tx := p.s.Begin()
		p.sendIn(tx, 3, one, "late")
		p.sendIn(tx, 4, other, "late")
		tx.Commit(p, 5)
		p.says(5, "a majority of the nodes that store the queue is out of reach (1 of 3 reached)")
	})
}

// A client that went before the send timeout was over had to wait for it all the same:
// the end of a subscription waited for a leader that had ended.
func TestTimeout_ASubscriptionEndsAtOnceWithoutALeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 3, 1, nil)
		a := c.nodes[0]
		a.fabric.Lead(0)
		p := a.client(t)
		old := subscribed(t, p, "q", 1)
		a.fabric.Abandon(0)
		synctest.Wait()
		late := p.s.Subscribe(routing.SubscribeOptions{Address: routing.Queue("q")}, p, p, 2)
		began := time.Now()
		old.Close(p, 3)
		late.Close(p, 4)
		if err := errors.Join(p.result(3), p.result(4)); err != nil {
			t.Errorf("the ends: got %v, want none", err)
		}
		if took := time.Since(began); took > 0 {
			t.Errorf("the ends took %v, want no time", took)
		}
		a.fabric.Lead(0)
		p.send(5, "q", "x", true)
		if err := p.result(5); err != nil {
			t.Fatal(err)
		}
		if qs, err := a.Queues(t.Context()); err != nil || len(qs) != 1 || qs[0].Consumers != 0 {
			t.Errorf("got queues %+v, %v; want one without consumers", qs, err)
		}
	})
}
