package engine_test

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/selvedge-mq/selvedge/routing"
	"github.com/selvedge-mq/selvedge/routing/engine"
	"github.com/selvedge-mq/selvedge/routing/memlog"
)

// A leader that did not know yet that another one leads said, within its lease, that it
// had nothing left of a transaction, of which the other one had logged a part: the commit
// was forgotten, and the part given up.
func TestTransaction_IsNotForgottenOnTheWordOfAFormerLeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 3, 2, nil)
		a, b := c.nodes[0], c.nodes[1]
		a.fabric.Lead(1)
		c.nodes[2].fabric.Lead(0)
		decides, other := a.queueIn(t, 0), a.queueIn(t, 1)
		r, next := b.client(t), a.client(t)
		for i, queue := range []string{decides, other} {
			r.send(uint64(i), queue, "first", true)
			wantCode(t, "send", r.result(uint64(i)), routing.CodeOK)
		}
		a.serves(t, 1)
		c.nodes[2].serves(t, 0)
		c.net.losing(func(from, to string, lane engine.Lane) bool { // nobody hears of b's epoch
			return from == "b" && (to == "a" || lane == engine.LaneControl)
		})
		b.fabric.Usurp(1)
		r.send(2, other, "second", true)
		wantCode(t, "send to the next leader", r.result(2), routing.CodeOK)
		// The part is in the log, its end never is: its node is gone by then.
		lossAt(b.fabric.View(1), 2, memlog.Fault{Lose: true}, func() {
			c.net.sever("b")
			b.Close()
		})
		tx := r.s.Begin()
		r.sendIn(tx, 3, decides, "made")
		r.sendIn(tx, 4, other, "made")
		tx.Commit(r, 5)
		<-time.After(2 * time.Second)
		next.send(6, other, "last", true) // whoever leads the shard has to be the one that does
		wantCode(t, "send", next.result(6), routing.CodeOK)
		subscribed(t, next, other, 7).Grant(10)
		next.until("all messages of one shard", func() bool {
			return slices.Equal(next.bodies(), []string{"first", "second", "made", "last"}) ||
				slices.Equal(next.bodies(), []string{"first", "second", "last"})
		})
		if want := []string{"first", "second", "made", "last"}; !slices.Equal(next.bodies(), want) {
			t.Errorf("got %v, want %v", next.bodies(), want)
		}
		elsewhere := a.client(t)
		subscribed(t, elsewhere, decides, 1).Grant(10)
		elsewhere.until("those of the other one", func() bool { return slices.Equal(elsewhere.bodies(), []string{"first", "made"}) })
	})
}
