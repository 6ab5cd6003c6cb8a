package shard

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/selvedge-mq/selvedge/routing"
)

// mortuary is a shard whose temporary queues end while what was rejected in them is
// on its way to another shard, which takes each number once, none before its turn.
type mortuary struct {
	*rapid.T
	opts     Options
	l        *leader
	temps    []routing.Address
	made     int
	held     []Delivery
	sub      uint64
	arriving []DeadLetter
	expects  uint64
}

func (m *mortuary) send(a routing.Address) {
	m.l.s.Send(modelSends, m.l.s.Expects(modelSends), envTo(a, "x-x-x-x-x-x-x-x-x-x-x-x-x-x-x-x", true))
}

func (m *mortuary) subscribe(a routing.Address) {
	m.sub++
	id := SubID{Session: 1, Sub: m.sub}
	m.l.s.Subscribe(id, a)
	m.l.s.Grant(id, 20)
}

func (m *mortuary) Create(t *rapid.T) {
	a := routing.Address{Kind: routing.KindTempQueue, Name: fmt.Sprint(m.made)}
	m.made++
	m.temps = append(m.temps, a)
	m.l.s.Create(modelSends, m.l.s.Expects(modelSends), a)
	m.subscribe(a)
	for range rapid.IntRange(0, 4).Draw(t, "messages") {
		m.send(a)
	}
	if rapid.IntRange(0, 5).Draw(t, "another queue") == 0 {
		m.send(routing.Queue("q"))
	}
}

func (m *mortuary) Delete(t *rapid.T) {
	if len(m.temps) == 0 {
		t.Skip("no temporary queue")
	}
	i := rapid.IntRange(0, len(m.temps)-1).Draw(t, "queue")
	m.l.s.Delete(modelSends, m.l.s.Expects(modelSends), m.temps[i])
	m.temps = slices.Delete(m.temps, i, i+1)
}

func (m *mortuary) Reject(t *rapid.T) {
	if len(m.held) == 0 {
		t.Skip("nothing in flight")
	}
	i := rapid.IntRange(0, len(m.held)-1).Draw(t, "delivery")
	d := m.held[i]
	m.held = slices.Delete(m.held, i, i+1)
	m.l.s.Settle(modelSettles, m.l.s.Expects(modelSettles), Settlement{Sub: d.Sub, Key: d.Key, Outcome: routing.Outcome{Kind: routing.Rejected}})
}

func (m *mortuary) Commit(*rapid.T) {
	fx := m.l.turn()
	m.held = append(m.held, fx.Deliveries...)
	m.arriving = append(m.arriving, fx.DeadLetters...)
	if fx.Purge >= m.l.first {
		m.l.log = m.l.log[fx.Purge-m.l.first+1:]
		m.l.first = fx.Purge + 1
	}
	again := replay(m, m.opts, m.l.first, m.l.log)
	if diff := cmp.Diff(durable(m.l.s), durable(again)); diff != "" {
		m.Fatalf("a replay of the log gives another state (-leader +replay):\n%s", diff)
	}
}

func (m *mortuary) Arrive(t *rapid.T) {
	if len(m.arriving) == 0 {
		t.Skip("nobody is dying")
	}
	d := m.arriving[0]
	m.arriving = m.arriving[1:]
	if d.Number > m.expects {
		m.Fatalf("letter %d comes, and %d never does", d.Number, m.expects)
	}
	m.expects = max(m.expects, d.Number+1)
	if rapid.IntRange(0, 3).Draw(t, "refused") == 0 {
		m.l.s.Unburied(d.Key, routing.CodeFull)
		return
	}
	m.l.s.Buried(d.Key)
}

func (m *mortuary) Clean(*rapid.T) {
	if seq, ok := m.l.s.CleanTarget(); ok {
		if err := m.l.s.Rewrite(seq, m.l.log[seq-m.l.first]); err != nil {
			m.Fatal(err)
		}
	}
	m.l.s.ComposeCut()
}

func (m *mortuary) TakeOver(*rapid.T) {
	m.l = leadFrom(m, m.opts, m.l.first, m.l.log)
	m.held, m.arriving = nil, nil
	m.temps = slices.DeleteFunc(m.temps, func(a routing.Address) bool { return m.l.s.queues.byAddr[a] == nil })
	m.l.s.OpenLane(modelSends, "n", 1)
	m.l.s.OpenLane(modelSettles, "n", 1)
	m.subscribe(routing.Queue("q"))
	for _, a := range m.temps {
		m.subscribe(a)
	}
}

func TestDying_EveryNumberIsUsedInItsTurn(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := &mortuary{T: t, opts: Options{DeadLetter: routing.Queue("dead"), CleanAbove: 1, CutBytes: 1}, expects: 1}
		m.l = lead(m, m.opts, nil)
		m.TakeOver(t)
		t.Repeat(map[string]func(*rapid.T){
			"create": m.Create, "delete": m.Delete, "reject": m.Reject, "commit": m.Commit, "arrive": m.Arrive, "clean": m.Clean, "take over": m.TakeOver,
		})
		m.Commit(t)
		for range 10000 {
			if len(m.arriving) == 0 {
				break
			}
			m.Arrive(t)
			m.Commit(t)
		}
		if n := len(m.l.s.dying.numbers); n != 0 || m.expects != m.l.s.dying.last+1 {
			t.Errorf("got %d numbers left, the next is %d of %d given out", n, m.expects, m.l.s.dying.last)
		}
	})
}
