package engine

import (
	"testing"

	"github.com/rs/zerolog"

	"github.com/selvedge-mq/selvedge/routing"
	"github.com/selvedge-mq/selvedge/routing/envelope"
	"github.com/selvedge-mq/selvedge/routing/shard"
)

// FuzzStep has a leader take arbitrary bytes for a step of a transaction: it takes
// the number, answers, and a replay of what it composed gives its state again.
func FuzzStep(f *testing.F) {
	env := envelope.Append(nil, &routing.Envelope{
		Address: routing.Queue("q"), Encoding: routing.EncodingSTOMP, Persistent: true, Payload: []byte("body"),
	})
	part := func() *txPart {
		q := &queueSub{id: 1}
		return &txPart{sends: [][]byte{env, env}, settles: []settleRequest{{sub: q, key: 1 << 40, outcome: routing.Outcome{Kind: routing.Accepted}}}}
	}
	for _, t := range []*txStep{
		{verb: stepTransact, part: part()},
		{verb: stepPrepare, number: 1, coordinator: 2, part: &txPart{sends: [][]byte{env}}},
		{verb: stepDecide, number: 1, shards: []int{0, 1}},
		{verb: stepFinish, number: 1, commit: true},
		{verb: stepEnd, number: 1},
		{verb: stepCreate, addr: routing.Address{Kind: routing.KindTempQueue, Name: "t"}},
		{verb: stepDelete, addr: routing.Address{Kind: routing.KindTempQueue, Name: "t"}},
		{verb: stepWhose, addr: routing.Address{Kind: routing.KindTempQueue, Name: "t"}},
	} {
		f.Add(t.append(nil, 1))
	}
	id := shard.UploadID{Session: 1, Number: 1}
	f.Add(appendPart(nil, id, 0, []byte("part")))
	f.Add(append(appendLarge(nil, id, 0), env...))
	f.Add(appendAbort(nil, id))
	f.Fuzz(func(t *testing.T, step []byte) {
		l := &leader{e: &Engine{portals: make([]*portal, 3)}, s: shard.New(shard.Options{}), zl: zerolog.Nop()}
		id := shard.LaneID{Session: 1, Lane: laneSend}
		first := l.s.Lead("n", 1, 1)
		apply := func(s *shard.Shard, b *shard.Batch, own *shard.Batch) {
			if err := s.Apply(s.LastSeq()+1, b.Rec, own); err != nil {
				t.Fatal(err)
			}
		}
		apply(l.s, first, first)
		l.s.OpenLane(id, "n", 1)
		l.takeStep(id, 1, step)
		if got := l.s.Expects(id); got != 2 {
			t.Fatalf("got %d as the next number, want 2", got)
		}
		b := l.s.Seal(2)
		if b.Rec == nil {
			l.s.ApplySoft(b)
			return
		}
		apply(l.s, b, b)
		again := shard.New(shard.Options{})
		apply(again, first, nil)
		apply(again, b, nil)
		if got, want := again.Live(), l.s.Live()-l.s.SoftLive(); got != want {
			t.Fatalf("got %d messages after a replay, the leader has %d in the log", got, want)
		}
	})
}

// A part whose coordinator, or a commit whose participant, is a shard that does not exist
// was logged, and waited for it for ever: whoever led next found it in the log again.
func TestStep_NamesShardsThatExist(t *testing.T) {
	env := envelope.Append(nil, &routing.Envelope{
		Address: routing.Queue("q"), Encoding: routing.EncodingSTOMP, Persistent: true, Payload: []byte("body"),
	})
	for _, c := range []struct {
		name string
		step *txStep
		want bool
	}{
		{"a coordinator", &txStep{verb: stepPrepare, number: 1, coordinator: 2, part: &txPart{sends: [][]byte{env}}}, true},
		{"a coordinator too many", &txStep{verb: stepPrepare, number: 1, coordinator: 3, part: &txPart{sends: [][]byte{env}}}, false},
		{"a coordinator that is no number of a shard", &txStep{verb: stepPrepare, number: 1, coordinator: 1 << 16, part: &txPart{sends: [][]byte{env}}}, false},
		{"participants", &txStep{verb: stepDecide, number: 1, shards: []int{0, 2}}, true},
		{"a participant too many", &txStep{verb: stepDecide, number: 1, shards: []int{0, 3}}, false},
		{"a participant that is no number of a shard", &txStep{verb: stepDecide, number: 1, shards: []int{1 << 16}}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := &leader{e: &Engine{portals: make([]*portal, 3)}, s: shard.New(shard.Options{}), zl: zerolog.Nop()}
			id := shard.LaneID{Session: 1, Lane: laneSend}
			first := l.s.Lead("n", 1, 1)
			if err := l.s.Apply(1, first.Rec, first); err != nil {
				t.Fatal(err)
			}
			l.s.OpenLane(id, "n", 1)
			l.takeStep(id, 1, c.step.append(nil, 1))
			if got := !l.s.Refused(id, 1); got != c.want || l.s.Expects(id) != 2 {
				t.Errorf("got it taken: %v, next %d; want %v, 2", got, l.s.Expects(id), c.want)
			}
		})
	}
}
