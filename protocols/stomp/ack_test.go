package stomp

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/selvedge-mq/selvedge/protocols/stomp/frame"
	"github.com/selvedge-mq/selvedge/routing"
)

// settledSub notes what is settled.
type settledSub struct {
	browserSub
	tags []routing.Tag
}

func (s *settledSub) Settle(t routing.Tag, _ routing.Outcome, _ routing.Completer, _ uint64) {
	s.tags = append(s.tags, t)
}

func TestSTOMP12_Ack_SettlesTheNewestDeliveryOfAMessage(t *testing.T) {
	m := benchMachine(t, &nowhere{})
	sub := &settledSub{}
	s := &subscription{mode: ackIndividual, sub: sub, number: 1}
	old, again := routing.Tag{Epoch: 1, Key: 7}, routing.Tag{Epoch: 2, Key: 7}
	m.await(s, old)
	key := m.await(s, again)
	if got := string(key.appendAckID(nil)); got != again.MessageID() {
		t.Errorf("got ack id %q, want the message-id %q", got, again.MessageID())
	}
	place, err := m.place(&frame.Frame{Command: frame.Ack}, []byte(again.MessageID()))
	if err != nil {
		t.Fatal(err)
	}
	m.settle(&frame.Frame{Command: frame.Ack}, place, place.n, routing.Outcome{Kind: routing.Accepted})
	if diff := cmp.Diff([]routing.Tag{again}, sub.tags); diff != "" {
		t.Errorf("settled (-want +got):\n%s", diff)
	}
	m.grantAgain()
	if sub.granted != 2 || s.unacked.len() != 0 || len(m.acks) != 0 {
		t.Errorf("got %d granted, %d and %d left, want 2 and none", sub.granted, s.unacked.len(), len(m.acks))
	}
}

func TestAckIDsAreReadAsTheyAreWritten(t *testing.T) {
	for _, k := range []ackKey{{}, {key: 1}, {key: 1 << 63, shard: routing.TopicShard}, {key: 5, shard: 3, sub: 9}} {
		text := k.appendAckID(nil)
		if got, ok := parseAckID(text); !ok || got != k {
			t.Errorf("%s: got %+v %v, want %+v", text, got, ok, k)
		}
	}
	for _, bad := range []string{"", "ID-", "ID-1", "ID-x-1", "ID-1-", "ID-1-1,", "ID-1-1,x", "1-1", "ID-10000-1"} {
		if _, ok := parseAckID([]byte(bad)); ok {
			t.Errorf("%q is read as an id", bad)
		}
	}
}
