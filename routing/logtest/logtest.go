// Package logtest is what every engine.Log must do, as tests. It does not know
// how a log is stored, nor how it fails.
package logtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/selvedge-mq/selvedge/routing/engine"
)

// Patience is how long one answer may take before a test gives up: far longer
// than any log's append timeout.
const Patience = 30 * time.Second

// Run runs all tests, each on a new, empty log of its own. open registers with
// t.Cleanup what must be closed; a log that is an io.Closer is closed under
// way by one of the tests.
func Run(t *testing.T, open func(t *testing.T) engine.Log) {
	t.Helper()
	for _, c := range []struct {
		name string
		run  func(t *testing.T, l engine.Log)
	}{
		{"an empty log has no records", testEmpty},
		{"appends are read back in order", testOrder},
		{"appends in flight reach the log in the order of the calls", testPipeline},
		{"after a conflict everything behind it in flight conflicts", testPipelineConflict},
		{"an unexpected sequence is a conflict and appends nothing", testConflict},
		{"of two writers one wins each sequence", testWriters},
		{"purge removes a prefix and is idempotent", testPurge},
		{"purge of everything keeps the sequence", testPurgeAll},
		{"scan starts where it is told and stops where the log ended", testScan},
		{"scan hands on the error of its caller", testScanError},
		{"a replay is a scan of all", testReplay},
		{"a canceled context ends a call", testCanceled},
		{"records are small, empty, binary and large", testSizes},
		{"the caller owns what it is given", testOwnership},
		{"close answers every append in flight", testClose},
	} {
		t.Run(c.name, func(t *testing.T) { c.run(t, open(t)) })
	}
}

// result is an append's answer.
type result struct {
	seq uint64
	err error
}

// start begins an append and returns where its answer arrives.
func start(l engine.Log, expect uint64, rec []byte) <-chan result {
	c := make(chan result, 2) // room for a wrong second answer
	l.Append(expect, rec, func(seq uint64, err error) { c <- result{seq, err} })
	return c
}

func wait(t *testing.T, c <-chan result) result {
	t.Helper()
	select {
	case r := <-c:
		return r
	case <-time.After(Patience):
		t.Fatal("an append was not answered")
		return result{}
	}
}

func appendOne(t *testing.T, l engine.Log, expect uint64, rec []byte) {
	t.Helper()
	if r := wait(t, start(l, expect, rec)); r.err != nil || r.seq != expect+1 {
		t.Fatalf("append behind %d: got sequence %d, error %v, want %d", expect, r.seq, r.err, expect+1)
	}
}

// fill appends n records behind an empty log, several at a time.
func fill(t *testing.T, l engine.Log, n int) {
	t.Helper()
	var answers []<-chan result
	for i := range n {
		answers = append(answers, start(l, uint64(i), record(i+1)))
		if i%16 == 15 || i == n-1 {
			for _, c := range answers {
				if r := wait(t, c); r.err != nil {
					t.Fatalf("append of record %d of %d: %v", i+1, n, r.err)
				}
			}
			answers = answers[:0]
		}
	}
}

// record returns what fill appends at a sequence.
func record(seq int) []byte { return fmt.Appendf(nil, "record %d", seq) }

func wantBounds(t *testing.T, l engine.Log, first, last uint64) {
	t.Helper()
	f, z, err := l.Bounds(t.Context())
	if err != nil || f != first || z != last {
		t.Errorf("bounds: got %d to %d, error %v, want %d to %d", f, z, err, first, last)
	}
}

// scan returns all records from from.
func scan(t *testing.T, l engine.Log, from uint64) (first uint64, recs []string) {
	t.Helper()
	return collect(t, func(f func(seq uint64, rec []byte) error) error { return l.Scan(t.Context(), from, f) })
}

// collect returns all records that are read, and checks that there is no gap.
func collect(t *testing.T, read func(f func(seq uint64, rec []byte) error) error) (first uint64, recs []string) {
	t.Helper()
	err := read(func(seq uint64, rec []byte) error {
		if len(recs) == 0 {
			first = seq
		} else if want := first + uint64(len(recs)); seq != want {
			return fmt.Errorf("got sequence %d, want %d", seq, want)
		}
		recs = append(recs, string(rec))
		return nil
	})
	if err != nil {
		t.Errorf("read after %d records: %v", len(recs), err)
	}
	return first, recs
}

func records(from, to int) []string {
	var recs []string
	for i := from; i <= to; i++ {
		recs = append(recs, string(record(i)))
	}
	return recs
}

