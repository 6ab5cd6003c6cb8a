package shard

import (
	"testing"

	"github.com/selvedge-mq/selvedge/routing"
	"github.com/selvedge-mq/selvedge/routing/envelope"
)

// An expired message whose release is under way when its time comes is
// forgotten by the heap.
func TestExpiry_AReleasedMessageStillExpires(t *testing.T) {
	l := lead(t, Options{}, nil)
	sends, settles := l.openLanes()
	sub := SubID{Session: 1, Sub: 1}
	l.s.Subscribe(sub, routing.Queue("q"))
	l.s.Grant(sub, 1)
	l.s.Send(sends, 1, envelope.Append(nil, &routing.Envelope{
		Address: routing.Queue("q"), Encoding: routing.EncodingSTOMP, Persistent: true, Expiry: 1000, Payload: []byte("x"),
	}))
	fx := l.turn()
	l.s.Settle(settles, 1, Settlement{Sub: sub, Key: fx.Deliveries[0].Key, Outcome: routing.Outcome{Kind: routing.Released}})
	l.s.Expire(2000) // the beat comes between compose and apply
	l.turn()
	for now := int64(2000); now < 20000; now += 100 {
		l.s.Expire(now)
		l.turn()
	}
	if l.s.Live() != 0 {
		t.Fatalf("got %d live messages 18 s after the expiry, want 0", l.s.Live())
	}
}

// Messages with a long life that are consumed at once were remembered until their
// time came: at a high rate that is all of the memory.
func TestExpiry_WhatIsConsumedIsForgotten(t *testing.T) {
	l := lead(t, Options{}, nil)
	sends, settles := l.openLanes()
	sub := SubID{Session: 1, Sub: 1}
	l.s.Subscribe(sub, routing.Queue("q"))
	send := func(i int) {
		l.s.Send(sends, uint64(i), envelope.Append(nil, &routing.Envelope{
			Address: routing.Queue("q"), Encoding: routing.EncodingSTOMP, Persistent: true, Expiry: 1000, Payload: []byte("x"),
		}))
	}
	const kept, passing = 100, 10000
	for i := range kept {
		send(i + 1)
	}
	l.s.Grant(sub, kept)
	l.turn()
	for i := range passing {
		send(kept + i + 1)
		l.s.Grant(sub, 1)
		for _, d := range l.turn().Deliveries {
			l.s.Settle(settles, uint64(i+1), Settlement{Sub: sub, Key: d.Key, Outcome: routing.Outcome{Kind: routing.Accepted}})
		}
	}
	l.turn()
	if n := len(l.s.expiry.heap); n > 2*(kept+1)+expirySlack {
		t.Errorf("got %d expiries remembered for %d messages", n, l.s.Live())
	}
	l.s.CloseSession(1)
	l.turn()
	l.s.Expire(2000)
	l.turn()
	if l.s.Live() != 0 || l.s.Counts().Expired != kept {
		t.Errorf("got %d messages live and %d expired, want 0 and %d", l.s.Live(), l.s.Counts().Expired, kept)
	}
}
