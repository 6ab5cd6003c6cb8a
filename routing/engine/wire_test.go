package engine_test

import (
	"context"
	"encoding/binary"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"github.com/selvedge-mq/selvedge/internal/cursor"
	"github.com/selvedge-mq/selvedge/routing"
	"github.com/selvedge-mq/selvedge/routing/engine"
	"github.com/selvedge-mq/selvedge/routing/envelope"
)

// wire builds a message between nodes, of shard 0 in its first epoch.
type wire []byte

func message(verb byte) wire         { return wire{verb, 0, 0, 0, 0, 0, 1} }
func (w wire) u64(v uint64) wire     { return binary.BigEndian.AppendUint64(w, v) }
func (w wire) u32(v uint32) wire     { return binary.BigEndian.AppendUint32(w, v) }
func (w wire) octets(b ...byte) wire { return append(w, b...) }
func (w wire) str(s string) wire     { return cursor.AppendBytes(w, s) }
func (w wire) uvarints(vs ...uint64) wire {
	for _, v := range vs {
		w = binary.AppendUvarint(w, v)
	}
	return w
}

// messages are one of each verb at least, in the order of a conversation: of b, whose
// session is 101, with the leader at a, whose session is 100, or the other way round.
func messages() []wire {
	env := string(envelope.Append(nil, &routing.Envelope{
		Address: routing.Queue("q"), Encoding: routing.EncodingSTOMP, Persistent: true, Payload: []byte("z"),
	}))
	topic := string(envelope.Append(nil, &routing.Envelope{Address: routing.Address{Kind: routing.KindTopic, Name: "t"}, Encoding: routing.EncodingSTOMP}))
	const key = 1<<40 + 1
	send := func(verb byte) wire {
		return message(verb).u64(101).uvarints(1, 1, 1, uint64(len(env))).octets([]byte(env)...)
	}
	return []wire{
		message(1).u64(1), message(1).u64(1).u32(1 << 20), message(2).u64(1), message(23).octets(1), message(23).octets(0),
		message(3).u64(101).octets(0, 0).uvarints(1, 1, 1, 1).octets(1).str("q").uvarints(5).octets(0).uvarints(1).u64(key).uvarints(0),
		message(3).u64(101).octets(0, 1).uvarints(1, 1, 0), message(3).u64(101).octets(1, 0).uvarints(1, 1, 0),
		message(5).uvarints(1).octets(1).str("q"), message(7).uvarints(1).u32(5), message(8).uvarints(1), message(10).uvarints(1, 0),
		message(13).u64(101).uvarints(1, 1).octets(byte(routing.Accepted)).uvarints(1).u64(key),
		send(14), send(21), send(28), send(30), message(26).uvarints(1).u64(key).uvarints(0, 10),
		message(4).u64(100).uvarints(1, 1), message(6).u64(100).uvarints(1), message(24).u64(100).uvarints(1),
		message(9).u64(100).uvarints(1).u32(1), message(11).u64(100).uvarints(1), message(12).u64(100).octets(1).uvarints(2, 1).octets(0),
		message(15).u64(100).uvarints(1).u64(key).uvarints(0).octets(0).str(env), message(27).u64(100).uvarints(1).u64(key).uvarints(0),
		message(16).octets(0).uvarints(1).str("t"), message(17).uvarints(1), message(18).str(topic),
		message(19).octets(0, 1).uvarints(1).u32(1), message(20).u64(100).octets(0, 1).uvarints(1),
		message(22).u64(100).octets(0, 1, 0).uvarints(2, 1).octets(0), message(31).u64(101).uvarints(1).str("b").octets(0, 0),
		message(32).u64(101).uvarints(1).octets(1, 0, 0), message(33).u64(101).uvarints(1).octets(0, 0), message(99),
		{1},
	}
}

// countedPeers counts what a node has received and not given back of its windows.
type countedPeers struct {
	engine.Peers
	mu   sync.Mutex
	owed int
	over bool // more was given back than had been received
}

func (p *countedPeers) add(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.owed += n
	p.over = p.over || p.owed < 0
}

func (p *countedPeers) Start(h engine.PeerHandler) { p.Peers.Start(&countedHandler{h, p}) }

func (p *countedPeers) Consumed(from string, lane engine.Lane, n int) {
	p.add(-n)
	p.Peers.Consumed(from, lane, n)
}

type countedHandler struct {
	engine.PeerHandler
	peers *countedPeers
}

func (h *countedHandler) Receive(from string, lane engine.Lane, msg []byte) {
	h.peers.add(len(msg))
	h.PeerHandler.Receive(from, lane, msg)
}

