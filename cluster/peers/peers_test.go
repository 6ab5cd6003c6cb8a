package peers

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/selvedge-mq/selvedge/internal/metrictest"
	"github.com/selvedge-mq/selvedge/routing/engine"
)

// numbered returns n messages that tell their place, of random lengths.
func numbered(rnd *rand.Rand, n, most int) [][]byte {
	msgs := make([][]byte, n)
	for i := range msgs {
		msgs[i] = make([]byte, 8+rnd.IntN(most))
		binary.BigEndian.PutUint64(msgs[i], uint64(i))
	}
	return msgs
}

// checkSame fails unless got is want.
func checkSame(t *testing.T, got, want [][]byte) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("got %d messages, want %d", len(got), len(want))
	}
	for i := range want {
		if !bytes.Equal(got[i], want[i]) {
			t.Fatalf("message %d: got %d bytes %.16x, want %d bytes %.16x", i, len(got[i]), got[i], len(want[i]), want[i])
		}
	}
}

func TestPeers_EveryLaneKeepsItsOrderUnderLossRepetitionAndDisorder(t *testing.T) {
	for _, c := range []struct {
		name               string
		drop, repeat, late float64
		window             int
	}{
		{"a good wire", 0, 0, 0, 0},
		{"lost packets", 0.1, 0, 0, 64 << 10},
		{"repeated and late packets", 0, 0.2, 0.2, 64 << 10},
		{"all of it and a small window", 0.05, 0.1, 0.1, 4 << 10},
	} {
		t.Run(c.name, func(t *testing.T) {
			url := startServer(t)
			o := Options{Window: c.window, ControlWindow: c.window, Heartbeat: 20 * time.Millisecond, Suspect: time.Minute}
			var nodes [2]*node
			for i, name := range []string{"a", "b"} {
				o.Node = name
				nodes[i] = newNode(t, url, o)
				inject(nodes[i], &faults{
					rnd: rand.New(rand.NewPCG(uint64(i), 7)), drop: c.drop, repeat: c.repeat, late: c.late,
				})
				nodes[i].Start(nodes[i])
			}
			a, b := nodes[0], nodes[1]
			a.awaitEvent(t, "up b", 1)
			b.awaitEvent(t, "up a", 1)
			var wg sync.WaitGroup
			var sent [2][engine.Lanes][][]byte
			for i, n := range nodes {
				to, _ := nodes[1-i].Self()
				for k := range engine.Lane(engine.Lanes) {
					msgs := numbered(rand.New(rand.NewPCG(uint64(k), 3)), 500, 400)
					sent[i][k] = msgs
					wg.Go(func() { n.sendAll(t, to, k, msgs) })
				}
			}
			wg.Wait()
			for i, n := range nodes {
				for k := range engine.Lanes {
					want := sent[1-i][k]
					n.await(t, "the last message", func() bool { return len(n.got[k]) >= len(want) })
				}
			}
			for i, n := range nodes {
				n.Close()
				for k := range engine.Lanes {
					checkSame(t, n.got[k], sent[1-i][k])
				}
			}
			if got := slices.Concat(a.history(), b.history()); c.drop == 0 && strings.Contains(fmt.Sprint(got[:2]), "down") {
				t.Errorf("got events %v, want no peer down first", got)
			}
		})
	}
}

func TestPeers_AFullWindowRefusesAndReopens(t *testing.T) {
	a, b := pairUp(t, Options{Window: 1000})
	b.change(func() { b.hold = true })
	msg := make([]byte, 100)
	taken := 0
	for a.Send("b", engine.LaneSend, msg) {
		taken++
	}
	if taken != 10 {
		t.Fatalf("got %d messages of 100 bytes taken in a window of 1000, want 10", taken)
	}
	if !a.Send("b", engine.LaneSettle, msg) {
		t.Errorf("got another lane refused, want it free")
	}
	b.await(t, "ten messages", func() bool { return len(b.got[engine.LaneSend]) == 10 })
	b.Consumed("a", engine.LaneSend, 400)
	if a.Send("b", engine.LaneSend, make([]byte, 700)) {
		t.Fatalf("got 700 bytes taken with 400 free, want them refused")
	}
	b.Consumed("a", engine.LaneSend, 500)
	a.await(t, "writable", func() bool { return a.writable[engine.LaneSend] == 1 })
	if !a.Send("b", engine.LaneSend, make([]byte, 700)) {
		t.Errorf("got 700 bytes refused after Writable, want them taken")
	}
	b.await(t, "the large message", func() bool { return len(b.got[engine.LaneSend]) == 11 })
}

