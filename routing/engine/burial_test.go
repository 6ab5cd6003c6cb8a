package engine_test

import (
	"bytes"
	"context"
	"strconv"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/selvedge-mq/selvedge/routing"
	"github.com/selvedge-mq/selvedge/routing/engine"
	"github.com/selvedge-mq/selvedge/routing/envelope"
	"github.com/selvedge-mq/selvedge/routing/memlog"
	"github.com/selvedge-mq/selvedge/routing/shard"
)

var rejected = routing.Outcome{Kind: routing.Rejected}

// The leaders of both shards change while dead letters are on their way, and
// appends are answered late or not at all: each dead letter arrives once.
func TestBurial_EachDeadLetterArrivesOnceThroughLeaderChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 3, 2, nil)
		for i := range 2 {
			c.nodes[i].fabric.Lead(i)
		}
		const total = 600
		p, d := c.nodes[2].client(t), c.nodes[0].client(t)
		queues := []string{"q1", "q2", "q3", "q4"} // in both shards
		subs := map[string]routing.Subscription{}
		for i, q := range queues {
			subs[q] = subscribed(t, p, q, uint64(i))
			subs[q].Grant(total)
			for k := range total / len(queues) {
				p.send(uint64(10000*(i+1)+k), q, q+"/"+strconv.Itoa(k), true)
			}
		}
		p.until("all messages", func() bool { return len(p.got) == total })
		var letters atomic.Int32
		c.loseAnswers(func(rec []byte) bool { // what holds a payload now is a dead letter in its new shard
			return bytes.Contains(rec, []byte("/1")) && letters.Add(1)%3 == 1
		})
		for i, m := range p.got {
			subs[m.Envelope.Address.Name].Settle(m.Tag, rejected, p, uint64(200000+i))
		}
		for round := range 12 {
			c.nodes[round%3].fabric.Lead(round % 2)
			<-time.After(150 * time.Millisecond)
		}
		dead := subscribed(t, d, "ActiveMQ.DLQ", 1)
		dead.Grant(2 * total)
		d.until("all dead letters", func() bool { return len(d.got) >= total })
		<-time.After(5 * time.Second)
		if letters.Load() < 3 {
			t.Fatalf("got %d appends of dead letters, want some that fail", letters.Load())
		}
		seen := map[string]bool{}
		for _, m := range d.got {
			body := string(m.Envelope.Payload)
			if seen[body] && !m.Redelivered {
				t.Errorf("dead letter %s came twice", body)
			}
			seen[body] = true
		}
		qs, err := c.nodes[0].Queues(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		for _, q := range qs {
			want := 0
			if q.Name == "ActiveMQ.DLQ" {
				want = total
			}
			if q.Depth != want {
				t.Errorf("got %d messages in %s, want %d", q.Depth, q.Name, want)
			}
		}
	})
}

// Non-persistent dead letters of one batch go together.
func TestBurial_NonPersistentMessagesArriveToo(t *testing.T) {
	c := newCluster(t, 2, 2, nil)
	c.nodes[0].fabric.Lead(0)
	c.nodes[1].fabric.Lead(1)
	r := c.nodes[0].client(t)
	subs := map[string]routing.Subscription{}
	for i, q := range []string{"q1", "q2", "q3", "q4"} {
		subs[q] = subscribed(t, r, q, uint64(i))
		subs[q].Grant(10)
		for k := range 10 {
			r.send(uint64(100*(i+1)+k), q, "x", false)
		}
	}
	r.until("the messages", func() bool { return len(r.got) == 40 })
	for i, m := range r.got {
		subs[m.Envelope.Address.Name].Settle(m.Tag, rejected, r, uint64(1000+i))
	}
	d := c.nodes[1].client(t)
	subscribed(t, d, "ActiveMQ.DLQ", 1).Grant(100)
	d.until("the dead letters", func() bool { return len(d.got) == 40 })
}

