package engine_test

import (
	"testing"
	"testing/synctest"
)

// What a former leader appends late, at the very sequence that the log has reached, is in
// the log and void. Nobody counted it: who meets it begins anew, and what a replay counts
// was thought to have been counted before.
func TestVoid_RecordsOfAFormerEpochAreCountedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 2, 1, nil)
		a, b := c.nodes[0], c.nodes[1]
		a.fabric.Lead(0)
		p := a.client(t)
		p.send(1, "q", "first", true)
		if err := p.result(1); err != nil {
			t.Fatal(err)
		}
		log := a.fabric.Log(0)
		_, last, err := log.Bounds(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		old, err := log.Read(t.Context(), last)
		if err != nil {
			t.Fatal(err)
		}
		late := make(chan error, 1)
		b.fabric.Log(0).Append(last, old, func(_ uint64, err error) { late <- err })
		if err := <-late; err != nil {
			t.Fatalf("the late append: got %v, want it in the log", err)
		}
		p.send(2, "q", "second", true)
		if err := p.result(2); err != nil {
			t.Fatal(err)
		}
		if got := a.Stats().Counts.Void; got != 1 {
			t.Errorf("void records: got %d, want 1", got)
		}
		b.fabric.Lead(0)
		p.send(3, "q", "third", true)
		if err := p.result(3); err != nil {
			t.Fatal(err)
		}
		if a, b := a.Stats().Counts.Void, b.Stats().Counts.Void; a != 1 || b != 0 {
			t.Errorf("void records after another takeover: got %d and %d, want 1 and none", a, b)
		}
		q := b.client(t)
		subscribed(t, q, "q", 1).Grant(10)
		q.until("all messages, once", func() bool { return len(q.got) == 3 })
	})
}
