package shard

import (
	"testing"

	"github.com/selvedge-mq/selvedge/routing"
)

// A subscription that refused more messages than one step of a reservation
// never gets the next one, and the leader writes the same reservation for ever.
func TestDispatch_AReservationGetsPastMessagesThatAreNotWanted(t *testing.T) {
	l := lead(t, Options{}, nil)
	_, settles := l.openLanes()
	sub := SubID{Session: 1, Sub: 1}
	l.s.Subscribe(sub, routing.Queue("q"))
	l.s.Grant(sub, 64)
	sendRange(l, 1, 64, 0)
	fx := l.turn()
	for i, d := range fx.Deliveries {
		l.s.Settle(settles, uint64(i+1), Settlement{Sub: sub, Key: d.Key, Outcome: routing.Outcome{Kind: routing.Modified, UndeliverableHere: true}})
	}
	l.turn()
	l.s.Grant(sub, 1)
	sendRange(l, 65, 65, 0)
	for i := range 20 {
		l.s.Dispatch()
		if n := len(l.s.Effects().Deliveries); n == 1 {
			return
		}
		l.s.Effects().Reset()
		if b := l.s.Seal(l.now); b != nil {
			l.commit(b)
		} else {
			t.Fatalf("turn %d: nothing to do and no delivery", i)
		}
	}
	t.Fatalf("got no delivery of message 65 after 20 turns, each of which logged a reservation")
}

// A backlog of messages that have failed too often dies as fast as records fill,
// not all in one of them.
func TestDispatch_ABacklogOfExhaustedMessagesDiesInManyRecords(t *testing.T) {
	const count = 200
	o := Options{DeadLetter: routing.Queue("dead"), DeadLetterHere: true, MaxFailed: 2}
	l := lead(t, o, nil)
	_, settles := l.openLanes()
	sendRange(l, 1, count, 1)
	sub := SubID{Session: 1, Sub: 1}
	l.s.Subscribe(sub, routing.Queue("q"))
	l.s.Grant(sub, count)
	for i, d := range l.turn().Deliveries {
		l.s.Settle(settles, uint64(i+1), Settlement{Sub: sub, Key: d.Key, Outcome: routing.Outcome{Kind: routing.Modified, DeliveryFailed: true}})
	}
	l.turn()
	o.MaxFailed, o.RecordTarget = 1, 500
	l = lead(t, o, l.log)
	before := len(l.log)
	l.s.Subscribe(sub, routing.Queue("q"))
	l.s.Grant(sub, count)
	if fx := l.turn(); len(fx.Deliveries) != 0 || l.s.Counts().DeadLettered != count {
		t.Fatalf("got %d deliveries and %d dead letters, want 0 and %d", len(fx.Deliveries), l.s.Counts().DeadLettered, count)
	}
	for _, rec := range l.log[before:] {
		if len(rec) > 2*o.RecordTarget {
			t.Errorf("got a record of %d octets, want about %d", len(rec), o.RecordTarget)
		}
	}
}
