package peers

import (
	"bytes"
	"encoding/binary"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/selvedge-mq/selvedge/routing/engine"
)

// newTestLanes returns the two ends of a lane.
func newTestLanes(window uint64, batch int) [2]*lane {
	var out [2]*lane
	for i := range out {
		mine, other := uint64(i+1), uint64(2-i)
		with := &pairing{session: mine, window: window, control: window, batch: batch, pool: &pool{largest: batch}}
		p := newPair(with, &notice{node: "n", session: other, conn: other, window: window, control: window}, mine, 0)
		p.up.Store(true)
		out[i] = p.lanes[engine.LaneSend]
		out[i].unlatch()
	}
	return out
}

// line is the two ends of a lane, and what is on its way: a sends, b receives.
type line struct {
	a, b     *lane
	now      time.Duration
	way      [2][][]byte // to a, to b
	sent     [][]byte
	received [][]byte
	writable int
	scratch  []byte
}

// flush lets an end publish up to n packets.
func (w *line) flush(from *lane, n int) {
	to := 0
	if from == w.a {
		to = 1
	}
	for range n {
		data, _ := from.take(w.scratch, w.now)
		if data == nil {
			return
		}
		w.way[to] = append(w.way[to], slices.Clone(data))
	}
}

// arrive delivers the k-th packet on the way to an end.
func (w *line) arrive(t *rapid.T, to, k int) {
	data := w.way[to][k]
	w.way[to] = append(w.way[to][:k:k], w.way[to][k+1:]...)
	h, body, size, err := parsePacket(data)
	if err != nil {
		t.Fatalf("got a packet that does not parse: %v", err)
	}
	l := [2]*lane{w.a, w.b}[to]
	if !l.pair.owns(&h) {
		t.Fatalf("got a packet of another pair: %+v", h)
	}
	o := l.enter(&h, size, w.now)
	for o.deliver && len(body) > 0 {
		var msg []byte
		if msg, body, err = nextMessage(body); err != nil {
			t.Fatal(err)
		}
		w.received = append(w.received, msg)
	}
	if o.writable {
		w.writable++
	}
	if o.entered {
		l.leave()
	}
}

// check fails if what holds at all times does not.
func (w *line) check(t *rapid.T) {
	if len(w.received) > len(w.sent) {
		t.Fatalf("got %d messages, want %d at most", len(w.received), len(w.sent))
	}
	for i, m := range w.received {
		if !bytes.Equal(m, w.sent[i]) {
			t.Fatalf("message %d: got %x, want %x", i, m, w.sent[i])
		}
	}
	bytesKept, largest := 0, 0
	for _, m := range w.sent[len(w.sent)-w.a.kept:] {
		bytesKept, largest = bytesKept+len(m), max(largest, len(m))
	}
	if limit := int(w.a.window); bytesKept > max(limit, largest) {
		t.Fatalf("got %d bytes kept, want %d at most", bytesKept, limit)
	}
}

// settle lets time pass on a line without faults, b consuming everything.
func (w *line) settle(t *rapid.T) {
	for range 60 {
		w.now += 50 * time.Millisecond
		w.a.tick(w.now)
		w.b.tick(w.now)
		w.b.consume(1 << 30)
		w.flush(w.a, 1000)
		w.flush(w.b, 1000)
		for to := range w.way {
			for len(w.way[to]) > 0 {
				w.arrive(t, to, 0)
			}
		}
	}
}

func TestLane_NothingIsLostRepeatedOrDisordered(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		window := rapid.Uint64Range(16, 400).Draw(t, "window")
		ends := newTestLanes(window, headLen+rapid.IntRange(20, 200).Draw(t, "batch"))
		w := &line{a: ends[0], b: ends[1], scratch: make([]byte, headLen)}
		refused := false
		for range rapid.IntRange(0, 200).Draw(t, "steps") {
			to := rapid.IntRange(0, 1).Draw(t, "end")
			n := len(w.way[to])
			what := []string{"send", "send", "flush", "flush", "arrive", "arrive", "drop", "repeat", "consume", "tick"}
			switch rapid.SampledFrom(what).Draw(t, "what") {
			case "send":
				msg := make([]byte, rapid.IntRange(0, 100).Draw(t, "length"))
				if len(msg) >= 8 {
					binary.BigEndian.PutUint64(msg, uint64(len(w.sent)))
				}
				taken, _ := w.a.push(msg)
				if taken {
					w.sent = append(w.sent, msg)
				}
				refused = refused || !taken
			case "flush":
				w.flush(ends[to], rapid.IntRange(1, 5).Draw(t, "packets"))
			case "arrive":
				if n > 0 {
					w.arrive(t, to, rapid.IntRange(0, n-1).Draw(t, "which"))
				}
			case "drop":
				if n > 0 {
					w.way[to] = w.way[to][1:]
				}
			case "repeat":
				if n > 0 {
					w.way[to] = append(w.way[to], slices.Clone(w.way[to][rapid.IntRange(0, n-1).Draw(t, "which")]))
				}
			case "consume":
				w.b.consume(rapid.IntRange(0, 100).Draw(t, "bytes"))
			case "tick":
				w.now += 50 * time.Millisecond
				w.a.tick(w.now)
				w.b.tick(w.now)
			}
			w.check(t)
		}
		w.settle(t)
		w.check(t)
		switch {
		case len(w.received) != len(w.sent):
			t.Fatalf("got %d messages, want %d", len(w.received), len(w.sent))
		case w.a.kept != 0 || w.a.granted != w.a.queued || w.a.starved:
			t.Fatalf("got %d messages kept, %d of %d bytes granted, starved %v, want a free lane",
				w.a.kept, w.a.granted, w.a.queued, w.a.starved)
		case refused != (w.writable > 0):
			t.Fatalf("got Writable %d times, a message refused %v", w.writable, refused)
		}
	})
}

func TestLane_PacketsGrowWhileManyWaitForTheirAcknowledgement(t *testing.T) {
	ends := newTestLanes(1<<20, 1<<16)
	scratch := make([]byte, headLen)
	published := 0
	for range packetsMost + 100 {
		ends[0].push([]byte("x"))
		if data, _ := ends[0].take(scratch, 0); data != nil {
			published++
		}
	}
	if published != packetsMost {
		t.Fatalf("got %d packets published, want %d", published, packetsMost)
	}
	ack := head{ack: 1}
	o := ends[0].enter(&ack, 0, 0)
	ends[0].leave()
	data, _ := ends[0].take(scratch, 0)
	if want := headLen + 100*(frameLen+1); len(data) != want {
		t.Errorf("got a packet of %d bytes after an acknowledgement, want %d", len(data), want)
	}
	if !o.wake && !ends[0].scheduled {
		t.Errorf("got a lane that nobody would publish")
	}
}

func TestLane_WhatTheWriterHoldsIsNotUsedAgain(t *testing.T) {
	ends := newTestLanes(1<<20, 1<<16)
	ends[0].push([]byte("first"))
	data, _ := ends[0].take(make([]byte, headLen), 0)
	before := slices.Clone(data)
	ends[0].enter(&head{ack: 1}, 0, 0) // the acknowledgement overtakes the end of Publish
	ends[0].leave()
	for range 100 {
		ends[0].push([]byte("other"))
	}
	if !bytes.Equal(data, before) {
		t.Errorf("got %x in the writer's hands, want %x", data, before)
	}
}
