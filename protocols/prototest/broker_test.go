package prototest

import (
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/selvedge-mq/selvedge/routing"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type sink struct {
	got     []string
	tags    []routing.Tag
	drained []uint32
}

func (s *sink) Deliver(ds []routing.Delivery) {
	for _, d := range ds {
		body := string(d.Envelope.Payload)
		if d.Redelivered {
			body += " again"
		}
		s.got = append(s.got, body)
		s.tags = append(s.tags, d.Tag)
	}
}
func (s *sink) Drained(n uint32) { s.drained = append(s.drained, n) }
func (s *sink) Closed(error)     {}

type results []routing.Result

func (r *results) Complete(rs []routing.Result) { *r = append(*r, rs...) }

func TestBrokerKeepsCreditAndReturnsReleasedMessagesToTheirPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := New()
		defer b.Close()
		s, err := b.Open(t.Context(), routing.SessionOptions{})
		if err != nil {
			t.Fatal(err)
		}
		var r results
		for _, body := range []string{"a", "b", "c"} {
			s.Send(&routing.Envelope{Address: routing.Queue("q"), Payload: []byte(body)}, &r, 1)
		}
		k := &sink{}
		sub := s.Subscribe(routing.SubscribeOptions{Address: routing.Queue("q")}, k, &r, 2)
		sub.Grant(2)
		synctest.Wait()
		if diff := cmp.Diff([]string{"a", "b"}, k.got); diff != "" {
			t.Errorf("deliveries with a credit of two (-want +got):\n%s", diff)
		}
		sub.Settle(k.tags[0], routing.Outcome{Kind: routing.Released}, nil, 0)
		sub.Grant(5)
		sub.Drain()
		synctest.Wait()
		if diff := cmp.Diff([]string{"a", "b", "a", "c"}, k.got); diff != "" {
			t.Errorf("deliveries after a release (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff([]uint32{3}, k.drained); diff != "" {
			t.Errorf("drained (-want +got):\n%s", diff)
		}
		s.Close()
		if got := b.Depth(routing.Queue("q")); got != 3 {
			t.Errorf("got %d messages back after close, want 3", got)
		}
		if len(r) != 4 {
			t.Errorf("got %d results, want 4", len(r))
		}
	})
}

func TestBrokerHoldsAndFailsSendsAsAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := New()
		defer b.Close()
		s, err := b.Open(t.Context(), routing.SessionOptions{})
		if err != nil {
			t.Fatal(err)
		}
		var r results
		b.Hold()
		b.Fail("send", routing.Queue("bad"), &routing.Error{Code: routing.CodeFull, Op: "send"})
		s.Send(&routing.Envelope{Address: routing.Queue("q")}, &r, 1)
		s.Send(&routing.Envelope{Address: routing.Queue("bad")}, &r, 2)
		synctest.Wait()
		if len(r) != 1 || r[0].Token != 2 || routing.CodeOf(r[0].Err) != routing.CodeFull {
			t.Errorf("got %v, want the failure of 2 alone", r)
		}
		b.Release()
		synctest.Wait()
		if len(r) != 2 || r[1].Token != 1 || r[1].Err != nil {
			t.Errorf("got %v, want the confirmation of 1", r)
		}
	})
}
