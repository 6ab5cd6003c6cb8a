package engine_test

import (
	"bytes"
	"context"
	"math/rand/v2"
	"strconv"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/selvedge-mq/selvedge/internal/metrictest"
	"github.com/selvedge-mq/selvedge/routing"
	"github.com/selvedge-mq/selvedge/routing/engine"
	"github.com/selvedge-mq/selvedge/routing/memlog"
	"github.com/selvedge-mq/selvedge/routing/shard"
)

// largeClient is a client that uploads and reads.
type largeClient struct {
	*client
	next   uint64 // tokens of parts
	pieces map[uint64]routing.Piece
}

const partTokens = 1 << 40

func (n *testNode) largeClient(t *testing.T) *largeClient {
	t.Helper()
	return &largeClient{client: n.client(t), next: partTokens, pieces: map[uint64]routing.Piece{}}
}

func (c *largeClient) Piece(p routing.Piece) { c.note(func() { c.pieces[p.Token] = p }) }

// payload makes bytes that are their like nowhere.
func payload(size int) []byte {
	b := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{byte(size)}).Read(b)
	return b
}

func largeEnvelope(queue string, head []byte, size int) *routing.Envelope {
	return &routing.Envelope{
		Address: routing.Queue(queue), Encoding: routing.EncodingSTOMP, Persistent: true, Payload: head, Size: int64(size),
	}
}

// write sends parts as the contract asks for, and between them calls f.
func (c *largeClient) write(u routing.Upload, body []byte, f func(sent int)) {
	c.t.Helper()
	first := c.next
	for sent := 0; sent < len(body); {
		part := body[sent:min(len(body), sent+routing.MaxPart)]
		room := u.Write(part, c, c.next)
		c.next++
		sent += len(part)
		if f != nil {
			f(sent)
		}
		if !room {
			c.parts(first)
			first = c.next
		}
	}
}

// parts waits for the parts since a token, and fails if one of them did.
func (c *largeClient) parts(first uint64) {
	c.t.Helper()
	for token := first; token < c.next; token++ {
		if err := c.result(token); err != nil {
			c.t.Fatalf("part %d: %v", token-partTokens, err)
		}
	}
}

// send uploads a message with a head of 1000 bytes.
func (c *largeClient) sendLarge(token uint64, queue string, body []byte) {
	c.t.Helper()
	u := c.s.Upload(largeEnvelope(queue, body[:1000], len(body)))
	c.write(u, body[1000:], nil)
	u.Commit(c, token)
}

// read gets one piece.
func (c *largeClient) read(sub routing.Subscription, tag routing.Tag, offset int64, most int) routing.Piece {
	c.t.Helper()
	c.next++
	token := c.next
	sub.Read(tag, offset, most, c, token)
	c.until("a piece", func() bool { _, ok := c.pieces[token]; return ok })
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.pieces[token]
	delete(c.pieces, token)
	if p.Offset != offset || p.Err == nil && (len(p.Bytes) == 0 || len(p.Bytes) > most) {
		c.t.Fatalf("got %d bytes at %d, want 1 to %d at %d", len(p.Bytes), p.Offset, most, offset)
	}
	return p
}

// readWhole reads a delivery from its head to its end, and calls f between pieces.
func (c *largeClient) readWhole(sub routing.Subscription, d *routing.Delivery, most int, f func(got int)) []byte {
	c.t.Helper()
	got := bytes.Clone(d.Envelope.Payload)
	for int64(len(got)) < d.Envelope.Size {
		p := c.read(sub, d.Tag, int64(len(got)), most)
		if p.Err != nil {
			c.t.Fatalf("reading at %d: %v", len(got), p.Err)
		}
		got = append(got, p.Bytes...)
		if f != nil {
			f(len(got))
		}
	}
	return got
}

