package shard

import (
	"testing"

	"github.com/selvedge-mq/selvedge/internal/cursor"
)

// The record of the benchmarks: a batch of enqueues and settlements, and the state of
// the lane that they came by.
const (
	benchEntries = 100
	benchBody    = 256
)

// appendBenchRecord composes the record in dst and seals it.
func appendBenchRecord(dst, body []byte) []byte {
	dst = dst[:headerSize]
	for i := range uint64(benchEntries) {
		dst = appendEnqueue(dst, 1<<40+i, 7, 0, nil, body)
	}
	for i := range uint64(benchEntries) {
		dst = appendSettle(dst, 1<<39+i, causeAccepted)
	}
	dst = appendLane(dst, LaneID{Session: 1 << 50, Lane: 2}, "n1", 1<<40, nil)
	rec, _ := seal(dst, header{epoch: 3, number: 1 << 20, link: 0xdeadbeef, time: 1 << 40})
	return rec
}

// readBenchRecord checks a record and walks its entries, which it counts.
func readBenchRecord(tb testing.TB, rec []byte, e *entry) (n int) {
	tb.Helper()
	_, entries, _, err := parseRecord(rec)
	if err != nil {
		tb.Fatal(err)
	}
	r := entryReader{cursor.New(entries)}
	for ; r.More(); n++ {
		if err := r.next(e); err != nil {
			tb.Fatal(err)
		}
	}
	return n
}

func TestTheRecordCodecDoesNotAllocate(t *testing.T) {
	body, buf, e := make([]byte, benchBody), make([]byte, headerSize, MaxRecord), &entry{}
	if got := testing.AllocsPerRun(100, func() {
		if n := readBenchRecord(t, appendBenchRecord(buf, body), e); n != 2*benchEntries+1 {
			t.Fatalf("got %d entries, want %d", n, 2*benchEntries+1)
		}
	}); got != 0 {
		t.Errorf("writing and reading a record: got %v allocations, want 0", got)
	}
}

// BenchmarkAppendRecord writes a record of 100 enqueues of 256 octets and 100
// settlements, its checksum included.
func BenchmarkAppendRecord(b *testing.B) {
	body, buf := make([]byte, benchBody), make([]byte, headerSize, MaxRecord)
	b.SetBytes(int64(len(appendBenchRecord(buf, body))))
	b.ReportAllocs()
	for b.Loop() {
		appendBenchRecord(buf, body)
	}
}

// BenchmarkReadRecord checks and reads the same record.
func BenchmarkReadRecord(b *testing.B) {
	rec := appendBenchRecord(make([]byte, headerSize, MaxRecord), make([]byte, benchBody))
	e := &entry{}
	b.SetBytes(int64(len(rec)))
	b.ReportAllocs()
	for b.Loop() {
		readBenchRecord(b, rec, e)
	}
}
