package shard

import (
	"errors"
	"fmt"
	"testing"

	"github.com/selvedge-mq/selvedge/routing"
	"github.com/selvedge-mq/selvedge/routing/envelope"
)

// leader drives one shard over a log in memory, one record at a time.
type leader struct {
	t     failer
	s     *Shard
	first uint64 // sequence of log[0]
	log   [][]byte
	now   int64
}

// failer is what testing.TB and rapid.T share.
type failer interface {
	Helper()
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}

func lead(t failer, o Options, log [][]byte) *leader {
	t.Helper()
	return leadFrom(t, o, 1, log)
}

// leadFrom takes over a log whose first record has the given sequence.
func leadFrom(t failer, o Options, first uint64, log [][]byte) *leader {
	t.Helper()
	l := &leader{t: t, s: replay(t, o, first, log), first: first, log: log, now: 1}
	l.commit(l.s.Lead("n1", 1, l.now))
	l.s.Serve(true)
	return l
}

func (l *leader) commit(b *Batch) {
	l.t.Helper()
	switch {
	case b == nil:
	case b.Rec == nil:
		l.s.ApplySoft(b)
	default:
		l.log = append(l.log, b.Rec)
		if err := l.s.Apply(l.first+uint64(len(l.log))-1, b.Rec, b); err != nil {
			l.t.Fatal(err)
		}
	}
}

func replay(t failer, o Options, first uint64, log [][]byte) *Shard {
	t.Helper()
	s := New(o)
	for i, rec := range log {
		if err := s.Apply(first+uint64(i), rec, nil); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// turn commits and dispatches until nothing is left to do, and returns what came of it.
func (l *leader) turn() Effects {
	l.t.Helper()
	var all Effects
	for {
		l.s.Bury(true)
		l.s.Dispatch()
		fx := l.s.Effects()
		all.Deliveries = append(all.Deliveries, fx.Deliveries...)
		all.Confirms = append(all.Confirms, fx.Confirms...)
		all.Drained = append(all.Drained, fx.Drained...)
		all.DeadLetters = append(all.DeadLetters, fx.DeadLetters...)
		all.Purge = max(all.Purge, fx.Purge)
		fx.Reset()
		b := l.s.Seal(l.now)
		if b == nil {
			return all
		}
		l.commit(b)
	}
}

func env(queue, body string, persistent bool) []byte {
	return envTo(routing.Queue(queue), body, persistent)
}

func envTo(a routing.Address, body string, persistent bool) []byte {
	return envelope.Append(nil, &routing.Envelope{
		Address: a, Encoding: routing.EncodingSTOMP, Persistent: persistent, Payload: []byte(body),
	})
}

// sendRange composes the sends with the numbers from to to, each of at least size octets.
func sendRange(l *leader, from, to, size int) {
	sends := LaneID{Session: 1, Lane: 2}
	for i := from; i <= to; i++ {
		body := fmt.Sprintf("%d", i)
		for len(body) < size {
			body += "x"
		}
		l.s.Send(sends, uint64(i), env("q", body, true))
	}
}

// openLanes opens the lanes of a node's session.
func (l *leader) openLanes() (sends, settles LaneID) {
	sends, settles = LaneID{Session: 1, Lane: 2}, LaneID{Session: 1, Lane: 1}
	l.s.OpenLane(sends, "n1", 1)
	l.s.OpenLane(settles, "n1", 1)
	return sends, settles
}

func TestShard_AMessageGoesThroughAndSurvivesALeader(t *testing.T) {
	l := lead(t, Options{}, nil)
	sends, settles := l.openLanes()
	for i, body := range []string{"a", "b", "c"} {
		if !l.s.Send(sends, uint64(i+1), env("q", body, body != "b")) {
			t.Fatalf("send %d was not taken", i+1)
		}
	}
	sub := SubID{Session: 1, Sub: 7}
	l.s.Subscribe(sub, routing.Queue("q"))
	l.s.Grant(sub, 10)
	fx := l.turn()
	if len(fx.Deliveries) != 3 || len(fx.Confirms) != 1 || fx.Confirms[0].Next != 4 {
		t.Fatalf("got %d deliveries and confirms %+v, want 3 and one up to 4", len(fx.Deliveries), fx.Confirms)
	}
	l.s.Settle(settles, 1, Settlement{Sub: sub, Key: fx.Deliveries[0].Key, Outcome: routing.Outcome{Kind: routing.Accepted}})
	fx = l.turn()
	if len(fx.Confirms) != 1 || fx.Confirms[0].Next != 2 {
		t.Fatalf("got confirms %+v, want one up to 2", fx.Confirms)
	}

	n := lead(t, Options{}, l.log)
	n.s.OpenLane(sends, "n1", 1)
	n.s.Subscribe(sub, routing.Queue("q"))
	n.s.Grant(sub, 10)
	fx = n.turn()
	if len(fx.Deliveries) != 1 || !fx.Deliveries[0].Redelivered {
		t.Fatalf("got %+v, want the one persistent message that is left, marked", fx.Deliveries)
	}
	if len(fx.Confirms) != 1 || fx.Confirms[0].Next != 4 {
		t.Fatalf("got confirms %+v, want one up to 4", fx.Confirms)
	}
}

// A leader whose record did not continue its own chain, since its memory was damaged,
// took it for void as everybody else did, and went on: nothing that it composed from
// then on took effect, and nobody was told.
func TestLeader_WhoseRecordIsVoidEnds(t *testing.T) {
	l := lead(t, Options{}, nil)
	damaged := l.s.open.sealed.epoch ^ 1<<20
	l.s.open.sealed.epoch = damaged
	lane := LaneID{Session: 1, Lane: 2}
	l.s.OpenLane(lane, "n1", 1)
	l.s.Send(lane, 1, nil)
	l.s.Attest()
	b := l.s.Seal(2)
	if err := l.s.Apply(l.s.LastSeq()+1, b.Rec, b); !errors.Is(err, ErrVoid) {
		t.Errorf("got %v, want %v", err, ErrVoid)
	}
	r := replay(t, Options{}, 1, append(l.log, b.Rec))
	if got := r.Counts().Void; got != 1 {
		t.Errorf("got %d void records in a replay, want 1", got)
	}
}
