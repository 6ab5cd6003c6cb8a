package gateway

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/selvedge-mq/selvedge/gateway/config"
)

// Why a connection is refused, as the metric says it.
const (
	refusedConnections = "connections" // max-connections
	refusedAddress     = "address"     // max-connections-per-address
	refusedUser        = "user"        // max-connections-per-user
	refusedHandshake   = "handshake"   // PROXY header, TLS, WebSocket, or no protocol that is known
	refusedLogin       = "login"       // it ended without a login: login-timeout, a wrong password, or the client went
	refusedLogins      = "logins"      // logins-per-address
	refusedStarting    = "starting"    // the node does not take clients yet
)

// metrics are the gateway's own; every other part registers its own with the
// same registry.
type metrics struct {
	accepted *prometheus.CounterVec
	refused  *prometheus.CounterVec
	panics   *prometheus.CounterVec
	reloads  *prometheus.CounterVec
	free     prometheus.Gauge
	expiry   *prometheus.GaugeVec
	full     prometheus.Counter
	refusing prometheus.Gauge
	vanished prometheus.Counter
}

func newMetrics(node, version string) (*metrics, *prometheus.Registry) {
	r := prometheus.NewRegistry()
	r.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	f := promauto.With(r)
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return f.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	f.NewGauge(prometheus.GaugeOpts{
		Name:        "selvedge_gateway_build_info",
		Help:        "Always 1; the labels tell the node's name and version.",
		ConstLabels: prometheus.Labels{"node": node, "version": version},
	}).Set(1)
	m := &metrics{
		accepted: counter("selvedge_gateway_connections_accepted_total", "Client connections that were handed to their protocol.", "protocol"),
		refused:  counter("selvedge_gateway_connections_refused_total", "Client connections that were refused, by the reason.", "protocol", "reason"),
		panics:   counter("selvedge_gateway_panics_total", "Connections that were closed because of a bug in the node.", "protocol"),
		reloads:  counter("selvedge_gateway_reloads_total", "Reloads of users and rules, by their outcome.", "outcome"),
		full: f.NewCounter(prometheus.CounterOpts{
			Name: "selvedge_gateway_sends_refused_total", Help: "Sends that were refused because a disk of the cluster is nearly full.",
		}),
		vanished: f.NewCounter(prometheus.CounterOpts{
			Name: "selvedge_gateway_connections_vanished_total", Help: "Client connections that were ended because their hosts acknowledged nothing of what they were sent.",
		}),
		refusing: f.NewGauge(prometheus.GaugeOpts{
			Name: "selvedge_gateway_refusing_sends", Help: "1 while the node refuses messages because a disk of the cluster is nearly full.",
		}),
		free: f.NewGauge(prometheus.GaugeOpts{
			Name: "selvedge_gateway_disk_free_bytes", Help: "Free space of the disk that the data folder is on.",
		}),
		expiry: f.NewGaugeVec(prometheus.GaugeOpts{
			Name: "selvedge_gateway_certificate_expiry_seconds", Help: "When the certificate in force ends, as Unix time.",
		}, []string{"use"}),
	}
	m.begin()
	return m, r
}

// begin has the counters that alerts look at begin at 0: of one that appears with its
// first event, that event is no increase.
func (m *metrics) begin() {
	for _, protocol := range []string{config.ProtocolSTOMP, config.ProtocolAMQP} {
		m.accepted.WithLabelValues(protocol)
		m.panics.WithLabelValues(protocol)
		for _, reason := range []string{
			refusedConnections, refusedAddress, refusedUser, refusedHandshake, refusedLogin, refusedLogins, refusedStarting,
		} {
			m.refused.WithLabelValues(protocol, reason)
		}
	}
	for _, outcome := range []string{"done", "failed"} {
		m.reloads.WithLabelValues(outcome)
	}
}

// refuse counts a connection that is not served.
func (m *metrics) refuse(protocol, reason string) { m.refused.WithLabelValues(protocol, reason).Inc() }