func TestPeers_AMessageLargerThanTheWindowPassesWhenTheLaneIsEmpty(t *testing.T) {
	a, b := pairUp(t, Options{Window: 1000})
	large := bytes.Repeat([]byte("x"), 6<<20)
	msgs := [][]byte{[]byte("before"), large, []byte("after"), large}
	a.sendAll(t, "b", engine.LaneDeliver, msgs)
	b.await(t, "all messages", func() bool { return len(b.got[engine.LaneDeliver]) == len(msgs) })
	checkSame(t, b.got[engine.LaneDeliver], msgs)
}

func TestPeers_MessagesOfNoBytesAreBoundedToo(t *testing.T) {
	a, b := pairUp(t, Options{Window: 1 << 10})
	b.change(func() { b.hold = true })
	a.sendAll(t, "b", engine.LaneSend, make([][]byte, 2000))
	b.await(t, "all messages", func() bool { return len(b.got[engine.LaneSend]) == 2000 })
}

func TestPeers_TheSmallerWindowHoldsForBoth(t *testing.T) {
	url := startServer(t)
	a := startNode(t, url, Options{Node: "a", Window: 1 << 20, Suspect: time.Minute})
	b := startNode(t, url, Options{Node: "b", Window: 100, Suspect: time.Minute})
	a.awaitEvent(t, "up b", 1)
	b.awaitEvent(t, "up a", 1)
	b.change(func() { b.hold = true })
	if !a.Send("b", engine.LaneSend, make([]byte, 100)) || a.Send("b", engine.LaneSend, make([]byte, 1)) {
		t.Errorf("got another window than 100 bytes, want that of the other end")
	}
}

func TestPeers_AMessageThatNoPacketCanHoldIsRefused(t *testing.T) {
	a, _ := pairUp(t, Options{})
	if a.Send("b", engine.LaneSend, make([]byte, 8<<20)) {
		t.Errorf("got a message of max_payload taken, want it refused")
	}
}

func TestPeers_ALostGrantIsAskedForAgain(t *testing.T) {
	url := startServer(t)
	a := startNode(t, url, Options{Node: "a", Window: 1000, Suspect: time.Minute})
	b := newNode(t, url, Options{Node: "b", Window: 1000, Suspect: time.Minute})
	f := &faults{rnd: rand.New(rand.NewPCG(1, 1))}
	inject(b, f)
	b.hold = true
	b.Start(b)
	a.awaitEvent(t, "up b", 1)
	b.awaitEvent(t, "up a", 1)
	a.sendAll(t, "b", engine.LaneSend, [][]byte{make([]byte, 1000)})
	b.await(t, "the message", func() bool { return len(b.got[engine.LaneSend]) == 1 })
	if a.Send("b", engine.LaneSend, []byte("x")) {
		t.Fatal("got a message taken beyond the window, want it refused")
	}
	l := b.pairs.Load().nodes["a"].lanes[engine.LaneSend]
	f.set(func() { f.mute = true })
	b.Consumed("a", engine.LaneSend, 1000)
	granted := func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		return l.grantSent == 1000
	}
	waitFor(t, "the grant that is lost", granted)
	f.set(func() { f.mute = false })
	a.await(t, "writable", func() bool { return a.writable[engine.LaneSend] == 1 })
}

// waitFor looks at ok each few milliseconds: for state that tells nobody.
func waitFor(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for limit := time.After(patience); !ok(); {
		select {
		case <-tick.C:
		case <-limit:
			t.Fatalf("%s did not happen in %v", what, patience)
		}
	}
}

func TestPeers_ANewSessionOfANodeIsDownThenUp(t *testing.T) {
	url := startServer(t)
	a := startNode(t, url, Options{Node: "a", Suspect: time.Minute})
	first := newNode(t, url, Options{Node: "b", Session: 11})
	f := &faults{rnd: rand.New(rand.NewPCG(1, 1))}
	inject(first, f)
	first.Start(first)
	a.awaitEvent(t, "up b", 1)
	f.set(func() { f.mute = true }) // dies without a goodbye
	second := startNode(t, url, Options{Node: "b", Session: 12})
	second.awaitEvent(t, "up a", 1)
	a.awaitEvent(t, "up b", 2)
	a.mu.Lock()
	defer a.mu.Unlock()
	if diff := cmp.Diff([]string{"up b", "down b", "up b"}, a.events); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]uint64{11, 11, 12}, a.sessions); diff != "" {
		t.Errorf("sessions (-want +got):\n%s", diff)
	}
}