// FuzzReceive gives a node whatever another one might send. Nodes trust each other, so
// it may follow a leader that is none, and take a settlement for what it says. But it
// goes on and answers its clients; it takes no more memory than a message has reason
// for, and gives back each octet of the window once; what it appends to the log every
// replica can apply, and what was confirmed is in there. When the other node is gone, it
// serves on its own.
func FuzzReceive(f *testing.F) {
	all := messages()
	for i, msg := range all {
		for lane := range byte(engine.Lanes) {
			f.Add(lane, []byte(msg), []byte(all[(i+1)%len(all)]))
		}
		f.Add(byte(0), []byte(msg[:len(msg)-1]), []byte(msg))
	}
	f.Add(byte(0), []byte(message(7).uvarints(1).u32(117<<20)), []byte(message(7).uvarints(1).u32(5)))
	f.Fuzz(func(t *testing.T, lane byte, first, second []byte) {
		synctest.Test(t, func(t *testing.T) { checkReceive(t, engine.Lane(lane%engine.Lanes), first, second) })
	})
}

func checkReceive(t *testing.T, lane engine.Lane, msgs ...[]byte) {
	t.Helper()
	var peers *countedPeers
	c := newCluster(t, 2, 1, func(o *engine.Options) {
		o.SendTimeout, o.Log = 300*time.Millisecond, zerolog.Nop()
		if peers == nil { // of a
			peers = &countedPeers{Peers: o.Peers}
			o.Peers = peers
		}
	})
	a, b := c.nodes[0], c.nodes[1]
	a.fabric.Lead(0)
	p := a.client(t)
	p.send(1, "q", "x", true)
	if err := p.result(1); err != nil {
		t.Fatal(err)
	}
	subscribed(t, b.client(t), "q", 1).Grant(1)
	synctest.Wait()
	c.net.slow(5 * time.Millisecond) // a node that is granted what its portal was not gives back and is given, on and on
	settles, later := false, false   // what a settlement ends, and what a later epoch ends
	for _, msg := range msgs {
		if len(msg) >= 7 {
			settles = settles || msg[0] == 13 || msg[0] == 30 || msg[0] == 32
			later = later || binary.BigEndian.Uint32(msg[3:]) > 4
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		peers.add(len(msg))
		a.Receive("b", lane, msg)
		runtime.ReadMemStats(&after)
		if got, most := after.TotalAlloc-before.TotalAlloc, uint64(1<<20+100*len(msg)); got > most {
			t.Errorf("got %d octets allocated for a message of %d, want at most %d", got, len(msg), most)
		}
	}
	p.send(2, "q", "y", true)
	confirmed := p.result(2) == nil
	<-time.After(10 * time.Second) // whatever waits has come, or was given up
	synctest.Wait()
	peers.mu.Lock()
	if peers.owed != 0 || peers.over {
		t.Errorf("got %d octets of windows that were not given back, too many given back: %v", peers.owed, peers.over)
	}
	peers.mu.Unlock()
	want := map[bool]int{true: 1}[confirmed]
	if !settles {
		want++
	}
	if got := a.logState(t, 0).Live(); got < want {
		t.Errorf("got %d messages in the log, want at least the %d that were confirmed", got, want)
	}
	c.net.sever("b")
	if later {
		return
	}
	<-time.After(10 * time.Second)
	p.send(3, "q", "z", true)
	if err := p.result(3); err != nil {
		t.Errorf("the other node is gone: got %v, want a confirmation", err)
	}
	if s, err := a.Open(context.Background(), routing.SessionOptions{}); err != nil {
		t.Error(err)
	} else {
		s.Close()
	}
}

// A heartbeat and its answer were heeded though their ends were missing: the node followed
// who had not said anything that it could read.
func TestReceive_WhatEndsTooEarlyChangesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 2, 1, func(o *engine.Options) { o.Log = zerolog.Nop() })
		a := c.nodes[0]
		a.fabric.Lead(0)
		p := a.client(t)
		for token, msg := range []wire{message(1).u64(1), message(2).u64(1), message(23).octets(1)} {
			msg[6] = 9 // a later epoch
			for n := range msg {
				a.Receive("b", engine.LaneControl, msg[:n])
			}
			p.send(uint64(token), "q", "x", true)
			wantCode(t, "send", p.result(uint64(token)), routing.CodeOK)
			<-time.After(time.Second)
			if got := a.logState(t, 0).Epoch(); got != 1 {
				t.Fatalf("verb %d: got epoch %d, want 1 as before", msg[0], got)
			}
		}
	})
}
