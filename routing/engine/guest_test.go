package engine

import (
	"testing"

	"github.com/selvedge-mq/selvedge/routing"
	"github.com/selvedge-mq/selvedge/routing/envelope"
	"github.com/selvedge-mq/selvedge/routing/shard"
)

// A leader that had stood still greeted the shard of the dead letters before it heard
// of the one after it: the confirmations went to the former one, and the messages of
// the one after it were dying for ever.
func TestGuests_AFormerLeaderDoesNotGetTheConfirmationsOfTheOneAfterIt(t *testing.T) {
	l := &leader{
		e: &Engine{node: "b"}, s: shard.New(shard.Options{}), guests: map[int]host{},
		hearers: map[string]hearer{"a": {session: 1}, "c": {session: 2}}, nodes: map[uint64]string{1: "a", 2: "c"},
	}
	first := l.s.Lead("b", 3, 1)
	if err := l.s.Apply(1, first.Rec, first); err != nil {
		t.Fatal(err)
	}
	const source = 7
	l.guest("c", source, 1, 1)
	l.guest("a", source, 2, 1)
	l.guest("c", source, 1, 1)
	if got := l.guests[source].node; got != "a" {
		t.Errorf("the confirmations go to %q, want the leader of the later epoch", got)
	}
	l.part("a", 1)
	l.guest("c", source, 1, 1)
	if got := l.guests[source].node; got != "" {
		t.Errorf("the confirmations go to %q when the leader is gone, want nobody", got)
	}
	letter := envelope.Append(nil, &routing.Envelope{Address: routing.Queue("dead"), Persistent: true})
	if !l.s.Send(guestLane(source), 1, letter) {
		t.Error("the lane is not open")
	}
}
