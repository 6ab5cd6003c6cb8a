package peers

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/selvedge-mq/selvedge/routing/engine"
)

// stats are the metrics of the peers.
type stats struct {
	up        prometheus.Gauge
	stale     prometheus.Counter
	malformed prometheus.Counter

	packetsOut, packetsIn [engine.Lanes]prometheus.Counter
	bytesOut, bytesIn     [engine.Lanes]prometheus.Counter
	resends, gaps, again  [engine.Lanes]prometheus.Counter
	full                  [engine.Lanes]prometheus.Counter

	registerer prometheus.Registerer
	registered []prometheus.Collector
}

// newStats returns the metrics, registered with reg if it is not nil.
func newStats(reg prometheus.Registerer) (*stats, error) {
	s := &stats{registerer: reg}
	var all []prometheus.Collector
	counter := func(name, help string) prometheus.Counter {
		c := prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
		all = append(all, c)
		return c
	}
	lanes := func(name, help string) [engine.Lanes]prometheus.Counter {
		v := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, []string{"lane"})
		all = append(all, v)
		var out [engine.Lanes]prometheus.Counter
		for k, lane := range laneNames {
			out[k] = v.WithLabelValues(lane)
		}
		return out
	}
	s.up = prometheus.NewGauge(prometheus.GaugeOpts{Name: "selvedge_peers_up", Help: "Other nodes that can be reached."})
	all = append(all, s.up)
	s.stale = counter("selvedge_peers_stale_packets_total", "Packets dropped because their pair of sessions is over.")
	s.malformed = counter("selvedge_peers_malformed_packets_total", "Packets and notices dropped because they cannot be read.")
	s.packetsOut = lanes("selvedge_peers_sent_packets_total", "Packets published, acknowledgements and resends included.")
	s.packetsIn = lanes("selvedge_peers_received_packets_total", "Packets received, acknowledgements and duplicates included.")
	s.bytesOut = lanes("selvedge_peers_sent_bytes_total", "Bytes of packets published.")
	s.bytesIn = lanes("selvedge_peers_received_bytes_total", "Bytes of packets received.")
	s.resends = lanes("selvedge_peers_resent_packets_total", "Packets published again.")
	s.gaps = lanes("selvedge_peers_gap_packets_total", "Packets dropped because an earlier one was missing.")
	s.again = lanes("selvedge_peers_duplicate_packets_total", "Packets dropped because they were received before.")
	s.full = lanes("selvedge_peers_window_full_total", "Messages refused because the window was full.")
	if reg == nil {
		return s, nil
	}
	for _, c := range all {
		if err := reg.Register(c); err != nil {
			s.close()
			return nil, err
		}
		s.registered = append(s.registered, c)
	}
	return s, nil
}

// close takes the metrics out of the registry.
func (s *stats) close() {
	for _, c := range s.registered {
		s.registerer.Unregister(c)
	}
	s.registered = nil
}

// published counts a packet sent.
func (s *stats) published(lane engine.Lane, n int, again bool) {
	s.packetsOut[lane].Inc()
	s.bytesOut[lane].Add(float64(n))
	if again {
		s.resends[lane].Inc()
	}
}

// arrived counts a packet received.
func (s *stats) arrived(lane engine.Lane, n int, o *outcome) {
	s.packetsIn[lane].Inc()
	s.bytesIn[lane].Add(float64(n))
	if o.gap {
		s.gaps[lane].Inc()
	}
	if o.duplicate {
		s.again[lane].Inc()
	}
}
