package bench

import (
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Histograms reach from a microsecond to ten minutes, to two digits.
const (
	histogramLowest  = int64(1)
	histogramHighest = int64(10 * time.Minute / time.Microsecond)
	histogramDigits  = 2
)

func newHistogram() *hdrhistogram.Histogram {
	return hdrhistogram.New(histogramLowest, histogramHighest, histogramDigits)
}

// latency collects the durations of one worker until they are taken over into
// a total.
type latency struct {
	mu      sync.Mutex
	pending *hdrhistogram.Histogram
}

// record adds a duration in nanoseconds.
func (l *latency) record(ns int64) {
	us := min(max(ns/int64(time.Microsecond), histogramLowest), histogramHighest)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.pending == nil {
		l.pending = newHistogram()
	}
	_ = l.pending.RecordValue(us) // it is within the bounds
}

// take moves what was recorded into the totals.
func (l *latency) take(totals ...*hdrhistogram.Histogram) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.pending == nil {
		return
	}
	for _, t := range totals {
		t.Merge(l.pending)
	}
	l.pending.Reset()
}

// Latency is a histogram's summary, in milliseconds.
type Latency struct {
	Count uint64  `json:"count"`
	Mean  float64 `json:"mean_ms"`
	P50   float64 `json:"p50_ms"`
	P90   float64 `json:"p90_ms"`
	P99   float64 `json:"p99_ms"`
	P999  float64 `json:"p999_ms"`
	Max   float64 `json:"max_ms"`
}

func summary(h *hdrhistogram.Histogram) Latency {
	ms := func(us float64) float64 { return us / 1000 }
	at := func(p float64) float64 { return ms(float64(h.ValueAtPercentile(p))) }
	return Latency{
		Count: uint64(h.TotalCount()),
		Mean:  ms(h.Mean()),
		P50:   at(50),
		P90:   at(90),
		P99:   at(99),
		P999:  at(99.9),
		Max:   ms(float64(h.Max())),
	}
}