func testEmpty(t *testing.T, l engine.Log) {
	t.Helper()
	wantBounds(t, l, 1, 0)
	if _, recs := scan(t, l, 0); len(recs) != 0 {
		t.Errorf("got %d records, want none", len(recs))
	}
	wantReadError(t, l, 1, engine.ErrNotFound)
	if err := l.Purge(t.Context(), 0); err != nil {
		t.Errorf("purge of an empty log: %v", err)
	}
	if err := l.Purge(t.Context(), 7); err != nil {
		t.Errorf("purge of an empty log beyond its end: %v", err)
	}
	wantBounds(t, l, 1, 0)
}

func testOrder(t *testing.T, l engine.Log) {
	t.Helper()
	for i := range 20 {
		appendOne(t, l, uint64(i), record(i+1))
	}
	wantBounds(t, l, 1, 20)
	for i := 1; i <= 20; i++ {
		rec, err := l.Read(t.Context(), uint64(i))
		if diff := cmp.Diff(string(record(i)), string(rec)); err != nil || diff != "" {
			t.Errorf("read %d: error %v (-want +got):\n%s", i, err, diff)
		}
	}
	wantReadError(t, l, 21, engine.ErrNotFound)
	wantReadError(t, l, 1<<40, engine.ErrNotFound)
}

func testPipeline(t *testing.T, l engine.Log) {
	t.Helper()
	const n, flight = 400, 8
	var answers [flight]<-chan result
	for i := range n + flight {
		if i >= flight {
			if r := wait(t, answers[i%flight]); r.err != nil || r.seq != uint64(i-flight+1) {
				t.Fatalf("got sequence %d, error %v, want %d", r.seq, r.err, i-flight+1)
			}
		}
		if i < n {
			answers[i%flight] = start(l, uint64(i), record(i+1))
		}
	}
	_, recs := scan(t, l, 1)
	if diff := cmp.Diff(records(1, n), recs); diff != "" {
		t.Errorf("records (-want +got):\n%s", diff)
	}
}

func testPipelineConflict(t *testing.T, l engine.Log) {
	t.Helper()
	appendOne(t, l, 0, record(1))
	answers := []<-chan result{
		start(l, 1, record(2)),
		start(l, 1, []byte("wrong")),
		start(l, 3, record(4)), // counts on the wrong one
		start(l, 4, record(5)),
	}
	if r := wait(t, answers[0]); r.err != nil || r.seq != 2 {
		t.Errorf("got sequence %d, error %v, want 2", r.seq, r.err)
	}
	for i, c := range answers[1:] {
		if r := wait(t, c); !errors.Is(r.err, engine.ErrConflict) {
			t.Errorf("append %d: got sequence %d, error %v, want a conflict", i+1, r.seq, r.err)
		}
	}
	_, recs := scan(t, l, 1)
	if diff := cmp.Diff(records(1, 2), recs); diff != "" {
		t.Errorf("records (-want +got):\n%s", diff)
	}
}

func testConflict(t *testing.T, l engine.Log) {
	t.Helper()
	fill(t, l, 3)
	for _, expect := range []uint64{0, 2, 4, 1 << 40} {
		if r := wait(t, start(l, expect, []byte("x"))); !errors.Is(r.err, engine.ErrConflict) {
			t.Errorf("append behind %d of 3: got sequence %d, error %v, want a conflict", expect, r.seq, r.err)
		}
	}
	wantBounds(t, l, 1, 3)
	appendOne(t, l, 3, record(4))
}

func testWriters(t *testing.T, l engine.Log) {
	t.Helper()
	const writers, rounds = 4, 25
	won := make([][]string, writers)
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for last := uint64(0); last < rounds; {
				rec := fmt.Sprintf("writer %d behind %d", w, last)
				r := <-start(l, last, []byte(rec))
				switch {
				case r.err == nil:
					won[w] = append(won[w], rec)
				case !errors.Is(r.err, engine.ErrConflict):
					t.Errorf("append: %v", r.err)
					return
				}
				last++ // won or lost, there is a record now
			}
		})
	}
	wg.Wait()
	_, recs := scan(t, l, 1)
	if len(recs) != rounds {
		t.Fatalf("got %d records, want %d", len(recs), rounds)
	}
	stored := make(map[string]bool)
	for _, rec := range recs {
		stored[rec] = true
	}
	for _, mine := range won {
		for _, rec := range mine {
			if !stored[rec] {
				t.Errorf("%q was confirmed but is not in the log", rec)
			}
			delete(stored, rec)
		}
	}
	for rec := range stored {
		t.Errorf("%q is in the log but was not confirmed", rec)
	}
}

