package cluster

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/selvedge-mq/selvedge/routing/engine"
)

// metrics are the node's collectors.
type metrics struct {
	registry      prometheus.Registerer
	registered    []prometheus.Collector
	appends       *prometheus.CounterVec
	appendBytes   prometheus.Counter
	appendTime    prometheus.Histogram
	leaderChanges prometheus.Counter
	scanned       *prometheus.CounterVec
	scrubbed      prometheus.Counter
	scrubDone     prometheus.Gauge
	refused       *prometheus.CounterVec
	routeErrors   prometheus.Counter
}

// newMetrics makes the collectors and registers them, if r is not nil.
func newMetrics(r prometheus.Registerer, n *Node) (*metrics, error) {
	m := &metrics{
		registry: r,
		appends: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "selvedge_log_appends_total", Help: "Records appended to the logs, by outcome.",
		}, []string{"outcome"}),
		appendBytes: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "selvedge_log_append_bytes_total", Help: "Bytes of records appended to the logs.",
		}),
		appendTime: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "selvedge_log_append_seconds", Help: "Time from an append to its confirmation.",
			Buckets: prometheus.ExponentialBuckets(0.0001, 2, 16),
		}),
		leaderChanges: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "selvedge_shard_leader_changes_total", Help: "Leaderships that this node took or gave up.",
		}),
		scanned: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "selvedge_log_read_bytes_total",
			Help: "Bytes of records read from the logs in sequence, from this node's files or by way of the embedded server.",
		}, []string{"from"}),
		scrubbed: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "selvedge_log_scrub_bytes_total", Help: "Bytes of records read from this node's files to see whether they are whole.",
		}),
		scrubDone: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "selvedge_log_scrub_last_seconds", Help: "When all of this node's files were last read through, as Unix time; 0: not yet.",
		}),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "selvedge_fabric_refused_nodes_total", Help: "Connections of nodes that were refused, by what differs: the cluster's name, its secret, or none shown.",
		}, []string{"differs"}),
		routeErrors: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "selvedge_fabric_route_errors_total", Help: "Errors of connections with other nodes, or of strangers at their port: no TLS, or not a word of a node.",
		}),
	}
	if r == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.appends, m.appendBytes, m.appendTime, m.leaderChanges, m.scanned, m.scrubbed, m.scrubDone, m.refused, m.routeErrors, newShardCollector(n)} {
		if err := r.Register(c); err != nil {
			m.close()
			return nil, fmt.Errorf("cluster: register metrics: %w", err)
		}
		m.registered = append(m.registered, c)
	}
	return m, nil
}

// close takes the collectors back.
func (m *metrics) close() {
	for _, c := range m.registered {
		m.registry.Unregister(c)
	}
	m.registered = nil
}

// appended counts the end of an append.
func (m *metrics) appended(size int, took time.Duration, err error) {
	outcome := "committed"
	switch {
	case err == nil:
		m.appendBytes.Add(float64(size))
		m.appendTime.Observe(took.Seconds())
	case errors.Is(err, engine.ErrConflict):
		outcome = "conflict"
	case errors.Is(err, engine.ErrFull):
		outcome = "full"
	default:
		outcome = "unknown"
	}
	m.appends.WithLabelValues(outcome).Inc()
}

// Where records are read from.
const (
	fromFiles  = "files"
	fromServer = "server"
)

// read counts records that were read in sequence.
func (m *metrics) read(from string, batch []record) {
	size := 0
	for _, r := range batch {
		size += len(r.rec)
	}
	m.scanned.WithLabelValues(from).Add(float64(size))
}

// shardCollector reads the state of the shards when it is asked.
type shardCollector struct {
	node                                              *Node
	quorum, led, bytes, records, lag, damaged, absent *prometheus.Desc
}

func newShardCollector(n *Node) *shardCollector {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, labels, nil)
	}
	return &shardCollector{
		node:    n,
		quorum:  desc("selvedge_fabric_quorum", "1 while this node reaches a majority of the cluster."),
		led:     desc("selvedge_shard_led", "1 while this node leads the shard.", "shard"),
		bytes:   desc("selvedge_log_stored_bytes", "Bytes of the shard's log.", "shard"),
		records: desc("selvedge_log_stored_records", "Records of the shard's log.", "shard"),
		damaged: desc("selvedge_log_replicas_damaged", "Replicas of this node that are damaged or being repaired."),
		absent:  desc("selvedge_fabric_nodes_absent", "Nodes that the registry knows, that were not retired, and that are not up."),
		lag:     desc("selvedge_log_replica_lag_records", "Operations that the slowest replica is behind.", "shard"),
	}
}

// Describe implements prometheus.Collector.
func (c *shardCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.quorum, c.led, c.bytes, c.records, c.lag, c.damaged, c.absent} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c *shardCollector) Collect(ch chan<- prometheus.Metric) {
	if !c.node.opened.Load() {
		return
	}
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	gauge(c.quorum, number(c.node.Quorum()))
	gauge(c.damaged, float64(len(c.node.Health())))
	gauge(c.absent, float64(c.node.absent()))
	led := make(map[int]bool)
	for _, shard := range c.node.leadership.led() {
		led[shard] = true
	}
	for shard := range c.node.logs {
		s, label := c.node.ShardStats(shard), strconv.Itoa(shard)
		gauge(c.led, number(led[shard]), label)
		gauge(c.bytes, float64(s.Bytes), label)
		gauge(c.records, float64(s.Last+1-s.First), label)
		gauge(c.lag, float64(s.Lag), label)
	}
}

func number(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
