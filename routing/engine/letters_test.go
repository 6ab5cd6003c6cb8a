package engine

import (
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/selvedge-mq/selvedge/routing"
	"github.com/selvedge-mq/selvedge/routing/envelope"
	"github.com/selvedge-mq/selvedge/routing/shard"
)

// A dead letter that was refused kept its number until it was tried again. A leader
// that took over in between brought the number again, heard that it was done, and the
// message was gone.
func TestLetters_ARefusedOneHasItsNextNumberBeforeItIsTriedAgain(t *testing.T) {
	s := shard.New(shard.Options{DeadLetter: routing.Queue("dead")})
	commit := func(b *shard.Batch) {
		t.Helper()
		if b == nil {
			t.Fatal("nothing was composed")
		}
		if err := s.Apply(s.LastSeq()+1, b.Rec, b); err != nil {
			t.Fatal(err)
		}
	}
	commit(s.Lead("a", 1, 1))
	sends, settles := shard.LaneID{Session: 1, Lane: laneSend}, shard.LaneID{Session: 1, Lane: laneSettle}
	s.OpenLane(sends, "a", 1)
	s.OpenLane(settles, "a", 1)
	sub := shard.SubID{Session: 1, Sub: 1}
	s.Subscribe(sub, routing.Queue("q"))
	s.Grant(sub, 1)
	s.Send(sends, 1, envelope.Append(nil, &routing.Envelope{Address: routing.Queue("q"), Persistent: true, Payload: []byte("x")}))
	commit(s.Seal(1))
	s.Serve(true)
	s.Dispatch()
	key := s.Effects().Deliveries[0].Key
	s.Settle(settles, 1, shard.Settlement{Sub: sub, Key: key, Outcome: routing.Outcome{Kind: routing.Rejected}})
	commit(s.Seal(1))
	s.Bury(true)
	s.Effects().Reset()

	l := &leader{s: s, zl: zerolog.Nop()}
	l.buried(key, routing.CodeFull)
	commit(s.Seal(1))
	if wait := time.Until(l.lettersFrom); wait <= 0 {
		t.Error("it is tried again without a pause")
	}
	s.Bury(false)
	if n := len(s.Effects().DeadLetters); n != 0 {
		t.Errorf("got %d letters in the pause, want none", n)
	}
	s.Bury(true)
	if letters := s.Effects().DeadLetters; len(letters) != 1 || letters[0].Number != 2 {
		t.Errorf("got %+v after the pause, want number 2", letters)
	}
}
