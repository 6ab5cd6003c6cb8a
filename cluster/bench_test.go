package cluster_test

import (
	"fmt"
	"io"
	"testing"

	"github.com/rs/zerolog"

	"github.com/selvedge-mq/selvedge/cluster"
	"github.com/selvedge-mq/selvedge/cluster/clustertest"
	"github.com/selvedge-mq/selvedge/routing/engine"
)

// benchAppend appends records of a size, four in flight.
func benchAppend(b *testing.B, l engine.Log, size int) {
	b.Helper()
	rec := make([]byte, size)
	_, last, err := l.Bounds(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	slots := make(chan error, 4)
	for range cap(slots) {
		slots <- nil
	}
	b.SetBytes(int64(size))
	for b.Loop() {
		if err := <-slots; err != nil {
			b.Fatal(err)
		}
		l.Append(last, rec, func(_ uint64, err error) { slots <- err })
		last++
	}
	for range cap(slots) {
		if err := <-slots; err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkLog_Append(b *testing.B) {
	for _, nodes := range []int{1, 3} {
		for _, size := range []int{1 << 10, 64 << 10, 1 << 20} {
			b.Run(fmt.Sprintf("%d nodes %d KiB", nodes, size>>10), func(b *testing.B) {
				quiet := zerolog.New(io.Discard)
				if nodes == 1 {
					n, err := cluster.Open(b.Context(), cluster.Options{Node: "alone", Dir: b.TempDir(), Shards: 1, Log: quiet})
					if err != nil {
						b.Fatal(err)
					}
					defer n.Kill()
					benchAppend(b, n.Log(0), size)
					return
				}
				k := clustertest.Start(b, nodes, func(_ int, o *cluster.Options) { o.Shards, o.Log = 1, quiet })
				k.WaitHealthy()
				benchAppend(b, k.Node(k.WaitLeader(0)).Log(0), size)
			})
		}
	}
}
