package amqp

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are the front-end's collectors. Counters of messages are added to
// once a turn of the owner, never per message.
type metrics struct {
	connections prometheus.Gauge
	sessions    prometheus.Gauge
	links       prometheus.Gauge
	received    prometheus.Counter
	sent        prometheus.Counter
	returned    prometheus.Counter
	refused     *prometheus.CounterVec
	logins      *prometheus.CounterVec
	suspended   prometheus.Gauge
	forgotten   *prometheus.CounterVec
}

// newMetrics registers the collectors with r, which may be nil. A second
// front-end on the same registry shares the first one's.
func newMetrics(r prometheus.Registerer) (*metrics, error) {
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Name: name, Help: help})
	}
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	}
	vec := func(name, help, label string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, []string{label})
	}
	m := &metrics{
		connections: gauge("selvedge_amqp_connections", "AMQP connections that are open."),
		sessions:    gauge("selvedge_amqp_sessions", "AMQP sessions that are open."),
		links:       gauge("selvedge_amqp_links", "AMQP links that are attached."),
		received:    counter("selvedge_amqp_messages_received_total", "Messages that AMQP clients sent."),
		sent:        counter("selvedge_amqp_messages_sent_total", "Messages that AMQP clients were sent."),
		returned:    counter("selvedge_amqp_returned_messages_total", "Deliveries that went back because as much waited for their client as may."),
		refused:     vec("selvedge_amqp_errors_total", "Error conditions that AMQP clients were told.", "condition"),
		logins:      vec("selvedge_amqp_logins_total", "SASL exchanges, by their outcome.", "outcome"),
		suspended:   gauge("selvedge_amqp_suspended_links", "Links that have ended and can be resumed."),
		forgotten:   vec("selvedge_amqp_suspended_forgotten_total", "Suspended links that were forgotten, by cause: expired or room.", "cause"),
	}
	if r == nil {
		return m, nil
	}
	return m, errors.Join(
		register(r, &m.connections), register(r, &m.sessions), register(r, &m.links),
		register(r, &m.received), register(r, &m.sent), register(r, &m.returned), register(r, &m.refused), register(r, &m.logins),
		register(r, &m.suspended), register(r, &m.forgotten),
	)
}

func register[C prometheus.Collector](r prometheus.Registerer, c *C) error {
	err := r.Register(*c)
	var twice prometheus.AlreadyRegisteredError
	if !errors.As(err, &twice) {
		return err
	}
	known, ok := twice.ExistingCollector.(C)
	if !ok {
		return err
	}
	*c = known
	return nil
}
