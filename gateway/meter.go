package gateway

import "time"

// meterSpan is how many samples a meter looks back.
const meterSpan = 5

// meter turns a count that only grows into a rate over its last samples. One
// goroutine uses it.
type meter struct {
	samples [meterSpan]sample
	taken   int
}

type sample struct {
	at    time.Time
	count uint64
}

// add takes a sample and returns the rate per second since the oldest one kept.
func (m *meter) add(at time.Time, count uint64) float64 {
	oldest := m.samples[0]
	if m.taken >= meterSpan {
		oldest = m.samples[m.taken%meterSpan]
	}
	m.samples[m.taken%meterSpan] = sample{at, count}
	m.taken++
	if m.taken == 1 {
		return 0
	}
	return rate(oldest, sample{at, count})
}

// rate returns the growth per second, 0 if the count began anew.
func rate(from, to sample) float64 {
	span := to.at.Sub(from.at).Seconds()
	if span <= 0 || to.count < from.count {
		return 0
	}
	return float64(to.count-from.count) / span
}
