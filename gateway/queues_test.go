package gateway

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/selvedge-mq/selvedge/gateway/api"
)

func TestQueueRates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &fakeBroker{queues: []queueCount{
			{name: "b", leader: "n1", shard: 1, depth: 3, inFlight: 1, subscribed: 2, bytes: 30, in: 10, out: 7},
			{name: "a", leader: "n2", in: 5},
		}}
		r := newQueueRates()
		began := time.Now()
		time.AfterFunc(samplePause/2, func() {
			b.set(func(b *fakeBroker) { b.queues[0].in, b.queues[0].out = 20, 12 })
		})
		got, err := r.list(t.Context(), b)
		if err != nil {
			t.Fatal(err)
		}
		want := []api.Queue{
			{Name: "a", Leader: "n2"},
			{Name: "b", Leader: "n1", Shard: 1, Depth: 3, InFlight: 1, Consumers: 2, Bytes: 30, InPerSecond: 10, OutPerSecond: 5},
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("got (+), want (-):\n%s", d)
		}
		if took := time.Since(began); took != samplePause {
			t.Errorf("got the first answer after %v, want %v", took, samplePause)
		}

		<-time.After(4 * time.Second) // by the bubble's clock
		began = time.Now()
		b.set(func(b *fakeBroker) {
			b.queues[0].in = 28
			b.queues[1] = queueCount{name: "a", leader: "n1", in: 1000} // a new leader counts anew
		})
		if got, err = r.list(t.Context(), b); err != nil {
			t.Fatal(err)
		}
		if got[0].InPerSecond != 0 || got[1].InPerSecond != 2 || time.Since(began) != 0 {
			t.Errorf("got %v, %v after %v, want 0 and 2 at once", got[0].InPerSecond, got[1].InPerSecond, time.Since(began))
		}

		// Who asks again at once is answered at once, with a rate over a time that
		// is long enough.
		b.set(func(b *fakeBroker) { b.queues[0].depth, b.queues[0].in = 4, 32 })
		if got, err = r.list(t.Context(), b); err != nil {
			t.Fatal(err)
		}
		if got[1].Depth != 4 || got[1].InPerSecond != 3 || time.Since(began) != 0 {
			t.Errorf("got depth %d, rate %v after %v, want 4 and 3 at once", got[1].Depth, got[1].InPerSecond, time.Since(began))
		}
	})
}

func TestQueuesGiveUp(t *testing.T) {
	r := newQueueRates()
	b := &fakeBroker{err: errors.New("no answer")}
	if _, err := r.list(t.Context(), b); err == nil {
		t.Error("got no error of an engine that does not answer, want one")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	b.err = nil
	if _, err := r.list(ctx, b); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
}