// logState replays a shard's log.
func (n *testNode) logState(t *testing.T, of int) *shard.Shard {
	t.Helper()
	s := shard.New(shard.Options{})
	err := n.fabric.View(of).Scan(context.Background(), 0, func(seq uint64, rec []byte) error { return s.Apply(seq, rec, nil) })
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestUpload_ALargeMessageGoesFromNodeToNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 3, 1, nil)
		c.nodes[1].fabric.Lead(0)
		p, r := c.nodes[0].largeClient(t), c.nodes[2].largeClient(t)
		body := payload(5<<20 + 12345)
		p.sendLarge(1, "q", body)
		if err := p.result(1); err != nil {
			t.Fatal(err)
		}
		sub := subscribed(t, r.client, "q", 1)
		sub.Grant(2)
		r.until("the message", func() bool { return len(r.got) == 1 })
		d := r.got[0]
		if d.Envelope.Size != int64(len(body)) || !bytes.Equal(d.Envelope.Payload, body[:1000]) || !d.Envelope.Large() {
			t.Fatalf("got a head of %d bytes of %d, want 1000 of %d", len(d.Envelope.Payload), d.Envelope.Size, len(body))
		}
		if qs, err := c.nodes[0].Queues(context.Background()); err != nil || qs[0].Bytes < int64(len(body)) {
			t.Errorf("got queues %+v, %v; want one of %d bytes at least", qs, err, len(body))
		}
		if got := r.readWhole(sub, &d, 100_000, nil); !bytes.Equal(got, body) {
			t.Fatalf("got %d bytes that are not what was sent", len(got))
		}
		sub.Settle(d.Tag, accepted, r, 2)
		if err := r.result(2); err != nil {
			t.Fatal(err)
		}
		if got := r.read(sub, d.Tag, 1000, 10); routing.CodeOf(got.Err) != routing.CodeStale {
			t.Errorf("a read of what is settled: got %v, want stale", got.Err)
		}
		if _, live := c.nodes[0].logState(t, 0).LogBytes(); live > 1000 {
			t.Errorf("got %d bytes live in the log when the message is settled", live)
		}
	})
}

// The leader changes again and again while parts come and while they are read; the
// answers of every third append are lost.
func TestUpload_GoesOnThroughLeaderChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 3, 1, nil)
		c.nodes[1].fabric.Lead(0)
		var appends atomic.Int64
		for _, n := range c.nodes {
			n.fabric.View(0).SetHook(func(op memlog.Op) memlog.Fault {
				if op.Kind == memlog.Append && len(op.Rec) > routing.MaxPart && appends.Add(1)%7 == 3 {
					return memlog.Fault{LoseAnswer: true, Err: memlog.ErrTimeout}
				}
				return memlog.Fault{}
			})
		}
		p, r := c.nodes[0].largeClient(t), c.nodes[2].largeClient(t)
		body := payload(8 << 20)
		lead := 0
		change := func(every int) func(done int) {
			next := every
			return func(done int) {
				if done >= next {
					next += every
					lead++
					c.nodes[lead%3].fabric.Lead(0)
				}
			}
		}
		u := p.s.Upload(largeEnvelope("q", body[:5], len(body)))
		p.write(u, body[5:], change(1<<20))
		u.Commit(p, 1)
		if err := p.result(1); err != nil {
			t.Fatal(err)
		}
		sub := subscribed(t, r.client, "q", 1)
		sub.Grant(1)
		r.until("the message", func() bool { return len(r.got) == 1 })
		if got := r.readWhole(sub, &r.got[0], routing.MaxPart, change(1<<20)); !bytes.Equal(got, body) {
			t.Fatalf("got %d bytes that are not what was sent", len(got))
		}
		sub.Settle(r.got[0].Tag, accepted, r, 2)
		if err := r.result(2); err != nil {
			t.Fatal(err)
		}
		if appends.Load() < 7 || lead < 12 {
			t.Errorf("got %d appends of parts and %d leaders, want some that fail", appends.Load(), lead)
		}
		if s := c.nodes[0].logState(t, 0); s.Live() != 0 || s.Uploads() != 0 {
			t.Errorf("got %d messages and %d uploads left, want none", s.Live(), s.Uploads())
		}
	})
}

// A large message takes its place at its commit, between what its session sends.
func TestUpload_TakesItsPlaceAtTheCommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 2, 1, nil)
		c.nodes[1].fabric.Lead(0)
		p, r := c.nodes[0].largeClient(t), c.nodes[0].client(t)
		body := payload(3 << 20)
		u := p.s.Upload(largeEnvelope("q", []byte("large"), 0))
		p.send(1, "q", "1", true)
		for at := 0; at < len(body); at += routing.MaxPart { // more than may be under way
			u.Write(body[at:at+routing.MaxPart], nil, 0)
			p.send(uint64(100+at), "q", "between", true)
		}
		p.send(2, "q", "2", true)
		u.Commit(p, 3)
		p.send(4, "q", "4", true)
		for _, token := range []uint64{3, 4} {
			if err := p.result(token); err != nil {
				t.Fatal(err)
			}
		}
		subscribed(t, r, "q", 1).Grant(100)
		between := len(body) / routing.MaxPart
		r.until("all", func() bool { return len(r.got) == between+4 })
		for i, want := range map[int]string{0: "1", between + 1: "2", between + 2: "large", between + 3: "4"} {
			if got := string(r.got[i].Envelope.Payload); got != want {
				t.Errorf("message %d: got %q, want %q", i, got, want)
			}
		}
		if got := r.got[between+2].Envelope.Size; got != int64(len(body)+5) {
			t.Errorf("got a size of %d, want %d", got, len(body)+5)
		}
	})
}