func testPurge(t *testing.T, l engine.Log) {
	t.Helper()
	fill(t, l, 10)
	for _, upTo := range []uint64{4, 4, 2, 0} {
		if err := l.Purge(t.Context(), upTo); err != nil {
			t.Fatalf("purge up to %d: %v", upTo, err)
		}
		wantBounds(t, l, 5, 10)
	}
	wantReadError(t, l, 4, engine.ErrPurged)
	wantReadError(t, l, 1, engine.ErrPurged)
	wantReadError(t, l, 11, engine.ErrNotFound)
	first, recs := scan(t, l, 2)
	if diff := cmp.Diff(records(5, 10), recs); diff != "" || first != 5 {
		t.Errorf("scan from a purged sequence starts at %d, want 5 (-want +got):\n%s", first, diff)
	}
	appendOne(t, l, 10, record(11))
	wantBounds(t, l, 5, 11)
}

func testPurgeAll(t *testing.T, l engine.Log) {
	t.Helper()
	fill(t, l, 3)
	for _, upTo := range []uint64{3, 3, 1 << 40} {
		if err := l.Purge(t.Context(), upTo); err != nil {
			t.Fatalf("purge up to %d: %v", upTo, err)
		}
		wantBounds(t, l, 4, 3)
	}
	wantReadError(t, l, 3, engine.ErrPurged)
	wantReadError(t, l, 4, engine.ErrNotFound)
	if _, recs := scan(t, l, 1); len(recs) != 0 {
		t.Errorf("got %d records, want none", len(recs))
	}
	appendOne(t, l, 3, record(4))
	wantBounds(t, l, 4, 4)
	_, recs := scan(t, l, 1)
	if diff := cmp.Diff(records(4, 4), recs); diff != "" {
		t.Errorf("records (-want +got):\n%s", diff)
	}
}

