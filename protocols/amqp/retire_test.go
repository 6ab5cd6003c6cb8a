package amqp

import (
	"testing"

	"github.com/selvedge-mq/selvedge/routing"
)

// A settlement beyond what transactions may hold can only be rolled back: what the
// client has forgotten comes again. It stayed with the link until its end.
func TestTransactions_4_4_2_BeyondTheLimit(t *testing.T) {
	c := owned(t)
	c.retired = maxRetired
	s, sub := &session{c: c}, &settledOnce{}
	l := &sending{link: link{s: s}, sub: sub}
	tx := &txn{}
	tag := routing.Tag{Key: 7}
	s.unsettled.add(1, sent{link: l, tag: tag})
	s.retire(1, *s.unsettled.get(1), tx, routing.Outcome{Kind: routing.Accepted}, true)
	if tx.failed == nil {
		t.Error("the transaction can still commit")
	}
	if want := (routing.Outcome{Kind: routing.Modified, DeliveryFailed: true}); sub.tag != tag || sub.outcome != want {
		t.Errorf("got %v for %v, want %v for %v", sub.outcome, sub.tag, want, tag)
	}
	if got := s.unsettled.get(1); got != nil {
		t.Errorf("got %v unsettled, want nothing", got)
	}
}

type settledOnce struct {
	routing.Subscription

	tag     routing.Tag
	outcome routing.Outcome
}

func (s *settledOnce) Settle(t routing.Tag, o routing.Outcome, _ routing.Completer, _ uint64) {
	s.tag, s.outcome = t, o
}