func TestUpload_RefusesWhatItCannotTake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 1, 1, func(o *engine.Options) {
			o.MessageSize, o.WholeSize, o.Uploads = 2<<20, 1<<20, 3
			o.Authorizer = noWriting{}
		})
		c.nodes[0].leadAll()
		p := c.nodes[0].largeClient(t)
		large := func(size int) []byte { return make([]byte, size) }
		topic := largeEnvelope("t", nil, 0)
		topic.Address.Kind = routing.KindTopic
		temporary := largeEnvelope("nobody's", nil, 0)
		temporary.Address.Kind = routing.KindTempQueue
		for _, tt := range []struct {
			name  string
			env   *routing.Envelope
			parts [][]byte
			want  routing.Code
		}{
			{"a message to a topic", topic, nil, routing.CodeTooLarge},
			{"a message that says that it is too large", largeEnvelope("q", nil, 3<<20), nil, routing.CodeTooLarge},
			{"a message that becomes too large", largeEnvelope("q", nil, 0), [][]byte{
				large(routing.MaxPart), large(routing.MaxPart), large(routing.MaxPart), large(routing.MaxPart),
				large(routing.MaxPart), large(routing.MaxPart), large(routing.MaxPart), large(routing.MaxPart),
				large(routing.MaxPart), large(1),
			}, routing.CodeTooLarge},
			{"more than was announced", largeEnvelope("q", nil, 20000), [][]byte{large(20001)}, routing.CodeTooLarge},
			{"less than was announced", largeEnvelope("q", nil, 20000), [][]byte{large(19999)}, routing.CodeInvalid},
			{"a head that is too large", largeEnvelope("q", large(routing.MaxHead+1), 0), nil, routing.CodeInvalid},
			{"a part that is too large", largeEnvelope("q", nil, 0), [][]byte{large(routing.MaxPart + 1)}, routing.CodeInvalid},
			{"an empty part", largeEnvelope("q", nil, 0), [][]byte{{}}, routing.CodeInvalid},
			{"a short part before another", largeEnvelope("q", nil, 0), [][]byte{large(10), large(20000)}, routing.CodeInvalid},
			{"no right to write", largeEnvelope("forbidden", nil, 0), nil, routing.CodeUnauthorized},
			{"a temporary queue that does not exist", temporary, [][]byte{large(20000)}, routing.CodeNotFound},
			{"nothing wrong", largeEnvelope("q", nil, 20000), [][]byte{large(20000)}, routing.CodeOK},
			{"nothing but a head", largeEnvelope("q", []byte("head"), 4), nil, routing.CodeOK},
		} {
			p.next++
			token := p.next
			u := p.s.Upload(tt.env)
			for _, part := range tt.parts {
				u.Write(part, nil, 0)
			}
			u.Commit(p, token)
			if err := p.result(token); routing.CodeOf(err) != tt.want {
				t.Errorf("%s: got %v, want %v", tt.name, err, tt.want)
			}
		}
		for range 3 {
			p.s.Upload(largeEnvelope("q", nil, 0))
		}
		u := p.s.Upload(largeEnvelope("q", nil, 0))
		u.Write(large(20000), p, 7)
		if err := p.result(7); routing.CodeOf(err) != routing.CodeFull {
			t.Errorf("a fourth upload: got %v, want full", err)
		}
		u.Abort()
		u.Commit(p, 8)
		if err := p.result(8); routing.CodeOf(err) != routing.CodeInvalid {
			t.Errorf("a commit after the end: got %v, want invalid", err)
		}
		if s := c.nodes[0].logState(t, 0); s.Live() != 2 || s.Uploads() != 0 {
			t.Errorf("got %d messages and %d uploads, want the two that were right", s.Live(), s.Uploads())
		}
	})
}

type noWriting struct{}

func (noWriting) Authorize(_ routing.Principal, _ routing.Action, on routing.Address) error {
	if on.Name == "forbidden" {
		return &routing.Error{Code: routing.CodeUnauthorized, Op: "send", Address: on.String()}
	}
	return nil
}

// An upload ends without a message when it is aborted, when its session closes, when its
// node is another process, and when it idles.
// What idles in uploads that have begun is counted for the node, and no session gets all of it.
func TestUpload_HeadsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 1, 1, func(o *engine.Options) { o.HeldBytes = 4 * routing.MaxHead })
		c.nodes[0].leadAll()
		greedy, other := c.nodes[0].largeClient(t), c.nodes[0].largeClient(t)
		begin := func(p *largeClient) (routing.Upload, error) {
			p.next++
			u := p.s.Upload(largeEnvelope("q", make([]byte, routing.MaxHead), 0))
			u.Write(make([]byte, routing.LeastPart), p, p.next)
			return u, p.result(p.next)
		}
		var open []routing.Upload
		for i, want := range []routing.Code{routing.CodeOK, routing.CodeOK, routing.CodeFull} {
			u, err := begin(greedy)
			if open = append(open, u); routing.CodeOf(err) != want {
				t.Errorf("upload %d: got %v, want %v", i, err, want)
			}
		}
		u, err := begin(other)
		if err != nil {
			t.Errorf("another session: %v", err)
		}
		for _, u := range append(open, u) {
			u.Abort()
		}
		if _, err := begin(greedy); err != nil {
			t.Errorf("after all have ended: %v", err)
		}
	})
}

