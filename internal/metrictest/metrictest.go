// Package metrictest reads the values of metrics for tests.
package metrictest

import (
	"slices"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

// Value returns what a counter or gauge of that name says: of all that have these
// values among those of their labels, summed. It fails the test if nothing of that
// name is told.
func Value(tb testing.TB, from prometheus.Gatherer, name string, labels ...string) (sum float64) {
	tb.Helper()
	families, err := from.Gather()
	if err != nil {
		tb.Fatal(err)
	}
	known := false
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		known = true
		for _, m := range f.GetMetric() {
			values := make([]string, 0, len(m.GetLabel()))
			for _, l := range m.GetLabel() {
				values = append(values, l.GetValue())
			}
			if !slices.ContainsFunc(labels, func(l string) bool { return !slices.Contains(values, l) }) {
				sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	if !known {
		tb.Fatalf("got no metric %s", name)
	}
	return sum
}