func testScan(t *testing.T, l engine.Log) {
	t.Helper()
	const n = 1200
	fill(t, l, n)
	for _, from := range []int{0, 1, 2, 257, n - 1, n} {
		first, recs := scan(t, l, uint64(from)) //nolint:gosec // not negative
		want := max(from, 1)
		if diff := cmp.Diff(records(want, n), recs); diff != "" || first != uint64(want) {
			t.Errorf("scan from %d starts at %d (-want +got):\n%s", from, first, diff)
		}
	}
	if _, recs := scan(t, l, n+1); len(recs) != 0 {
		t.Errorf("scan behind the end: got %d records, want none", len(recs))
	}
	var grown bool
	err := l.Scan(t.Context(), n-1, func(seq uint64, _ []byte) error {
		if seq > n {
			return fmt.Errorf("got sequence %d, appended after the scan began", seq)
		}
		if !grown {
			grown = true
			appendOne(t, l, n, record(n+1))
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// testReplay: a log that can replay replays what a scan reads.
func testReplay(t *testing.T, l engine.Log) {
	t.Helper()
	r, ok := l.(engine.Replayer)
	if !ok {
		t.Skip("skipped: this log does not replay")
	}
	const n = 300
	replayed := func() (first uint64, recs []string) {
		t.Helper()
		return collect(t, func(f func(seq uint64, rec []byte) error) error { return r.Replay(t.Context(), f) })
	}
	if _, recs := replayed(); len(recs) != 0 {
		t.Errorf("replay of an empty log: got %d records, want none", len(recs))
	}
	fill(t, l, n)
	for _, purged := range []uint64{0, 7} {
		if err := l.Purge(t.Context(), purged); err != nil {
			t.Fatal(err)
		}
		first, recs := replayed()
		if diff := cmp.Diff(records(int(purged)+1, n), recs); diff != "" || first != purged+1 { //nolint:gosec // small
			t.Errorf("replay after a purge up to %d starts at %d (-want +got):\n%s", purged, first, diff)
		}
	}
	calls := 0
	err := r.Replay(t.Context(), func(uint64, []byte) error {
		calls++
		return io.ErrUnexpectedEOF
	})
	if !errors.Is(err, io.ErrUnexpectedEOF) || calls != 1 {
		t.Errorf("got error %v after %d calls, want %v after 1", err, calls, io.ErrUnexpectedEOF)
	}
}

func testScanError(t *testing.T, l engine.Log) {
	t.Helper()
	fill(t, l, 10)
	var calls int
	err := l.Scan(t.Context(), 1, func(uint64, []byte) error {
		calls++
		if calls == 3 {
			return io.ErrUnexpectedEOF
		}
		return nil
	})
	if !errors.Is(err, io.ErrUnexpectedEOF) || calls != 3 {
		t.Errorf("got error %v after %d calls, want %v after 3", err, calls, io.ErrUnexpectedEOF)
	}
	if _, recs := scan(t, l, 1); len(recs) != 10 {
		t.Errorf("the next scan: got %d records, want 10", len(recs))
	}
}

func testCanceled(t *testing.T, l engine.Log) {
	t.Helper()
	fill(t, l, 3)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := l.Read(ctx, 1); !errors.Is(err, context.Canceled) {
		t.Errorf("read: got %v, want %v", err, context.Canceled)
	}
	err := l.Scan(ctx, 1, func(uint64, []byte) error { return nil })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("scan: got %v, want %v", err, context.Canceled)
	}
	if err := l.Purge(ctx, 1); !errors.Is(err, context.Canceled) {
		t.Errorf("purge: got %v, want %v", err, context.Canceled)
	}
}

func testSizes(t *testing.T, l engine.Log) {
	t.Helper()
	sizes := []int{0, 1, 8 << 10, 8<<10 + 1, 64 << 10, 1 << 20, 1<<20 + 1, 4 << 20, 3}
	pattern := func(i, size int) []byte {
		rec := make([]byte, size)
		for k := range rec {
			rec[k] = byte(k*7 + k>>8 + i) //nolint:gosec // all bytes, CR LF and NUL among them
		}
		return rec
	}
	for i, size := range sizes {
		appendOne(t, l, uint64(i), pattern(i, size))
	}
	for i, size := range sizes {
		rec, err := l.Read(t.Context(), uint64(i+1))
		if err != nil || !bytes.Equal(rec, pattern(i, size)) {
			t.Errorf("read of %d bytes: got %d bytes, error %v, or other bytes", size, len(rec), err)
		}
	}
	var n int
	err := l.Scan(t.Context(), 1, func(seq uint64, rec []byte) error {
		if i := seq - 1; !bytes.Equal(rec, pattern(int(i), sizes[i])) { //nolint:gosec // one of sizes
			return fmt.Errorf("scan of %d bytes: got %d bytes, or other bytes", sizes[i], len(rec))
		}
		n++
		return nil
	})
	if err != nil || n != len(sizes) {
		t.Errorf("scan: got %d records, error %v, want %d", n, err, len(sizes))
	}
}

func testOwnership(t *testing.T, l engine.Log) {
	t.Helper()
	buf := []byte("aaaa")
	for i := range 4 {
		appendOne(t, l, uint64(i), buf)
		for k := range buf {
			buf[k]++
		}
	}
	for i, want := range []string{"aaaa", "bbbb", "cccc", "dddd"} {
		for range 2 {
			rec, err := l.Read(t.Context(), uint64(i+1))
			if err != nil || string(rec) != want {
				t.Fatalf("read %d: got %q, error %v, want %q", i+1, rec, err, want)
			}
			clear(rec)
		}
	}
	var kept [][]byte
	err := l.Scan(t.Context(), 1, func(_ uint64, rec []byte) error {
		kept = append(kept, rec)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	want := [][]byte{[]byte("aaaa"), []byte("bbbb"), []byte("cccc"), []byte("dddd")}
	if diff := cmp.Diff(want, kept); diff != "" {
		t.Errorf("scanned records (-want +got):\n%s", diff)
	}
}

func testClose(t *testing.T, l engine.Log) {
	t.Helper()
	c, ok := l.(io.Closer)
	if !ok {
		t.Skip("skipped: this log is closed with its owner, not by itself")
	}
	fill(t, l, 1)
	answers := make([]<-chan result, 0, 65)
	for i := range 64 {
		answers = append(answers, start(l, uint64(i+1), record(i+2)))
	}
	if err := c.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
	answers = append(answers, start(l, 65, record(66))) // after the close
	failed := false
	for i, a := range answers {
		r := wait(t, a)
		switch {
		case r.err == nil && failed:
			t.Errorf("append %d succeeded behind one that failed", i)
		case r.err == nil && r.seq != uint64(i+2):
			t.Errorf("got sequence %d, want %d", r.seq, i+2)
		case errors.Is(r.err, engine.ErrConflict):
			t.Errorf("append %d: got a conflict, want an unknown outcome", i)
		}
		failed = failed || r.err != nil
		select {
		case r := <-a:
			t.Errorf("append %d was answered twice, then with %d, %v", i, r.seq, r.err)
		default:
		}
	}
	if !failed {
		t.Error("an append after the close succeeded, want an error")
	}
	if _, err := l.Read(t.Context(), 1); err == nil {
		t.Error("a read after the close succeeded, want an error")
	}
}

func wantReadError(t *testing.T, l engine.Log, seq uint64, want error) {
	t.Helper()
	if rec, err := l.Read(t.Context(), seq); !errors.Is(err, want) {
		t.Errorf("read %d: got %q, error %v, want %v", seq, rec, err, want)
	}
}