func TestUpload_LeavesNothingBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 2, 1, func(o *engine.Options) { o.UploadIdle = time.Minute })
		c.nodes[0].fabric.Lead(0)
		open := func() int { return c.nodes[0].logState(t, 0).Uploads() }
		begin := func(p *largeClient) routing.Upload {
			u := p.s.Upload(largeEnvelope("q", nil, 0))
			first := p.next
			p.write(u, payload(1<<20), nil)
			p.parts(first)
			return u
		}
		p := c.nodes[1].largeClient(t)
		aborted := begin(p)
		begin(p)
		begin(c.nodes[1].largeClient(t))
		idle := begin(c.nodes[0].largeClient(t))
		if got := open(); got != 4 {
			t.Fatalf("got %d uploads, want 4", got)
		}
		aborted.Abort()
		aborted.Abort()
		p.s.Close()
		<-time.After(time.Second)
		if got := open(); got != 2 {
			t.Fatalf("got %d uploads after an abort and the end of a session, want 2", got)
		}
		c.net.sever("b")
		c.restart(1, 200)
		<-time.After(5 * time.Second)
		if got := open(); got != 1 {
			t.Fatalf("got %d uploads after the end of a node, want 1", got)
		}
		<-time.After(2 * time.Minute)
		if got := open(); got != 0 {
			t.Fatalf("got %d uploads that idle, want none", got)
		}
		r := c.nodes[0].client(t)
		idle.Commit(r, 1)
		if err := r.result(1); routing.CodeOf(err) != routing.CodeClosed {
			t.Errorf("a commit of what idled: got %v, want closed", err)
		}
		if _, live := c.nodes[0].logState(t, 0).LogBytes(); live > 1000 {
			t.Errorf("got %d bytes live in the log, want next to nothing", live)
		}
	})
}

// While a node's client uploads 100 MiB as fast as it may, another one sends small
// messages, one after the other: none waits for more than a few records, and the node
// holds a few parts.
func TestUpload_DoesNotStarveSmallMessages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var regs []*prometheus.Registry
		c := newCluster(t, 2, 1, func(o *engine.Options) {
			regs = append(regs, prometheus.NewPedanticRegistry())
			o.Metrics = regs[len(regs)-1]
		})
		c.nodes[1].fabric.Lead(0)
		const perMiB = 20 * time.Millisecond // a disk of 50 MiB/s
		for _, n := range c.nodes {
			n.fabric.View(0).SetHook(func(op memlog.Op) memlog.Fault {
				if op.Kind == memlog.Append {
					return memlog.Fault{Delay: time.Millisecond + perMiB*time.Duration(len(op.Rec))/(1<<20)}
				}
				return memlog.Fault{}
			})
		}
		p, s := c.nodes[0].largeClient(t), c.nodes[0].client(t)
		part := payload(routing.MaxPart)
		done := make(chan struct{})
		go func() {
			defer close(done)
			u := p.s.Upload(largeEnvelope("q", nil, 100<<20))
			first := p.next
			for range 400 {
				room := u.Write(part, p, p.next)
				p.next++
				if !room {
					p.parts(first)
					first = p.next
				}
			}
			u.Commit(p, 1)
			_ = p.result(1)
		}()
		began := time.Now()
		sent, worst, most := 0, time.Duration(0), 0.0
		for {
			select {
			case <-done:
			default:
				at := time.Now()
				s.send(uint64(sent), "q", strconv.Itoa(sent), true)
				if err := s.result(uint64(sent)); err != nil {
					t.Fatal(err)
				}
				worst = max(worst, time.Since(at))
				most = max(most, metrictest.Value(t, regs[0], "selvedge_engine_held_bytes"))
				sent++
				continue
			}
			break
		}
		took := time.Since(began)
		if err := p.result(1); err != nil {
			t.Fatal(err)
		}
		if sent < 20 || took < 500*time.Millisecond || worst > 50*time.Millisecond {
			t.Errorf("got %d small messages in %v, the slowest in %v; want 20 at least, none slower than 50 ms", sent, took, worst)
		}
		if most > 3<<20 || most < routing.MaxPart {
			t.Errorf("the node held up to %v bytes, want no more than the window and a part", most)
		}
	})
}