// The rejection is confirmed when it is a fact, whether the dead-letter queue's
// shard has a leader or not.
func TestBurial_ARejectionIsConfirmedBeforeTheDeadLetterArrives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 1, 2, func(o *engine.Options) { o.DeadLetter = "dead" })
		n := c.nodes[0]
		n.leadAll()
		r := n.client(t)
		r.send(1, "dead", "x", true) // so the queues' shards are known
		r.send(2, "q1", "x", true)
		r.send(3, "q2", "x", true)
		for i := range 3 {
			_ = r.result(uint64(i + 1))
		}
		qs, _ := n.Queues(context.Background())
		home, queue := -1, ""
		for _, q := range qs {
			if q.Name == "dead" {
				home = q.Shard
			}
		}
		for _, q := range qs {
			if q.Shard != home {
				queue = q.Name
			}
		}
		sub := subscribed(t, r, queue, 4)
		sub.Grant(1)
		r.until("the message", func() bool { return len(r.got) == 1 })
		n.fabric.Abandon(home)
		sub.Settle(r.got[0].Tag, rejected, r, 5)
		if err := r.result(5); err != nil {
			t.Fatal(err)
		}
		<-time.After(time.Minute) // no deadline of a client's holds for a dead letter
		n.fabric.Lead(home)
		dead := subscribed(t, r, "dead", 6)
		dead.Grant(10)
		r.until("the dead letter", func() bool { return len(r.got) == 3 })
	})
}

// A message whose bytes cannot be read goes to the dead letters, and is dropped
// there: it is in flight for ever nowhere.
func TestBurial_AMessageThatCannotBeReadIsNotInFlightForEver(t *testing.T) {
	for _, shards := range []int{1, 2} { // the dead-letter queue in the same shard, and in another
		synctest.Test(t, func(t *testing.T) {
			c := newCluster(t, 1, shards, func(o *engine.Options) { o.DeadLetter = "dead" })
			n := c.nodes[0]
			for i := range shards {
				log := n.fabric.View(i)
				s := shard.New(shard.Options{})
				appendBatch(t, log, s, s.Lead("old", 1, 1))
				lane := shard.LaneID{Session: 1, Lane: 2}
				s.OpenLane(lane, "old", 1)
				for k := range 2 {
					env := envelope.Append(nil, &routing.Envelope{
						Address: routing.Queue("q" + strconv.Itoa(k)), Persistent: true, Encoding: routing.EncodingSTOMP, Group: "group",
					})
					s.Send(lane, uint64(k+1), bytes.TrimSuffix(env, []byte("oup\x00")))
				}
				appendBatch(t, log, s, s.Seal(1))
			}
			n.leadAll()
			r := n.client(t)
			for k := range 2 {
				subscribed(t, r, "q"+strconv.Itoa(k), uint64(k)).Grant(5)
			}
			dead := subscribed(t, r, "dead", 9)
			dead.Grant(5)
			<-time.After(10 * time.Second)
			qs, err := n.Queues(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			live := 0
			for _, q := range qs {
				if q.Consumers > 0 {
					live += q.Depth
				}
			}
			if live > 0 || len(r.got) > 0 {
				t.Errorf("with %d shards: got %d messages left and %d delivered, want none: %+v", shards, live, len(r.got), qs)
			}
			r.send(20, "q0", "next", true)
			r.until("the next message", func() bool { return len(r.got) == 1 })
		})
	}
}

func appendBatch(t *testing.T, log engine.Log, s *shard.Shard, b *shard.Batch) {
	t.Helper()
	done := make(chan error, 1)
	log.Append(s.LastSeq(), b.Rec, func(_ uint64, err error) { done <- err })
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if err := s.Apply(s.LastSeq()+1, b.Rec, b); err != nil {
		t.Fatal(err)
	}
}

// A leader that takes over brings its dead letters again, one body after the other.
// The first is answered with all that are done already: the answer for a later one
// came before the letter, and that message died for ever.
func TestBurial_LettersThatArrivedBeforeATakeoverAreDone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 1, 2, func(o *engine.Options) { o.CacheBytes = 1 })
		n := c.nodes[0]
		n.fabric.Lead(0)
		n.fabric.Lead(1)
		r := n.client(t)
		subscribed(t, r, "ActiveMQ.DLQ", 1)
		shards := func() map[string]engine.QueueInfo {
			all := map[string]engine.QueueInfo{}
			qs, err := n.Queues(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			for _, q := range qs {
				all[q.Name] = q
			}
			return all
		}
		var queue string
		var sub routing.Subscription
		for i := 0; queue == ""; i++ { // one that lives in the other shard
			name := "q" + strconv.Itoa(i)
			sub = subscribed(t, r, name, uint64(2+i))
			if all := shards(); all[name].Shard != all["ActiveMQ.DLQ"].Shard {
				queue = name
			}
		}
		from, to := n.fabric.View(shards()[queue].Shard), n.fabric.View(shards()["ActiveMQ.DLQ"].Shard)
		sub.Grant(3)
		for i := range uint64(3) { // each in a record of its own
			r.send(100+i, queue, "x", true)
			_ = r.result(100 + i)
		}
		r.until("the messages", func() bool { return len(r.got) == 3 })
		to.SetHook(func(memlog.Op) memlog.Fault { return memlog.Fault{Delay: 100 * time.Millisecond} })
		for i, m := range r.got {
			sub.Settle(m.Tag, rejected, r, uint64(200+i))
		}
		for i := range uint64(3) {
			if err := r.result(200 + i); err != nil {
				t.Fatal(err)
			}
		}
		var failed atomic.Bool
		from.SetHook(func(op memlog.Op) memlog.Fault {
			switch {
			case op.Kind == memlog.Scan: // bodies come one after the other
				return memlog.Fault{Delay: 300 * time.Millisecond}
			case op.Kind == memlog.Append && !failed.Swap(true): // the end of a letter that has arrived
				return memlog.Fault{Err: memlog.ErrTimeout}
			}
			return memlog.Fault{}
		})
		<-time.After(10 * time.Second)
		if q := shards()[queue]; !failed.Load() || q.Depth != 0 {
			t.Errorf("got %d messages that are still dying, want none", q.Depth)
		}
		if q := shards()["ActiveMQ.DLQ"]; q.Depth != 3 {
			t.Errorf("got %d dead letters, want 3", q.Depth)
		}
	})
}

