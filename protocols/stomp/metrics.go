package stomp

import (
	"errors"
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are shared by all connections. Connections add to them once a batch.
type metrics struct {
	connections prometheus.Gauge
	received    prometheus.Counter
	delivered   prometheus.Counter
	errors      *prometheus.CounterVec
	unreadable  prometheus.Counter
	silent      *prometheus.CounterVec
	returned    prometheus.Counter
}

func newMetrics(r prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		connections: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "selvedge_stomp_connections", Help: "Open STOMP connections.",
		}),
		received: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "selvedge_stomp_received_messages_total", Help: "SEND frames taken in.",
		}),
		delivered: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "selvedge_stomp_delivered_messages_total", Help: "MESSAGE frames written.",
		}),
		errors: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "selvedge_stomp_errors_total", Help: "ERROR frames, by the code of the reason.",
		}, []string{"code"}),
		unreadable: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "selvedge_stomp_unconvertible_messages_total", Help: "Deliveries that could not be converted to STOMP and were rejected.",
		}),
		silent: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "selvedge_stomp_silent_connections_total", Help: "Connections closed without ERROR, by what their client did not do in time.",
		}, []string{"cause"}),
		returned: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "selvedge_stomp_returned_messages_total", Help: "Deliveries that went back because as much waited for their client as may.",
		}),
	}
	for _, e := range silentEnds {
		m.silent.WithLabelValues(e.cause) // so that the first one is an increase
	}
	if r == nil {
		return m, nil
	}
	var err error
	m.connections = register(r, m.connections, &err)
	m.received = register(r, m.received, &err)
	m.delivered = register(r, m.delivered, &err)
	m.errors = register(r, m.errors, &err)
	m.unreadable = register(r, m.unreadable, &err)
	m.silent = register(r, m.silent, &err)
	m.returned = register(r, m.returned, &err)
	if err != nil {
		return nil, fmt.Errorf("stomp: register metrics: %w", err)
	}
	return m, nil
}

// silentEnds are the ends of connections whose client did not do something in time.
var silentEnds = []struct {
	err   error
	cause string
}{{errLogin, "login"}, {errBeat, "heart-beat"}, {errIdle, "idle"}, {errDeaf, "read"}}

// ended counts a connection that was closed because its client was silent.
func (m *metrics) ended(why error) {
	for _, c := range silentEnds {
		if errors.Is(why, c.err) {
			m.silent.WithLabelValues(c.cause).Inc()
		}
	}
}

// register returns the collector to use: the one that another front-end has
// registered, when there are several listeners.
func register[C prometheus.Collector](r prometheus.Registerer, c C, failed *error) C {
	err := r.Register(c)
	if already, ok := errors.AsType[prometheus.AlreadyRegisteredError](err); ok {
		if same, ok := already.ExistingCollector.(C); ok {
			return same
		}
	}
	if err != nil {
		*failed = err
	}
	return c
}
