package engine

import (
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// metrics are the engine's. Names are kept in docs/metrics.md.
type metrics struct {
	batch        prometheus.Histogram
	recordBytes  prometheus.Histogram
	refused      prometheus.Counter
	timeouts     prometheus.Counter
	windowFull   prometheus.Counter
	resets       prometheus.Counter // of connections with nodes
	topicDrops   prometheus.Counter
	topicExpired prometheus.Counter
	takeovers    prometheus.Counter
	falseEpochs  prometheus.Counter
	phases       *prometheus.HistogramVec // of a takeover
	unreadable   prometheus.Counter
	refusedSends prometheus.Counter
	transactions *prometheus.CounterVec
	logReads     prometheus.Counter
	limits       limitHits
	uploadsEnded prometheus.Counter
}

// limitHits count what was refused because of a limit. They are the children of
// one vector, looked up once.
type limitHits struct {
	messageSize, wholeSize, uploads, held, transactions, txBytes, pending, heads, temporaries, soft prometheus.Counter
}

func newLimitHits(f promauto.Factory) limitHits {
	v := f.NewCounterVec(prometheus.CounterOpts{
		Name: "selvedge_engine_limit_refusals_total",
		Help: "Requests of this node's clients that were refused because of a limit.",
	}, []string{"limit"})
	of := func(limit string) prometheus.Counter { return v.WithLabelValues(limit) }
	return limitHits{
		messageSize: of("message-size"), wholeSize: of("whole-message-size"), uploads: of("uploads"), held: of("node-in-flight-bytes"), transactions: of("transactions"),
		txBytes: of("transaction-bytes"), pending: of("node-transactions"), heads: of("node-uploads"), temporaries: of("temporaries"), soft: of("non-persistent-bytes"),
	}
}

func newMetrics(e *Engine, reg prometheus.Registerer) *metrics {
	f := promauto.With(reg) // registers nothing if reg is nil
	counter := func(name, help string) prometheus.Counter {
		return f.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	}
	e.tally.publish(f)
	e.publishFigures(f)
	return &metrics{
		limits: newLimitHits(f),
		logReads: counter("selvedge_engine_log_reads_total",
			"Records read from a log again because they were not in memory any more."),
		batch: f.NewHistogram(prometheus.HistogramOpts{
			Name:    "selvedge_engine_batch_entries",
			Help:    "Entries that were committed together in one record of a shard's log.",
			Buckets: prometheus.ExponentialBuckets(1, 2, 14),
		}),
		recordBytes: f.NewHistogram(prometheus.HistogramOpts{
			Name:    "selvedge_engine_record_bytes",
			Help:    "Size of the records appended to the shards' logs.",
			Buckets: prometheus.ExponentialBuckets(128, 4, 9),
		}),
		refused: counter("selvedge_engine_refused_deliveries_total",
			"Deliveries of former leaders, or of a connection that had ended, that were not handed to clients."),
		timeouts: counter("selvedge_engine_timeouts_total",
			"Requests that were not confirmed within the send timeout."),
		windowFull: counter("selvedge_engine_window_full_total",
			"Times that deliveries waited for a node's window."),
		resets: counter("selvedge_engine_control_resets_total",
			"Connections with other nodes ended because a node did not take its control messages."),
		topicDrops: counter("selvedge_engine_topic_dropped_total",
			"Topic messages dropped because the buffer of a subscription or a node was full, or because a node was lost."),
		topicExpired: counter("selvedge_engine_topic_expired_total",
			"Topic messages that expired before a subscription took them."),
		falseEpochs: counter("selvedge_engine_false_epochs_total",
			"Epochs that other nodes had heard of, and that this node found to be in no log."),
		takeovers: counter("selvedge_engine_takeovers_total",
			"Times that this node began to lead a shard."),
		phases: f.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "selvedge_engine_takeover_seconds",
			Help:    "Time that a new leader took: to read the log, to append the record of its epoch, to hear the other nodes' reports.",
			Buckets: prometheus.ExponentialBuckets(0.001, 2, 16),
		}, []string{"phase"}),
		refusedSends: counter("selvedge_engine_refused_sends_total",
			"Sends refused because the node held as much unconfirmed data as it may."),
		uploadsEnded: counter("selvedge_engine_uploads_given_up_total",
			"Uploads that got no part for too long, in the shards led here."),
		unreadable: counter("selvedge_engine_unreadable_total",
			"Deliveries whose stored message this node could not read; they were rejected."),
		transactions: f.NewCounterVec(prometheus.CounterOpts{
			Name: "selvedge_engine_transactions_total",
			Help: "Commits that this node's clients asked for, by how they ended.",
		}, []string{"outcome"}),
	}
}

// takeover notes how long a phase of a takeover took.
func (m *metrics) takeover(phase string, d time.Duration) {
	m.phases.WithLabelValues(phase).Observe(d.Seconds())
}

// publishFigures publishes what is read when it is asked for: what was done, and what
// is in memory.
func (e *Engine) publishFigures(f promauto.Factory) {
	total := func(name, help string, n *atomic.Uint64) {
		f.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help}, func() float64 { return float64(n.Load()) })
	}
	gauge := func(name, help string, value func() int64) {
		f.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 { return float64(value()) })
	}
	led := func(of func(l *leader) int64) func() int64 {
		return func() int64 {
			e.mu.Lock()
			defer e.mu.Unlock()
			var most int64
			for _, l := range e.leaders {
				most = max(most, of(l))
			}
			return most
		}
	}
	total("selvedge_engine_sends_total", "Envelopes taken in from this node's clients.", &e.sends)
	total("selvedge_engine_deliveries_total", "Deliveries handed to this node's clients.", &e.given)
	gauge("selvedge_engine_shards_led", "Shards that this node leads.", func() int64 { return int64(len(e.Stats().ShardsLed)) })
	gauge("selvedge_engine_transaction_parts", "Parts of transactions over several shards that wait for their coordinator's word, in the shards led here.",
		e.waitingParts)
	gauge("selvedge_engine_held_bytes", "Unconfirmed sends of this node's clients.", e.held.Load)
	gauge("selvedge_engine_upload_head_bytes", "Bytes in memory of what this node's clients are sending piece by piece: the heads.", e.heads.Load)
	gauge("selvedge_engine_transaction_bytes", "Bytes that the open transactions of this node's clients hold.", e.pending.Load)
	gauge("selvedge_engine_uploads", "Large messages that this node's clients are sending.", e.uploading.Load)
	gauge("selvedge_engine_upload_bytes", "Parts of large messages on their way from this node to the shards.", e.partsUnderway)
	gauge("selvedge_engine_non_persistent_bytes", "Non-persistent messages of the shard led here that has the most.",
		led(func(l *leader) int64 { return l.soft.Load() }))
	gauge("selvedge_engine_control_waiting_bytes", "Control messages that wait for the node that is furthest behind.", e.controlWaiting)
	gauge("selvedge_engine_cached_bytes", "Bodies that the shard led here with the most of them keeps in memory.",
		led(func(l *leader) int64 { return l.cache.held() + l.parts.held() }))
}
