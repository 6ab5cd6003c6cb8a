package engine_test

import (
	"context"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/selvedge-mq/selvedge/routing"
	"github.com/selvedge-mq/selvedge/routing/engine"
	"github.com/selvedge-mq/selvedge/routing/memlog"
)

func (c *client) sendTo(token uint64, a routing.Address, body string) {
	c.s.Send(&routing.Envelope{Address: a, Encoding: routing.EncodingSTOMP, Persistent: true, Payload: []byte(body)}, c, token)
}

func (c *client) read(token uint64, a routing.Address) routing.Subscription {
	return c.s.Subscribe(routing.SubscribeOptions{Address: a}, c, c, token)
}

func wantCode(t *testing.T, what string, err error, want routing.Code) {
	t.Helper()
	if routing.CodeOf(err) != want {
		t.Errorf("%s: got %v, want %v", what, err, want)
	}
}

// The life of temporary addresses, across nodes: anybody may send, their session
// alone may read, and they end when it says so.
func TestTemporary_BelongsToItsSession(t *testing.T) {
	for _, kind := range []routing.Kind{routing.KindTempQueue, routing.KindTempTopic} {
		t.Run(kind.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster(t, 2, 2, nil)
				c.nodes[0].leadAll()
				owner, near, far := c.nodes[1].client(t), c.nodes[1].client(t), c.nodes[0].client(t)
				<-time.After(time.Second)
				a := owner.s.CreateTemporary(kind, owner, 1)
				owner.read(2, a).Grant(10) // at once
				for token := uint64(1); token <= 2; token++ {
					wantCode(t, "create and subscribe", owner.result(token), routing.CodeOK)
				}
				far.sendTo(1, a, "x")
				near.sendTo(1, a, "y")
				wantCode(t, "send from afar", far.result(1), routing.CodeOK)
				wantCode(t, "send", near.result(1), routing.CodeOK)
				owner.until("the messages", func() bool { return len(owner.got) == 2 })
				for i, other := range []*client{near, far} {
					other.read(2, a)
					wantCode(t, "subscribe as "+strconv.Itoa(i), other.result(2), routing.CodeLocked)
					other.s.DeleteTemporary(a, other, 3)
					wantCode(t, "delete as "+strconv.Itoa(i), other.result(3), routing.CodeNotFound)
				}
				owner.s.DeleteTemporary(a, owner, 3)
				wantCode(t, "delete while it is read", owner.result(3), routing.CodeLocked)

				owner.s.Close() // with a delivery in flight
				<-time.After(time.Second)
				for _, other := range []*client{near, far} {
					other.sendTo(4, a, "z")
					wantCode(t, "send to what is gone", other.result(4), routing.CodeNotFound)
					other.read(5, a)
					wantCode(t, "subscribe to what is gone", other.result(5), routing.CodeNotFound)
				}
				qs, err := c.nodes[0].Queues(context.Background())
				if err != nil || len(qs) != 0 {
					t.Errorf("got queues %+v, %v; want none", qs, err)
				}
			})
		})
	}
}

func TestTemporary_SurvivesItsLeaderAndNotItsNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 3, 1, nil)
		a, b := c.nodes[0], c.nodes[1]
		a.fabric.Lead(0)
		owner, p := b.client(t), c.nodes[2].client(t)
		q := owner.s.CreateTemporary(routing.KindTempQueue, owner, 1)
		wantCode(t, "create", owner.result(1), routing.CodeOK)
		owner.read(2, q).Grant(10)
		wantCode(t, "subscribe", owner.result(2), routing.CodeOK)
		for i := range uint64(3) {
			c.nodes[(i+1)%3].fabric.Lead(0)
			p.sendTo(i, q, "x")
			wantCode(t, "send", p.result(i), routing.CodeOK)
		}
		owner.until("the messages", func() bool { return len(owner.got) == 3 })
		c.nodes[2].fabric.Lead(0)
		c.nodes[2].serves(t, 0)
		c.net.sever("b")
		p.sendTo(10, q, "y")
		wantCode(t, "send while its node is away", p.result(10), routing.CodeOK)
		restarted := c.restart(1, 999).client(t)
		restarted.send(1, "q", "x", true) // its node has joined as another session
		wantCode(t, "send", restarted.result(1), routing.CodeOK)
		p.sendTo(11, q, "z")
		wantCode(t, "send to what went with its node", p.result(11), routing.CodeNotFound)
		<-time.After(time.Second)
		if got := c.nodes[2].Stats().Counts.Deleted; got == 0 {
			t.Error("got no dropped message counted")
		}
	})
}

