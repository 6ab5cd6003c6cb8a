package engine_test

import (
	"bytes"
	"testing"
	"testing/synctest"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/selvedge-mq/selvedge/internal/metrictest"
	"github.com/selvedge-mq/selvedge/routing"
	"github.com/selvedge-mq/selvedge/routing/engine"
	"github.com/selvedge-mq/selvedge/routing/envelope"
	"github.com/selvedge-mq/selvedge/routing/memlog"
	"github.com/selvedge-mq/selvedge/routing/shard"
)

// An import had 5,000 messages under way whatever their size: while a shard had no
// leader, large ones filled the node's memory.
func TestImport_HoldsItsBytesAndNoMore(t *testing.T) {
	const count, size, room = 100, 100 << 10, 1 << 20
	synctest.Test(t, func(t *testing.T) {
		old := memlog.NewFabric("old", 1, memlog.Options{})
		defer func() { _ = old.Close() }()
		s, lane := shard.New(shard.Options{}), shard.LaneID{Session: 1, Lane: 2}
		appendBatch(t, old.View(0), s, s.Lead("old", 1, 1))
		s.OpenLane(lane, "old", 1)
		for i := range uint64(count) {
			s.Send(lane, i+1, envelope.Append(nil, &routing.Envelope{
				Address: routing.Queue("q"), Persistent: true, Encoding: routing.EncodingSTOMP, Payload: bytes.Repeat([]byte{'x'}, size),
			}))
			appendBatch(t, old.View(0), s, s.Seal(1))
		}
		c := newCluster(t, 1, 1, nil)
		f := memlog.NewFabric("import", 1, memlog.Options{})
		defer func() { _ = f.Close() }()
		reg := prometheus.NewPedanticRegistry()
		e, err := engine.New(engine.Options{Fabric: f, Peers: c.net.join("import", 4711), Log: zerolog.Nop(), Metrics: reg, HeldBytes: room})
		if err != nil {
			t.Fatal(err)
		}
		defer c.net.sever("import")
		defer e.Close()
		done, last := make(chan error, 1), 0
		go func() { done <- e.Import(t.Context(), []engine.Log{old.View(0)}, func(n int) { last = n }) }()
		synctest.Wait()
		if held := metrictest.Value(t, reg, "selvedge_engine_held_bytes"); held < room || held > room+2*size {
			t.Errorf("got %v bytes under way without a leader, want %d and one message more at most", held, room)
		}
		c.nodes[0].leadAll()
		if err := <-done; err != nil || last != count {
			t.Errorf("got %d messages imported, error %v, want %d", last, err, count)
		}
		if got := metrictest.Value(t, reg, "selvedge_engine_held_bytes"); got != 0 {
			t.Errorf("got %v bytes under way at the end, want 0", got)
		}
	})
}