// A consumer rejected a message of its temporary queue and left at once: one
// record had the death and the end of the queue, the number was never used, and no
// dead letter of the shard could pass it, whoever led it.
func TestBurial_ADeletedQueueLeavesNoGapInTheNumbers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 1, 2, nil)
		n := c.nodes[0]
		n.leadAll()
		r, d := n.client(t), n.client(t)
		subscribed(t, d, "ActiveMQ.DLQ", 1).Grant(100)
		queues := []string{"q1", "q2", "q3", "q4"} // in both shards
		subs := map[string]routing.Subscription{}
		for i, q := range queues {
			subs[q] = subscribed(t, r, q, uint64(i))
			subs[q].Grant(10)
		}
		rejectOne := func(round int) {
			from := len(queues) * round
			for i, q := range queues {
				r.send(uint64(100+from+i), q, q, true)
			}
			r.until("the messages", func() bool { return len(r.got) == from+len(queues) })
			for i, m := range r.got[from:] {
				subs[m.Envelope.Address.Name].Settle(m.Tag, rejected, r, uint64(200+from+i))
			}
			d.until("the dead letters", func() bool {
				return countOf(d.got, func(m *routing.Delivery) bool { return m.Envelope.Payload[0] == 'q' }) == from+len(queues)
			})
		}
		rejectOne(0) // the other shard knows which number comes next
		for i := range uint64(8) {
			rejectAndLeave(t, n.client(t), i) // in both shards, whichever names the queues get
		}
		rejectOne(1)
	})
}

func countOf(ds []routing.Delivery, f func(m *routing.Delivery) bool) int {
	n := 0
	for i := range ds {
		if f(&ds[i]) {
			n++
		}
	}
	return n
}

// rejectAndLeave rejects a message of a temporary queue and closes the session.
func rejectAndLeave(t *testing.T, r *client, i uint64) {
	t.Helper()
	a := r.s.CreateTemporary(routing.KindTempQueue, r, 1)
	sub := r.s.Subscribe(routing.SubscribeOptions{Address: a}, r, r, 2)
	sub.Grant(1)
	r.s.Send(&routing.Envelope{
		Address: a, Encoding: routing.EncodingSTOMP, Persistent: true, Payload: []byte("temporary " + strconv.FormatUint(i, 10)),
	}, r, 3)
	r.until("the message", func() bool { return len(r.got) == 1 })
	sub.Settle(r.got[0].Tag, rejected, r, 4)
	r.s.Close()
}
