package engine_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/selvedge-mq/selvedge/internal/metrictest"
	"github.com/selvedge-mq/selvedge/routing"
	"github.com/selvedge-mq/selvedge/routing/engine"
	"github.com/selvedge-mq/selvedge/routing/memlog"
)

// A request that no record can hold would stop its shard: such limits are refused
// before the engine starts, as are those that cannot be meant.
func TestOptions_WhatNoRecordHoldsIsRefused(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(o *engine.Options)
		want   string // empty: the engine starts
	}{
		{"the greatest message", func(o *engine.Options) { o.WholeSize, o.TxBytes = engine.MaxMessage, engine.MaxMessage }, ""},
		{"a message beyond it", func(o *engine.Options) { o.WholeSize, o.TxBytes = engine.MaxMessage+1, 1 }, "Options.WholeSize"},
		{"a transaction beyond it", func(o *engine.Options) { o.TxBytes = engine.MaxMessage + 1 }, "Options.TxBytes"},
		{"records that leave no room for it", func(o *engine.Options) { o.RecordBytes = 1 << 20 }, "Options.RecordBytes"},
		{"a negative bound", func(o *engine.Options) { o.TopicBytes = -1 }, "Options.TopicBytes"},
		{"sends refused before clients are asked to pause", func(o *engine.Options) { o.HeldBytes, o.HeldMost = 2, 1 }, "Options.HeldBytes"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			fabric, net := memlog.NewFabric("a", 1, memlog.Options{}), newNetwork(1<<20)
			o := engine.Options{Fabric: fabric, Peers: net.join("a", 1)}
			tt.change(&o)
			e, err := engine.New(o)
			if err == nil {
				e.Close()
				net.sever("a")
			}
			_ = fabric.Close()
			net.wg.Wait()
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("got %v, want an error about %q", err, tt.want)
			}
		})
	}
}

// What a limit refuses is counted under its name, and what it bounds is shown.
func TestLimits_AreSeenInTheMetrics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reg := prometheus.NewPedanticRegistry()
		c := newCluster(t, 1, 1, func(o *engine.Options) {
			o.MessageSize, o.TxBytes, o.HeldBytes, o.SoftBytes = 1000, 2000, 3000, 2000
			o.Transactions, o.Temporaries, o.Metrics = 2, 1, reg
		})
		n := c.nodes[0]
		n.leadAll()
		p := n.client(t)
		body := strings.Repeat("x", 1500)
		p.send(1, "soft", body, false)
		p.send(2, "soft", body, false) // non-persistent-bytes
		p.send(3, "q", strings.Repeat("x", 6000), true)
		first, second := p.s.Begin(), p.s.Begin()
		p.s.Begin().Commit(p, 4) // transactions
		p.sendIn(first, 5, "q", body)
		p.sendIn(first, 6, "q", body)  // transaction-bytes
		p.sendIn(second, 7, "q", body) // node-transactions
		p.s.CreateTemporary(routing.KindTempQueue, p, 8)
		p.s.CreateTemporary(routing.KindTempQueue, p, 9) // temporaries
		for token := range uint64(9) {
			_ = p.result(token + 1)
		}
		<-time.After(time.Second) // gauges of a leader are as of its last beat
		for _, limit := range []string{"non-persistent-bytes", "transactions", "transaction-bytes", "node-transactions", "temporaries", "message-size"} {
			if got := metrictest.Value(t, reg, "selvedge_engine_limit_refusals_total", limit); got != 1 {
				t.Errorf("%s: got %v refusals, want 1", limit, got)
			}
		}
		for _, gauge := range []string{"selvedge_engine_non_persistent_bytes", "selvedge_engine_transaction_bytes"} {
			if got := metrictest.Value(t, reg, gauge); got < 1500 || got > 2000 {
				t.Errorf("%s: got %v, want the one message that is there", gauge, got)
			}
		}
		first.Rollback()
		second.Rollback()
		if got := metrictest.Value(t, reg, "selvedge_engine_transaction_bytes"); got != 0 {
			t.Errorf("got %v bytes in open transactions when there are none, want 0", got)
		}
	})
}