func TestPeers_ASilentNodeIsDownAndComesBackWithFreshLanes(t *testing.T) {
	url := startServer(t)
	o := Options{Heartbeat: 50 * time.Millisecond, Suspect: time.Second, Window: 1000}
	o.Node = "a"
	a := startNode(t, url, o)
	o.Node = "b"
	b := newNode(t, url, o)
	f := &faults{rnd: rand.New(rand.NewPCG(1, 1))}
	inject(b, f)
	b.hold = true
	b.Start(b)
	a.awaitEvent(t, "up b", 1)
	b.awaitEvent(t, "up a", 1)
	a.sendAll(t, "b", engine.LaneSend, [][]byte{make([]byte, 1000)})
	b.await(t, "the message", func() bool { return len(b.got[engine.LaneSend]) == 1 })
	f.set(func() { f.mute = true })
	a.awaitEvent(t, "down b", 1)
	if a.Send("b", engine.LaneSend, []byte("x")) {
		t.Errorf("got a message taken for a node that is down, want it refused")
	}
	if m := a.Members(); len(m) != 1 || m[0].Up || m[0].Node != "b" {
		t.Errorf("got members %+v, want b, down", m)
	}
	f.set(func() { f.mute = false })
	a.awaitEvent(t, "up b", 2)
	b.awaitEvent(t, "up a", 2)
	second := bytes.Repeat([]byte("y"), 1000)
	a.sendAll(t, "b", engine.LaneSend, [][]byte{second})
	b.await(t, "the second message", func() bool { return len(b.got[engine.LaneSend]) == 2 })
	checkSame(t, b.got[engine.LaneSend][1:], [][]byte{second})
}

// A node that was there and did not read had to be kept for ever.
func TestPeers_AResetIsDownThenUpAtBothEnds(t *testing.T) {
	a, b := pairUp(t, Options{Window: 1000, ControlWindow: 1000, Suspect: 10 * time.Second})
	_, session := b.Self()
	b.change(func() { b.hold = true })
	msg := make([]byte, 100)
	for range 11 { // one more than there is room for
		a.Send("b", engine.LaneControl, msg)
		b.Send("a", engine.LaneControl, msg)
	}
	b.await(t, "ten messages", func() bool { return len(b.got[engine.LaneControl]) == 10 })
	a.Reset("b")
	a.Reset("b") // once is enough
	if a.Send("b", engine.LaneSettle, msg) && len(a.history()) == 1 {
		t.Error("got a message taken by a pair that ends")
	}
	a.awaitEvent(t, "up b", 2)
	b.awaitEvent(t, "up a", 2)
	for _, n := range []*node{a, b} {
		if h := n.history(); len(h) != 3 || !strings.HasPrefix(h[1], "down") || n.sessions[2] != n.sessions[0] {
			t.Errorf("got events %v of sessions %v, want up, down, up of one session", h, n.sessions)
		}
	}
	if a.sessions[1] != session {
		t.Errorf("got session %d down, want %d", a.sessions[1], session)
	}
	b.change(func() { b.hold = false })
	from := len(b.got[engine.LaneControl])
	msgs := numbered(rand.New(rand.NewPCG(1, 2)), 50, 100)
	a.sendAll(t, "b", engine.LaneControl, msgs)
	b.await(t, "what was sent on the new pair", func() bool { return len(b.got[engine.LaneControl]) >= from+len(msgs) })
	checkSame(t, b.got[engine.LaneControl][from:], msgs)
	a.Reset("nobody")
}

func TestPeers_AGoodbyeIsSeenAtOnceBehindAllThatWasSent(t *testing.T) {
	a, b := pairUp(t, Options{Suspect: time.Hour})
	msgs := numbered(rand.New(rand.NewPCG(1, 2)), 100, 1000)
	a.sendAll(t, "b", engine.LaneDeliver, msgs)
	a.Close()
	b.awaitEvent(t, "down a", 1)
	if a.Send("b", engine.LaneSend, []byte("x")) {
		t.Errorf("got a message taken after Close, want it refused")
	}
	if _, err := a.Ask(t.Context(), "b", "m", nil); !errors.Is(err, ErrClosed) {
		t.Errorf("got %v, want %v", err, ErrClosed)
	}
}

