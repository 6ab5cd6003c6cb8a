package cluster_test

import (
	"errors"
	"testing"

	"github.com/selvedge-mq/selvedge/cluster"
	"github.com/selvedge-mq/selvedge/cluster/clustertest"
	"github.com/selvedge-mq/selvedge/routing"
	"github.com/selvedge-mq/selvedge/routing/engine"
	"github.com/selvedge-mq/selvedge/routing/shard"
)

// writer is a shard's machine and the node by way of which it appends.
type writer struct {
	t   *testing.T
	log engine.Log
	s   *shard.Shard
}

// newWriter reads the log by way of a node whose replica has so many records.
func newWriter(t *testing.T, k *clustertest.Cluster, node int, last uint64) *writer {
	t.Helper()
	log := k.Node(node).Log(0)
	k.Wait("the records at a replica", func() bool {
		_, now, err := log.Bounds(t.Context())
		return err == nil && now >= last
	})
	w := &writer{t, log, shard.New(shard.Options{})}
	if err := log.Scan(t.Context(), 1, func(seq uint64, rec []byte) error { return w.s.Apply(seq, rec, nil) }); err != nil {
		t.Fatal(err)
	}
	return w
}

// compose seals the record that makes a queue.
func (w *writer) compose(queue string) *shard.Batch {
	w.t.Helper()
	if !w.s.Subscribe(shard.SubID{Session: 1, Sub: 1}, routing.Queue(queue)) {
		w.t.Fatalf("the queue %s cannot be made", queue)
	}
	w.s.CloseSub(shard.SubID{Session: 1, Sub: 1}, 0)
	return w.s.Seal(1)
}

// append appends a record behind expect, and takes it in if it stands there.
func (w *writer) append(expect uint64, b *shard.Batch) error {
	w.t.Helper()
	done := make(chan error, 1)
	w.log.Append(expect, b.Rec, func(_ uint64, err error) { done <- err })
	err := receive(w.t, done, "the answer to an append")
	if err == nil {
		if err := w.s.Apply(expect+1, b.Rec, b); err != nil {
			w.t.Fatal(err)
		}
	}
	return err
}

// queues returns the names of the queues there are.
func (w *writer) queues() (names []string) {
	w.s.Queues(func(q shard.QueueInfo) bool {
		names = append(names, q.Address.Name)
		return true
	})
	return names
}

// A leader that was replaced has two appends under way. The first one is refused, since
// the next leader's epoch stands where it was meant to. The second one comes to stand
// right behind that: the expected sequence is a position, and it is the right one. Whoever
// reads the log skips it.
func TestLog_LateAppendOfAFormerEpochIsStoredAndVoid(t *testing.T) {
	t.Parallel()
	k := clustertest.Start(t, 3, func(_ int, o *cluster.Options) { o.Shards = 1 })
	k.WaitHealthy()
	waitTaking(t, k, 0)
	old := newWriter(t, k, 0, 0)
	if err := old.append(old.s.LastSeq(), old.s.Lead("n0", 1, 1)); err != nil {
		t.Fatal(err)
	}
	at := old.s.LastSeq()
	late := []*shard.Batch{old.compose("late-0"), old.compose("late-1")}

	next := newWriter(t, k, 1, at)
	if err := next.append(at, next.s.Lead("n1", 2, 2)); err != nil {
		t.Fatal(err)
	}
	first, second := make(chan error, 1), make(chan error, 1)
	old.log.Append(at, late[0].Rec, func(_ uint64, err error) { first <- err })
	old.log.Append(at+1, late[1].Rec, func(_ uint64, err error) { second <- err })
	refused, stored := receive(t, first, "the first late append"), receive(t, second, "the second one")
	if !errors.Is(refused, engine.ErrConflict) || stored != nil {
		t.Fatalf("the late appends: got %v and %v, want a conflict, and the second one in the log", refused, stored)
	}
	if err := next.append(at+1, next.compose("next")); !errors.Is(err, engine.ErrConflict) {
		t.Fatalf("an append of the later epoch behind its own record: got %v, want a conflict", err)
	}
	again := newWriter(t, k, 1, at+2)
	if err := again.append(again.s.LastSeq(), again.s.Lead("n1", 2, 3)); err != nil {
		t.Fatal(err)
	}
	if err := again.append(again.s.LastSeq(), again.compose("again")); err != nil {
		t.Fatal(err)
	}
	for i := range k.Len() {
		w := newWriter(t, k, i, again.s.LastSeq())
		if names := w.queues(); w.s.Counts().Void != 1 || len(names) != 1 || names[0] != "again" {
			t.Errorf("read at node %d: got the queues %q and %d void records, want the last one's queue and 1", i, names, w.s.Counts().Void)
		}
	}
}
