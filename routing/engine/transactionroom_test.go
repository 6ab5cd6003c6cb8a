package engine_test

import (
	"strings"
	"testing"

	"github.com/selvedge-mq/selvedge/routing"
	"github.com/selvedge-mq/selvedge/routing/engine"
)

func TestTransaction_IsBounded(t *testing.T) {
	c := newCluster(t, 1, 1, func(o *engine.Options) {
		o.Transactions, o.TxBytes, o.HeldBytes = 2, 2000, 3000
	})
	n := c.nodes[0]
	n.leadAll()
	r, other := n.client(t), n.client(t)
	full := func(c *client, token uint64, what string) {
		t.Helper()
		if got := routing.CodeOf(c.result(token)); got != routing.CodeFull {
			t.Errorf("%s: got %v, want full", what, got)
		}
	}
	tx := r.s.Begin()
	r.sendIn(tx, 1, "q", strings.Repeat("x", 1500))
	r.sendIn(tx, 2, "q", strings.Repeat("x", 1500))
	full(r, 2, "a transaction of more bytes than allowed")
	second := other.s.Begin()
	other.sendIn(second, 1, "q", strings.Repeat("x", 1500))
	full(other, 1, "more bytes than all transactions of the node may hold")
	third := r.s.Begin()
	fourth := r.s.Begin()
	r.sendIn(fourth, 3, "q", "x")
	full(r, 3, "a send in one transaction too many")
	fourth.Commit(r, 4)
	full(r, 4, "the commit of one transaction too many")
	third.Rollback()
	tx.Commit(r, 5)
	if err := r.result(5); err != nil {
		t.Errorf("what fits commits: %v", err)
	}
	r.s.Close()
	other.sendIn(second, 2, "q", strings.Repeat("x", 1500))
	if err := other.result(2); err != nil {
		t.Errorf("the room is free again: %v", err)
	}
}

// Sixteen transactions that nobody ended once took the room of the whole node.
func TestTransaction_ASessionLeavesRoomForOthers(t *testing.T) {
	const room, size = 100_000, 1000
	c := newCluster(t, 1, 1, func(o *engine.Options) { o.TxBytes, o.HeldBytes = 8000, room })
	n := c.nodes[0]
	n.leadAll()
	token := uint64(0)
	fill := func(c *client) (held int) { // in as many transactions as it takes
		for range 2 * room / size / 5 {
			tx := c.s.Begin()
			for range 5 {
				token++
				c.sendIn(tx, token, "q", strings.Repeat("x", size))
				switch err := c.result(token); {
				case err == nil:
					held += size
				case routing.CodeOf(err) != routing.CodeFull:
					t.Fatal(err)
				}
			}
		}
		return held
	}
	for i, least := range []int{room / 3, room / 5, room / 10, room / 20} {
		greedy := n.client(t)
		if held := fill(greedy); held < least || held > room/2 {
			t.Errorf("session %d: got %d bytes held, want %d to %d", i+1, held, least, room/2)
		}
		defer greedy.s.Close()
	}
	late := n.client(t)
	tx := late.s.Begin()
	late.sendIn(tx, 1, "q", strings.Repeat("x", size))
	tx.Commit(late, 2)
	for token := range uint64(2) {
		if err := late.result(token + 1); err != nil {
			t.Errorf("a small transaction of another session: %v", err)
		}
	}
}

// Settlements take memory too; who adds one must hear that there is no room.
func TestTransaction_SaysThatASettlementFindsNoRoom(t *testing.T) {
	c := newCluster(t, 1, 1, func(o *engine.Options) { o.HeldBytes = 1000 })
	n := c.nodes[0]
	n.leadAll()
	r := n.client(t)
	queue := subscribed(t, r, "in", 1)
	queue.Grant(10)
	for i := range uint64(10) {
		r.send(2+i, "in", "work", true)
	}
	r.until("the work", func() bool { return len(r.got) == 10 })
	topic := r.s.Subscribe(routing.SubscribeOptions{Address: routing.Topic("news")}, r, r, 12)
	if err := r.result(12); err != nil {
		t.Fatal(err)
	}
	for i, tt := range []struct {
		name string
		sub  routing.Subscription
	}{{"of a queue", queue}, {"of a topic", topic}} {
		t.Run(tt.name, func(t *testing.T) {
			tx := r.s.Begin()
			added := 0
			for _, d := range r.got {
				if tx.Settle(tt.sub, d.Tag, accepted) {
					added++
				}
			}
			if added == 0 || added == len(r.got) {
				t.Errorf("got room for %d of %d settlements, want some", added, len(r.got))
			}
			token := 20 + uint64(i)
			tx.Commit(r, token)
			if got := routing.CodeOf(r.result(token)); got != routing.CodeFull {
				t.Errorf("the commit: got %v, want full", got)
			}
		})
	}
}
