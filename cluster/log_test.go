package cluster

import (
	"bytes"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/selvedge-mq/selvedge/routing/engine"
	"github.com/selvedge-mq/selvedge/routing/logtest"
)

// testOptions are those of a standalone node in a folder of the test.
func testOptions(tb testing.TB) Options {
	tb.Helper()
	return Options{
		Node:   "alone",
		Dir:    tb.TempDir(),
		Shards: 16,
		// A disk that many tests share may take longer than the default for a record.
		AppendTimeout: patience / 5,
		Log:           zerolog.New(zerolog.NewTestWriter(tb)).Level(zerolog.InfoLevel),
	}
}

// openNode opens a node that is closed with the test.
func openNode(tb testing.TB, o Options) *Node {
	tb.Helper()
	n, err := Open(tb.Context(), o)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(n.Kill)
	return n
}

func TestLog_Standalone(t *testing.T) {
	t.Parallel()
	n := openNode(t, testOptions(t))
	if err := n.Ready(); err != nil {
		t.Fatalf("got %v, want a standalone node to be ready", err)
	}
	next := 0
	logtest.Run(t, func(*testing.T) engine.Log {
		next++
		return n.Log(next - 1)
	})
}

func TestLog_StandaloneSyncedNowAndThen(t *testing.T) {
	t.Parallel()
	o := testOptions(t)
	o.SyncInterval = time.Second
	n := openNode(t, o)
	next := 0
	logtest.Run(t, func(*testing.T) engine.Log {
		next++
		return n.Log(next - 1)
	})
}

// fillLog appends n records of size bytes, sixteen in flight.
func fillLog(tb testing.TB, l engine.Log, n, size int) {
	tb.Helper()
	var failed atomic.Pointer[error]
	slots := make(chan struct{}, 16)
	for i := range n {
		slots <- struct{}{}
		l.Append(uint64(i), bytes.Repeat([]byte{byte(i)}, size), func(_ uint64, err error) {
			if err != nil {
				err = fmt.Errorf("append %d: %w", i, err)
				failed.CompareAndSwap(nil, &err)
			}
			<-slots
		})
	}
	for range cap(slots) {
		slots <- struct{}{}
	}
	if err := failed.Load(); err != nil {
		tb.Fatal(*err)
	}
}

func BenchmarkLog_Scan(b *testing.B) {
	for _, size := range []int{1 << 10, 64 << 10, 1 << 20} {
		b.Run(fmt.Sprintf("%dKiB", size>>10), func(b *testing.B) {
			o := testOptions(b)
			o.SyncInterval = time.Minute
			l := openNode(b, o).Log(0)
			n := min(64<<20/size, 20000)
			fillLog(b, l, n, size)
			b.SetBytes(int64(n * size))
			for b.Loop() {
				got := 0
				err := l.Scan(b.Context(), 1, func(uint64, []byte) error { got++; return nil })
				if err != nil || got != n {
					b.Fatalf("got %d records, error %v, want %d", got, err, n)
				}
			}
		})
	}
}
