package shard

import (
	"bytes"
	"runtime"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/selvedge-mq/selvedge/routing"
)

// verify says whether rec is a whole record of this release.
func verify(rec []byte) error {
	if _, _, _, err := parseRecord(rec); err != nil {
		return err
	}
	return new(Audit).Record(0, rec)
}

// FuzzRecord reads arbitrary bytes as a record: it is verified and applied alike,
// and damage never panics.
func FuzzRecord(f *testing.F) {
	for _, rec := range fuzzLog(f) {
		f.Add(rec)
		f.Add(rec[:len(rec)/2])
	}
	f.Fuzz(func(t *testing.T, rec []byte) {
		own := bytes.Clone(rec)
		verified := verify(rec)
		applied := New(Options{}).Apply(7, rec, nil)
		if (verified == nil) != (applied == nil) {
			t.Fatalf("got %v of the audit and %v from Apply", verified, applied)
		}
		if !bytes.Equal(own, rec) {
			t.Fatal("the record was changed")
		}
	})
}

// FuzzApply applies arbitrary entries in a record that is otherwise right. They
// are refused or make a state that takes little memory, that a leader can work
// with, and that a replay gives again.
func FuzzApply(f *testing.F) {
	for _, rec := range fuzzLog(f) {
		f.Add(rec[headerSize : len(rec)-trailerSize])
	}
	f.Fuzz(func(t *testing.T, entries []byte) {
		base := fuzzLog(t)
		l := &leader{t: t, s: replay(t, Options{}, 1, base), first: 1, log: base, now: 1}
		rec, _ := seal(append(make([]byte, headerSize), entries...), header{
			epoch: l.s.pos.epoch, number: l.s.pos.number + 1, link: l.s.pos.link, time: 2,
		})
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		err := l.s.Apply(l.s.LastSeq()+1, rec, nil)
		runtime.ReadMemStats(&after)
		if got, most := after.TotalAlloc-before.TotalAlloc, uint64(64<<20+1000*len(entries)); got > most {
			t.Fatalf("got %d bytes of memory for %d of entries, want at most %d", got, len(entries), most)
		}
		if (err == nil) != (verify(rec) == nil) {
			t.Fatalf("got %v from Apply and %v of the audit", err, verify(rec))
		}
		if err == nil {
			l.log = append(l.log, rec)
			workOn(t, l)
		}
	})
}

// workOn has another leader take over, hand out, expire and clean what is there.
func workOn(t *testing.T, l *leader) {
	t.Helper()
	l = lead(t, Options{CleanAbove: 1, CutBytes: 1}, l.log)
	sub := SubID{Session: 5, Sub: 1}
	l.s.Subscribe(sub, routing.Queue("q"))
	l.s.Grant(sub, 10)
	l.turn()
	l.s.Expire(1 << 62)
	l.turn()
	if seq, ok := l.s.CleanTarget(); ok {
		if err := l.s.Rewrite(seq, l.log[seq-1]); err != nil {
			t.Fatal(err)
		}
	}
	l.turn()
	l.s.CloseSession(sub.Session)
	l.turn()
	if diff := cmp.Diff(durable(l.s), durable(replay(t, Options{}, 1, l.log))); diff != "" {
		t.Fatalf("a replay of the log gives another state (-leader +replay):\n%s", diff)
	}
}

// fuzzLog is a log with every kind of entry.
func fuzzLog(t failer) [][]byte {
	l := lead(t, Options{CleanAbove: 1, CutBytes: 1}, nil)
	sends, settles := l.openLanes()
	for n := range uint64(3) {
		l.s.Send(sends, n+1, env("q", "body", true))
	}
	sub := SubID{Session: 1, Sub: 1}
	l.s.Subscribe(sub, routing.Queue("q"))
	l.s.Grant(sub, 2)
	for n, d := range l.turn().Deliveries {
		o := routing.Outcome{Kind: routing.Modified, DeliveryFailed: true}
		if n == 1 {
			o = accepted
		}
		l.s.Settle(settles, uint64(n+1), Settlement{Sub: sub, Key: d.Key, Outcome: o})
	}
	l.s.Settle(settles, 3, Settlement{Sub: sub, Key: 99})
	l.turn()
	if err := l.s.Rewrite(2, l.log[1]); err != nil {
		t.Fatal(err)
	}
	l.s.Forget(9)
	l.turn()
	tx := TxID{Session: 1, Number: 1}
	l.s.Grant(sub, 1)
	for _, d := range l.turn().Deliveries {
		l.s.Prepare(sends, 4, tx, 1, &Part{
			Settles: []Settlement{{Sub: sub, Key: d.Key, Outcome: accepted}}, Sends: [][]byte{env("q", "later", true)},
		})
	}
	l.s.Decide(sends, 5, tx, []uint16{0, 1})
	l.turn()
	l.s.Finish(sends, 6, tx, true)
	l.s.EndDecision(sends, 7, tx)
	l.turn()
	large := UploadID{Session: 1, Number: 1}
	l.s.Part(sends, 8, large, 0, []byte("part"))
	l.s.Part(sends, 9, UploadID{Session: 1, Number: 2}, 0, []byte("alone"))
	l.s.SendLarge(sends, 10, large, 4, env("q", "head", true))
	l.s.Abort(sends, 11, UploadID{Session: 1, Number: 2})
	l.turn()
	if err := l.s.Rewrite(l.s.LastSeq(), l.log[len(l.log)-1]); err != nil {
		t.Fatal(err)
	}
	l.turn()
	l.s.open.buf = appendCut(make([]byte, headerSize), 0)
	l.s.open.entries = 1
	l.turn()
	return l.log
}

var accepted = routing.Outcome{Kind: routing.Accepted}