func TestPeers_AMessageSentInPeerUpArrives(t *testing.T) {
	url := startServer(t)
	for i := range 20 {
		a := newNode(t, url, Options{Node: fmt.Sprintf("a.%d", i)})
		b := startNode(t, url, Options{Node: fmt.Sprintf("b %d", i)})
		eager := &greeter{node: a}
		a.Start(eager)
		b.await(t, "the greeting", func() bool {
			return slices.ContainsFunc(b.got[engine.LaneControl], func(m []byte) bool { return string(m) == a.node })
		})
		a.Close()
		b.Close()
	}
}

// greeter sends its name to each peer that comes up.
type greeter struct{ *node }

func (g *greeter) PeerUp(peer string, _ uint64) {
	g.Send(peer, engine.LaneControl, []byte(g.Peers.node))
}

func TestPeers_ThreeNodesSeeEachOther(t *testing.T) {
	url := startServer(t)
	reg := prometheus.NewRegistry()
	a := startNode(t, url, Options{Node: "a", Storage: true, Metrics: reg})
	b := startNode(t, url, Options{Node: "b.example:7", Storage: true})
	c := startNode(t, url, Options{Node: "c"})
	a.awaitEvent(t, "up b.example:7", 1)
	a.awaitEvent(t, "up c", 1)
	b.awaitEvent(t, "up c", 1)
	var names []string
	for _, m := range a.Members() {
		names = append(names, fmt.Sprintf("%s storage=%v up=%v", m.Node, m.Storage, m.Up))
	}
	want := []string{"b.example:7 storage=true up=true", "c storage=false up=true"}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Errorf("members (-want +got):\n%s", diff)
	}
	if got := metrictest.Value(t, reg, "selvedge_peers_up"); got != 2 {
		t.Errorf("got %v peers up, want 2", got)
	}
	c.awaitEvent(t, "up a", 1)
}

func TestPeers_AnAskIsAnswered(t *testing.T) {
	a, b := pairUp(t, Options{})
	wait, release := make(chan struct{}), make(chan struct{})
	b.change(func() {
		b.answer = func(ctx context.Context, method string, req []byte) ([]byte, error) {
			switch method {
			case "echo":
				return req, nil
			case "large":
				return make([]byte, askBytes+1), nil
			case "slow":
				<-ctx.Done()
				close(wait)
				<-release
				return nil, ctx.Err()
			}
			return nil, errors.New("no " + method)
		}
	})
	ask := a.Ask
	most := bytes.Repeat([]byte("z"), askBytes)
	if got, err := ask(t.Context(), "b", "echo", most); err != nil || !bytes.Equal(got, most) {
		t.Errorf("echo: got %d bytes, %v, want %d", len(got), err, len(most))
	}
	if _, err := ask(t.Context(), "b", "echo", make([]byte, askBytes+1)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("a large request: got %v, want %v", err, ErrTooLarge)
	}
	for method, want := range map[string]string{"large": "answer is too large", "what": "no what"} {
		_, err := ask(t.Context(), "b", method, nil)
		if e, ok := errors.AsType[*AnswerError](err); !ok || e.Text != want || e.Node != "b" {
			t.Errorf("%s: got %v, want the answer %q", method, err, want)
		}
	}
	if _, err := ask(t.Context(), "nobody", "echo", nil); !errors.Is(err, ErrUnreachable) {
		t.Errorf("nobody: got %v, want %v", err, ErrUnreachable)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := ask(ctx, "b", "slow", nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("slow: got %v, want %v", err, context.DeadlineExceeded)
	}
	<-wait // the answerer learns the deadline too
	close(release)
}

func TestNew_SaysWhichOptionIsWrong(t *testing.T) {
	c := connect(t, startServer(t))
	for _, x := range []struct {
		name string
		o    Options
		want string
	}{
		{"no connection", Options{Node: "a", Session: 1}, "Conn"},
		{"no name", Options{Conn: c, Session: 1}, "Node"},
		{"a name too long", Options{Conn: c, Session: 1, Node: strings.Repeat("a", 256)}, "Node"},
		{"no session", Options{Conn: c, Node: "a"}, "Session"},
		{"a negative window", Options{Conn: c, Node: "a", Session: 1, Window: -1}, "Window"},
		{"suspicion too quick", Options{Conn: c, Node: "a", Session: 1, Suspect: time.Millisecond}, "Suspect"},
	} {
		t.Run(x.name, func(t *testing.T) {
			x.o.Log = zerolog.Nop()
			if _, err := New(x.o); err == nil || !strings.Contains(err.Error(), x.want) {
				t.Errorf("got %v, want an error about %s", err, x.want)
			}
		})
	}
}
