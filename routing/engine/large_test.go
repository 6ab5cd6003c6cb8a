package engine_test

import (
	"bytes"
	"context"
	"strconv"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"github.com/selvedge-mq/selvedge/routing"
	"github.com/selvedge-mq/selvedge/routing/engine"
	"github.com/selvedge-mq/selvedge/routing/memlog"
)

// Large messages of both shards are rejected while the leaders change and appends are
// answered late or not at all: each arrives once among the dead letters, whole.
func TestLarge_DeadLettersArriveOnceAndWhole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 3, 2, nil)
		for i := range 2 {
			c.nodes[i].fabric.Lead(i)
		}
		p, d := c.nodes[2].largeClient(t), c.nodes[0].largeClient(t)
		queues := []string{"q1", "q2", "q3", "q4"} // in both shards
		bodies := map[string][]byte{}
		subs := map[string]routing.Subscription{}
		for i, q := range queues {
			body := payload(2<<20 + i)
			bodies[string(body[:1000])] = body
			p.sendLarge(uint64(i), q, body)
			if err := p.result(uint64(i)); err != nil {
				t.Fatal(err)
			}
			subs[q] = subscribed(t, p.client, q, uint64(100+i))
			subs[q].Grant(1)
		}
		p.until("all messages", func() bool { return len(p.got) == len(queues) })
		var appends atomic.Int32
		c.loseAnswers(func(rec []byte) bool { return len(rec) > 100_000 && appends.Add(1)%9 == 4 })
		for i, m := range p.got {
			subs[m.Envelope.Address.Name].Settle(m.Tag, rejected, p, uint64(200+i))
		}
		for round := range 6 {
			c.nodes[round%3].fabric.Lead(round % 2)
			<-time.After(150 * time.Millisecond)
		}
		dead := subscribed(t, d.client, "ActiveMQ.DLQ", 1)
		dead.Grant(20)
		d.until("all dead letters", func() bool { return len(d.got) >= len(queues) })
		<-time.After(10 * time.Minute) // what was brought twice is given up
		if appends.Load() < 9 {
			t.Errorf("got %d appends of parts, want some that fail", appends.Load())
		}
		letters := 0
		for i, m := range d.got {
			if m.Redelivered {
				continue
			}
			letters++
			want := bodies[string(m.Envelope.Payload)]
			if got := d.readWhole(dead, &m, routing.MaxPart, nil); want == nil || !bytes.Equal(got, want) {
				t.Errorf("dead letter %d is not what was sent", i)
			}
			delete(bodies, string(m.Envelope.Payload))
		}
		if letters != len(queues) {
			t.Errorf("got %d dead letters, want %d", letters, len(queues))
		}
		live := 0
		for i := range 2 {
			s := c.nodes[0].logState(t, i)
			live += s.Live()
			if s.Uploads() != 0 {
				t.Errorf("shard %d: got %d uploads left, want none", i, s.Uploads())
			}
		}
		if live != len(queues) {
			t.Errorf("got %d messages in the logs, want %d", live, len(queues))
		}
	})
}

