package engine_test

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"github.com/selvedge-mq/selvedge/internal/linetest"
	"github.com/selvedge-mq/selvedge/routing"
	"github.com/selvedge-mq/selvedge/routing/engine"
	"github.com/selvedge-mq/selvedge/routing/memlog"
)

func fill(n *testNode) {
	n.fabric.View(0).SetHook(func(op memlog.Op) memlog.Fault {
		if op.Kind == memlog.Append {
			return memlog.Fault{Err: engine.ErrFull}
		}
		return memlog.Fault{}
	})
}

// A full disk ended the epoch, and a new one had no room either: consumers stood
// still, and the log was filled with starts.
func TestNoSpace_EverythingGoesOnWhenThereIsRoomAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var said linetest.Lines
		c := newCluster(t, 2, 1, func(o *engine.Options) {
			impatient(o)
			if name, _ := o.Peers.Self(); name == "a" {
				o.Log = zerolog.New(&said)
			}
		})
		a, b := c.nodes[0], c.nodes[1]
		a.fabric.Lead(0)
		p := b.client(t)
		sub := subscribed(t, p, "q", 1)
		sub.Grant(2)
		for i := range uint64(4) {
			p.send(10+i, "q", "x", true)
			if err := p.result(10 + i); err != nil {
				t.Fatal(err)
			}
		}
		p.until("two messages", func() bool { return len(p.got) == 2 })
		fill(a)
		p.send(20, "q", "caught", true)
		synctest.Wait()
		sub.Grant(1) // below the reservation or not: what was reserved is handed out
		began := time.Now()
		for token := uint64(20); token < 22; token++ {
			err, ok := errors.AsType[*routing.Error](p.result(token))
			if !ok || err.Code != routing.CodeFull || err.Reason == "" {
				t.Errorf("send %d: got %v, want full with a reason", token, err)
			}
			if token == 20 {
				p.send(21, "q", "refused", true)
			}
		}
		if took := time.Since(began); took > shortTimeout+time.Second {
			t.Errorf("got the answers after %v", took)
		}
		sub.Settle(p.got[0].Tag, accepted, nil, 0) // waits for room
		if diff := cmp.Diff([]int{0}, a.Stats().Full); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		<-time.After(time.Minute)
		a.fabric.View(0).Mend()
		<-time.After(3 * time.Second)
		p.send(30, "q", "y", true)
		if err := p.result(30); err != nil {
			t.Fatal(err)
		}
		sub.Settle(p.got[1].Tag, accepted, p, 31)
		if err := p.result(31); err != nil {
			t.Fatal(err)
		}
		sub.Grant(10)
		p.until("the messages", func() bool { return len(p.got) >= 6 })
		if full := a.Stats().Full; len(full) > 0 {
			t.Errorf("got shards %v without room", full)
		}
		if n := said.Count("no room"); n > 2 || said.Count("starts over") > 0 || said.Count("room again") != 1 {
			t.Errorf("got the log lines %s", said.String())
		}
	})
}

func TestNoSpace_ATakeoverWaitsForRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var said linetest.Lines
		c := newCluster(t, 1, 1, func(o *engine.Options) {
			impatient(o)
			o.Log = zerolog.New(&said)
		})
		n := c.nodes[0]
		fill(n)
		n.fabric.Lead(0)
		p := n.client(t)
		<-time.After(time.Minute)
		p.send(1, "q", "x", true)
		if err := p.result(1); routing.CodeOf(err) != routing.CodeFull {
			t.Errorf("got %v, want full", err)
		}
		if diff := cmp.Diff([]int{0}, n.Stats().Full); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		n.fabric.View(0).Mend()
		<-time.After(3 * time.Second)
		p.send(2, "q", "x", true)
		if err := p.result(2); err != nil {
			t.Error(err)
		}
		if said.Count("no room") > 2 || said.Count("room again") != 1 || said.Count("starts over") > 0 {
			t.Errorf("got the log lines %s", said.String())
		}
	})
}

