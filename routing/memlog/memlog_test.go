package memlog_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/selvedge-mq/selvedge/routing/engine"
	"github.com/selvedge-mq/selvedge/routing/logtest"
	"github.com/selvedge-mq/selvedge/routing/memlog"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestLog(t *testing.T) {
	logtest.Run(t, func(*testing.T) engine.Log { return memlog.New(memlog.Options{}) })
}

func TestLog_Delayed(t *testing.T) {
	logtest.Run(t, func(*testing.T) engine.Log { return memlog.New(memlog.Options{Delay: time.Millisecond}) })
}

// answer is what an append reported, and when.
type answer struct {
	Seq   uint64
	Err   string
	After time.Duration
}

func TestLog_Faults(t *testing.T) {
	boom := errors.New("boom")
	cases := []struct {
		name   string
		fault  memlog.Fault
		want   answer
		stored uint64 // last sequence a minute later
	}{
		{"no fault", memlog.Fault{}, answer{Seq: 1, After: time.Millisecond}, 1},
		{"failed without an effect", memlog.Fault{Err: boom}, answer{Err: "boom", After: time.Millisecond}, 0},
		{"lost in silence", memlog.Fault{Lose: true}, answer{Err: memlog.ErrTimeout.Error(), After: 2 * time.Second}, 0},
		{"stored and the answer lost in silence", memlog.Fault{LoseAnswer: true}, answer{Err: memlog.ErrTimeout.Error(), After: 2 * time.Second}, 1},
		{"stored and answered with an error", memlog.Fault{LoseAnswer: true, Err: boom}, answer{Err: "boom", After: time.Millisecond}, 1},
		{"late but in time", memlog.Fault{Delay: time.Second}, answer{Seq: 1, After: time.Second + time.Millisecond}, 1},
		{"stored after the timeout", memlog.Fault{Delay: 5 * time.Second}, answer{Err: memlog.ErrTimeout.Error(), After: 2 * time.Second}, 1},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := memlog.New(memlog.Options{Delay: time.Millisecond})
				l.FailNext(memlog.Append, 1, c.fault)
				start := time.Now()
				got := make(chan answer, 1)
				l.Append(0, []byte("a"), func(seq uint64, err error) {
					a := answer{Seq: seq, After: time.Since(start)}
					if err != nil {
						a.Err = err.Error()
					}
					got <- a
				})
				if diff := cmp.Diff(c.want, <-got); diff != "" {
					t.Errorf("answer (-want +got):\n%s", diff)
				}
				<-time.After(time.Minute)
				if _, last, _ := l.View().Bounds(t.Context()); last != c.stored {
					t.Errorf("got last sequence %d, want %d", last, c.stored)
				}
			})
		})
	}
}

func TestLog_CutViewDoesNotHinderOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := memlog.New(memlog.Options{})
		b := a.View()
		a.Cut()
		lost := make(chan error, 1)
		a.Append(0, []byte("a"), func(_ uint64, err error) { lost <- err })
		kept := make(chan error, 1)
		b.Append(0, []byte("b"), func(_ uint64, err error) { kept <- err })
		if err := <-kept; err != nil {
			t.Errorf("got %v from the good view, want no error", err)
		}
		if err := <-lost; !errors.Is(err, memlog.ErrTimeout) {
			t.Errorf("got %v from the cut view, want %v", err, memlog.ErrTimeout)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, _, err := a.Bounds(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v from Bounds of the cut view, want a timeout", err)
		}
		a.Mend()
		if rec, err := a.Read(t.Context(), 1); err != nil || string(rec) != "b" {
			t.Errorf("got %q, %v after mending, want b", rec, err)
		}
	})
}

func TestFabric_LeadershipIsToldInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := memlog.NewFabric("a", 2, memlog.Options{})
		defer a.Close()
		b := a.Join("b")
		defer b.Close()

		a.Lead(1)
		a.Lead(1) // no change
		if err := a.Resign(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		a.Usurp(1) // b does not know
		b.Abandon(1)
		want := []engine.Leadership{{Shard: 1, Leads: true}, {Shard: 1}, {Shard: 1, Leads: true}}
		if diff := cmp.Diff(want, take(a, 3)); diff != "" {
			t.Errorf("changes of a (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff([]engine.Leadership{{Shard: 1, Leads: true}, {Shard: 1}}, take(b, 2)); diff != "" {
			t.Errorf("changes of b (-want +got):\n%s", diff)
		}
		if err := b.Resign(t.Context(), 1); !errors.Is(err, memlog.ErrNotLeader) {
			t.Errorf("got %v, want %v", err, memlog.ErrNotLeader)
		}
		if diff := cmp.Diff([]string{"a", "b"}, a.Replicas(0)); diff != "" {
			t.Errorf("replicas (-want +got):\n%s", diff)
		}
		b.Close()
		if err := a.Resign(t.Context(), 1); err != nil { // alone: it ceases and leads again
			t.Fatal(err)
		}
		if diff := cmp.Diff([]engine.Leadership{{Shard: 1}, {Shard: 1, Leads: true}}, take(a, 2)); diff != "" {
			t.Errorf("changes of a alone (-want +got):\n%s", diff)
		}
		if _, open := <-b.Leadership(); open {
			t.Error("got an open channel after Close, want a closed one")
		}
	})
}

func take(f *memlog.Fabric, n int) []engine.Leadership {
	var got []engine.Leadership
	for range n {
		got = append(got, <-f.Leadership())
	}
	return got
}