// An import that is killed in the middle of a large message, and goes on after its
// upload was given up, copies the message once.
func TestLarge_ImportKilledInTheMiddleCopiesOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		old := newCluster(t, 1, 2, nil)
		old.nodes[0].leadAll()
		p := old.nodes[0].largeClient(t)
		bodies := map[string][]byte{}
		for i := range 6 {
			queue := "q" + strconv.Itoa(i)
			bodies[queue] = payload(2<<20 + i)
			p.sendLarge(uint64(i), queue, bodies[queue])
			p.send(uint64(100+i), queue, "small", true)
			for _, token := range []uint64{uint64(i), uint64(100 + i)} {
				if err := p.result(token); err != nil {
					t.Fatal(err)
				}
			}
		}
		logs := []engine.Log{old.nodes[0].fabric.Log(0), old.nodes[0].fabric.Log(1)}
		c := newCluster(t, 2, 3, func(o *engine.Options) { o.UploadIdle = time.Minute })
		for i := range 3 {
			c.nodes[i%2].fabric.Lead(i)
		}
		run := func(most int32) error {
			f := memlog.NewFabric("import", 3, memlog.Options{})
			defer func() { _ = f.Close() }()
			e, err := engine.New(engine.Options{Fabric: f, Peers: c.net.join("import", 4711), Log: zerolog.Nop()})
			if err != nil {
				t.Fatal(err)
			}
			ctx, stop := context.WithTimeout(context.Background(), time.Minute)
			defer stop()
			var parts atomic.Int32
			for _, n := range c.nodes {
				for s := range 3 {
					n.fabric.View(s).SetHook(func(op memlog.Op) memlog.Fault {
						if op.Kind == memlog.Append && len(op.Rec) > routing.MaxPart && parts.Add(1) == most {
							stop()
						}
						return memlog.Fault{}
					})
				}
			}
			err = e.Import(ctx, logs, func(int) {})
			e.Close()
			c.net.sever("import")
			return err
		}
		for _, most := range []int32{3, 7, 11} { // in the middle of a message, which has four whole parts
			if err := run(most); err == nil {
				t.Fatal("the import was not killed")
			}
			<-time.After(2 * time.Minute)
			if s := c.uploads(t); s != 0 {
				t.Fatalf("got %d uploads of a killed import after a while, want none", s)
			}
		}
		for range 2 { // the second time there is nothing to do
			if err := run(0); err != nil {
				t.Fatal(err)
			}
		}
		r := c.nodes[0].largeClient(t)
		for i := range 6 {
			queue := "q" + strconv.Itoa(i)
			sub := subscribed(t, r.client, queue, uint64(i))
			sub.Grant(10)
			r.until("the messages", func() bool { return len(r.got) == 2 })
			<-time.After(time.Second)
			if len(r.got) != 2 || string(r.got[1].Envelope.Payload) != "small" {
				t.Fatalf("%s: got %d messages, want a large one and a small one", queue, len(r.got))
			}
			if got := r.readWhole(sub, &r.got[0], routing.MaxPart, nil); !bytes.Equal(got, bodies[queue]) {
				t.Errorf("%s: the message is not what it was", queue)
			}
			r.got = nil
		}
	})
}

// uploads counts the open uploads in all logs.
func (c *testCluster) uploads(t *testing.T) int {
	t.Helper()
	n := 0
	for i := range c.nodes[0].fabric.Shards() {
		n += c.nodes[0].logState(t, i).Uploads()
	}
	return n
}

// A full disk fails an upload, and gives its parts back when there is room.
func TestLarge_AFullDiskFailsTheUpload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 2, 1, impatient)
		a := c.nodes[0]
		a.fabric.Lead(0)
		p := c.nodes[1].largeClient(t)
		body := payload(4 << 20)
		u := p.s.Upload(largeEnvelope("q", body[:1000], len(body)))
		p.write(u, body[1000:1<<20], nil)
		fill(a)
		for at := 1 << 20; at < len(body); at += routing.MaxPart {
			if room := u.Write(body[at:at+routing.MaxPart], p, p.next); !room {
				_ = p.result(p.next)
			}
			p.next++
		}
		u.Commit(p, 1)
		if err := p.result(1); routing.CodeOf(err) != routing.CodeFull {
			t.Errorf("got %v, want full", err)
		}
		a.fabric.View(0).Mend()
		<-time.After(10 * time.Second)
		if s := a.logState(t, 0); s.Live() != 0 || s.Uploads() != 0 {
			t.Errorf("got %d messages and %d uploads, want none", s.Live(), s.Uploads())
		}
		p.sendLarge(2, "q", body)
		if err := p.result(2); err != nil {
			t.Errorf("with room again: %v", err)
		}
	})
}