// A leader that did not know yet that another one leads answered, within its lease, that
// a temporary queue does not exist which the other one had just made.
func TestTemporary_ThatTheNextLeaderHasMadeIsNotDeniedByTheOneBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 3, 1, nil)
		a, b := c.nodes[0], c.nodes[1]
		a.fabric.Lead(0)
		owner, p, i := b.client(t), c.nodes[2].client(t), c.nodes[2].client(t)
		for token, x := range []*client{owner, p} {
			x.send(uint64(token), "q", "x", true)
			wantCode(t, "send", x.result(uint64(token)), routing.CodeOK)
		}
		a.serves(t, 0)
		c.net.losing(func(from, _ string, _ engine.Lane) bool { return from == "b" }) // nobody hears of b's epoch
		b.fabric.Usurp(0)
		q := owner.s.CreateTemporary(routing.KindTempQueue, owner, 2)
		wantCode(t, "create", owner.result(2), routing.CodeOK)
		p.sendTo(3, q, "persistent")
		p.s.Send(&routing.Envelope{Address: q, Encoding: routing.EncodingSTOMP, Payload: []byte("not")}, p, 4)
		i.read(5, q)
		tx := p.s.Begin()
		tx.Send(&routing.Envelope{Address: q, Encoding: routing.EncodingSTOMP, Payload: []byte("in a transaction")}, p, 6)
		tx.Commit(p, 7)
		for token, want := range map[uint64]routing.Code{3: routing.CodeOK, 4: routing.CodeOK, 7: routing.CodeOK} {
			wantCode(t, "send to it", p.result(token), want)
		}
		wantCode(t, "read it", i.result(5), routing.CodeLocked)
	})
}

// A queue that was not made in time does not come to life later, and whoever waits
// for it is told.
func TestTemporary_ThatWasNotMadeInTimeIsNotMadeLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 1, 1, impatient)
		n := c.nodes[0]
		n.fabric.Lead(0)
		r := n.client(t)
		r.send(1, "q", "x", true)
		wantCode(t, "send", r.result(1), routing.CodeOK)
		n.fabric.View(0).SetHook(func(op memlog.Op) memlog.Fault {
			if op.Kind == memlog.Append {
				return memlog.Fault{Lose: true, Err: memlog.ErrTimeout}
			}
			return memlog.Fault{}
		})
		a := r.s.CreateTemporary(routing.KindTempQueue, r, 2)
		r.read(3, a).Grant(1)
		for token := uint64(2); token <= 3; token++ {
			if err := r.result(token); err == nil {
				t.Errorf("request %d: got no error", token)
			}
		}
		n.fabric.View(0).Mend()
		<-time.After(5 * time.Second)
		qs, err := n.Queues(context.Background())
		if err != nil || len(qs) != 1 {
			t.Errorf("got queues %+v, %v; want q alone", qs, err)
		}
	})
}

// A topic was denied as long as the connection with its node was lost, and its sender's
// connection ended with that: by a reset too, though both nodes were there.
func TestTemporary_ATopicIsNotDeniedWhileItsNodeIsOutOfReach(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 2, 1, nil)
		owner, p := c.nodes[0].client(t), c.nodes[1].client(t)
		topic := owner.s.CreateTemporary(routing.KindTempTopic, owner, 1)
		owner.read(2, topic).Grant(10)
		for token := uint64(1); token <= 2; token++ {
			wantCode(t, "create and subscribe", owner.result(token), routing.CodeOK)
		}
		send := func(token uint64, want routing.Code) {
			p.sendTo(token, topic, strconv.FormatUint(token, 10))
			wantCode(t, "send", p.result(token), want)
		}
		c.net.sever("a")
		<-time.After(time.Second)
		send(1, routing.CodeOK)
		c.net.rejoin("a")
		<-time.After(time.Second)
		send(2, routing.CodeOK)
		owner.until("what was sent when it was back", func() bool { return len(owner.got) == 1 })
		c.net.sever("a")
		<-time.After(16 * time.Second)
		send(3, routing.CodeNotFound)
		c.net.rejoin("a")
		<-time.After(time.Second)
		send(4, routing.CodeOK)
		owner.s.DeleteTemporary(topic, owner, 3)
		owner.s.Close()
		<-time.After(time.Second)
		send(5, routing.CodeNotFound)
	})
}