// A leader that was elected before the record that had no room was in did not say that
// there was room: sends went on to be refused until the former leader's word was over. Its
// last word may also come late. And the log of the former leader's node never told that
// there was room again.
func TestNoSpace_ANewEpochIsAWordThatThereIsRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var said linetest.Lines
		c := newCluster(t, 3, 1, func(o *engine.Options) {
			impatient(o)
			if name, _ := o.Peers.Self(); name == "a" {
				o.Log = zerolog.New(&said)
			}
		})
		a, b := c.nodes[0], c.nodes[1]
		a.fabric.Lead(0)
		clients := []*client{a.client(t), b.client(t), c.nodes[2].client(t)}
		for i, p := range clients {
			p.send(1, "q", "x", true)
			wantCode(t, "send at "+c.nodes[i].peers.node, p.result(1), routing.CodeOK)
		}
		fill(a)
		clients[0].send(2, "q", "caught", true)
		<-time.After(time.Second)
		for i, p := range clients {
			p.send(3, "q", "refused", true)
			wantCode(t, "send at "+c.nodes[i].peers.node, p.result(3), routing.CodeFull)
		}
		late := c.net.plug("c") // a goes on to say that it has no room
		<-time.After(200 * time.Millisecond)
		b.fabric.Lead(0)
		<-time.After(200 * time.Millisecond)
		late()
		<-time.After(200 * time.Millisecond)
		for i, p := range clients {
			p.send(4, "q", "y", true)
			wantCode(t, "send at "+c.nodes[i].peers.node, p.result(4), routing.CodeOK)
		}
		if said.Count("no room") == 0 || said.Count("room again", `"shard":0`) != 1 {
			t.Errorf("got the log lines %s", said.String())
		}
	})
}

// A log that fails for any other reason is told once, not with each try.
func TestNoSpace_ALeaderThatDoesNotComeToWorkSaysSoOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var said linetest.Lines
		c := newCluster(t, 1, 1, func(o *engine.Options) { o.Log = zerolog.New(&said).Level(zerolog.InfoLevel) })
		n := c.nodes[0]
		n.fabric.View(0).SetHook(func(memlog.Op) memlog.Fault { return memlog.Fault{Err: io.ErrUnexpectedEOF} })
		n.fabric.Lead(0)
		<-time.After(time.Minute)
		if got := said.Count("starts over"); got != 1 {
			t.Errorf("got %d lines in a minute, want one", got)
		}
		n.fabric.View(0).Mend()
		<-time.After(2 * time.Second)
		if got := said.Count("shard is led here"); got != 1 {
			t.Errorf("got %d lines that the shard is led, want one", got)
		}
	})
}

// swappedLog answers an append that holds "first" behind the one that holds
// "second", which has no room.
type swappedLog struct {
	engine.Log
	held    chan func()
	swapped atomic.Bool
}

func (s *swappedLog) Append(expect uint64, rec []byte, done func(seq uint64, err error)) {
	switch {
	case bytes.Contains(rec, []byte("first")):
		s.Log.Append(expect, rec, func(seq uint64, err error) { s.held <- func() { done(seq, err) } })
	case bytes.Contains(rec, []byte("second")) && !s.swapped.Swap(true):
		go func() {
			done(0, engine.ErrFull)
			(<-s.held)()
		}()
	default:
		s.Log.Append(expect, rec, done)
	}
}

type swappedFabric struct {
	engine.Fabric
	log *swappedLog
}

func (f swappedFabric) Log(int) engine.Log { return f.log }

// The answers of two appends crossed: the word that there is room put an end to the
// tries, and the refused record was never appended.
func TestNoSpace_WhatIsRefusedIsTriedAgainWhateverElseHasRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log *swappedLog
		c := newCluster(t, 1, 1, func(o *engine.Options) {
			log = &swappedLog{Log: o.Fabric.Log(0), held: make(chan func(), 1)}
			o.Fabric = swappedFabric{Fabric: o.Fabric, log: log}
		})
		n := c.nodes[0]
		n.leadAll()
		p := n.client(t)
		p.send(1, "q", "before", true)
		if err := p.result(1); err != nil {
			t.Fatal(err)
		}
		p.send(2, "q", "first", true)
		synctest.Wait()
		p.send(3, "q", "second"+strings.Repeat("x", 100<<10), true) // large enough to go behind another one
		for token := uint64(2); token < 4; token++ {
			if err := p.result(token); err != nil {
				t.Errorf("send %d: got %v", token, err)
			}
		}
		if !log.swapped.Load() {
			t.Error("no append was refused")
		}
	})
}