// What is read belongs to whoever has it in flight.
func TestLarge_ReadsEndWithTheDelivery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 3, 1, nil)
		c.nodes[0].fabric.Lead(0)
		p, first, second := c.nodes[0].largeClient(t), c.nodes[1].largeClient(t), c.nodes[2].largeClient(t)
		body := payload(1 << 20)
		p.sendLarge(1, "q", body)
		sub := subscribed(t, first.client, "q", 1)
		sub.Grant(1)
		first.until("the message", func() bool { return len(first.got) == 1 })
		d := first.got[0]
		for _, tt := range []struct {
			name   string
			offset int64
			most   int
			want   routing.Code
		}{
			{"in the head", 999, 10, routing.CodeInvalid},
			{"behind the end", int64(len(body)), 10, routing.CodeInvalid},
			{"nothing", 1000, 0, routing.CodeInvalid},
			{"too much", 1000, routing.MaxPart + 1, routing.CodeInvalid},
			{"the first byte", 1000, 1, routing.CodeOK},
			{"the last byte", int64(len(body)) - 1, 100, routing.CodeOK},
		} {
			if got := first.read(sub, d.Tag, tt.offset, tt.most); routing.CodeOf(got.Err) != tt.want {
				t.Errorf("%s: got %v, want %v", tt.name, got.Err, tt.want)
			}
		}
		c.net.sever("b") // its leader takes the delivery back, and hands it to another
		other := subscribed(t, second.client, "q", 1)
		other.Grant(1)
		second.until("the message", func() bool { return len(second.got) == 1 })
		if got := second.readWhole(other, &second.got[0], routing.MaxPart, nil); !bytes.Equal(got, body) || !second.got[0].Redelivered {
			t.Errorf("got something else, or no mark (%v)", second.got[0].Redelivered)
		}
		sub.Read(d.Tag, 1000, 10, first, 1<<50)
		<-time.After(time.Minute)
		if p := first.pieces[1<<50]; routing.CodeOf(p.Err) != routing.CodeUnavailable && routing.CodeOf(p.Err) != routing.CodeTimeout {
			t.Errorf("a read without a leader: got %v, want unavailable or a timeout", p.Err)
		}
		other.Close(second, 2)
		if got := second.read(other, second.got[0].Tag, 1000, 10); routing.CodeOf(got.Err) != routing.CodeClosed {
			t.Errorf("a read of a closed subscription: got %v, want closed", got.Err)
		}
	})
}

// A subscription whose deliveries need no settlement has a large one until it has
// read it; one that it does not read to the end goes back.
func TestLarge_ASettledDeliveryIsOverWhenItIsRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 2, 1, nil)
		c.nodes[0].fabric.Lead(0)
		p := c.nodes[1].largeClient(t)
		for i := range uint64(2) {
			p.sendLarge(i, "q", payload(1<<20))
			if err := p.result(i); err != nil {
				t.Fatal(err)
			}
		}
		sub := p.s.Subscribe(routing.SubscribeOptions{Address: routing.Queue("q"), Settled: true}, p, p, 10)
		sub.Grant(2)
		p.until("both messages", func() bool { return len(p.got) == 2 })
		p.readWhole(sub, &p.got[0], routing.MaxPart, nil)
		p.read(sub, p.got[1].Tag, 1000, 100)
		<-time.After(time.Second)
		if s := c.nodes[0].logState(t, 0); s.Live() != 1 {
			t.Fatalf("got %d messages left, want the one that was not read to its end", s.Live())
		}
		sub.Close(p, 11)
		if err := p.result(11); err != nil {
			t.Fatal(err)
		}
		r := c.nodes[0].client(t)
		subscribed(t, r, "q", 1).Grant(5)
		r.until("the other message", func() bool { return len(r.got) == 1 })
	})
}

// The cleaner moves large messages while they are read.
func TestLarge_TheCleanerMovesWhatIsRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 2, 1, func(o *engine.Options) { o.CleanAbove, o.CutBytes, o.CacheBytes = 1<<20, 1<<20, 1<<20 })
		n := c.nodes[0]
		n.fabric.Lead(0)
		p := c.nodes[1].largeClient(t)
		body := payload(3 << 19)
		p.sendLarge(1, "q", body)
		sub := subscribed(t, p.client, "q", 2)
		sub.Grant(1)
		p.until("the message", func() bool { return len(p.got) == 1 })
		s := c.nodes[1].client(t)
		garbage := subscribed(t, s, "g", 1)
		garbage.Grant(1 << 20)
		sent := uint64(0)
		got := p.readWhole(sub, &p.got[0], 100_000, func(int) {
			for range 5 { // five pieces of garbage for each piece that is read
				sent++
				s.send(sent, "g", string(make([]byte, 200_000)), true)
				s.until("the garbage", func() bool { return len(s.got) == 1 })
				garbage.Settle(s.got[0].Tag, accepted, s, 1<<30+sent)
				_ = s.result(1<<30 + sent)
				s.got = nil
			}
		})
		if !bytes.Equal(got, body) {
			t.Error("got something else than was sent")
		}
		first, last, err := n.fabric.View(0).Bounds(context.Background())
		if err != nil || first < 20 {
			t.Errorf("got a log of %d to %d, %v; want its head cut off", first, last, err)
		}
	})
}
