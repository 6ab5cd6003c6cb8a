package bench

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// progress writes a line each second and adds the latencies up.
type progress struct {
	b   *Bench
	out io.Writer

	confirmed *hdrhistogram.Histogram // of the whole run
	received  *hdrhistogram.Histogram
	before    counts
}

// counts are sums over the workers at one moment.
type counts struct {
	at                                                 time.Duration
	sent, confirmed, received, refused, resent, redial uint64
}

func newProgress(b *Bench, out io.Writer) *progress {
	return &progress{b: b, out: out, confirmed: newHistogram(), received: newHistogram()}
}

func (p *progress) run(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			_, _ = fmt.Fprintln(p.out, p.line())
		case <-ctx.Done():
			return
		}
	}
}

// finish takes over what was recorded last.
func (p *progress) finish() *progress {
	p.collect(p.confirmed, p.received)
	return p
}

// collect moves the workers' latencies into the totals and adds them to those
// of the interval.
func (p *progress) collect(confirmed, received *hdrhistogram.Histogram) {
	for _, w := range p.b.producers {
		take(&w.latency, p.confirmed, confirmed)
	}
	for _, w := range p.b.consumers {
		take(&w.latency, p.received, received)
	}
}

func take(l *latency, total, interval *hdrhistogram.Histogram) {
	if total == interval {
		l.take(total)
		return
	}
	l.take(total, interval)
}

// line describes the time since the line before.
func (p *progress) line() string {
	confirmed, received := newHistogram(), newHistogram()
	p.collect(confirmed, received)
	now := p.b.counts()
	seconds := (now.at - p.before.at).Seconds()
	perSecond := func(now, before uint64) float64 { return float64(now-before) / seconds }
	line := fmt.Sprintf("%4.0fs  sent %s/s  confirmed %s/s%s  received %s/s%s",
		now.at.Seconds(),
		thousands(perSecond(now.sent, p.before.sent)),
		thousands(perSecond(now.confirmed, p.before.confirmed)), quantiles(confirmed),
		thousands(perSecond(now.received, p.before.received)), quantiles(received))
	if p.b.opts.Window > 0 {
		line += fmt.Sprintf("  unconfirmed %d", now.sent-now.confirmed-now.refused)
	}
	if n := p.b.failures.sum(); n > 0 {
		line += fmt.Sprintf("  errors %d", n)
	}
	if now.redial > 0 {
		line += fmt.Sprintf("  reconnects %d", now.redial)
	}
	p.before = now
	return line
}

// counts adds the workers' counters up. What is received and confirmed is read
// first, so that no sum overtakes the one it follows from.
func (b *Bench) counts() (c counts) {
	for _, w := range b.consumers {
		c.received += w.received.Load()
		c.redial += w.reconnects.Load()
	}
	for _, w := range b.producers {
		c.confirmed += w.confirmed.Load()
		c.refused += w.refused.Load()
		c.resent += w.resent.Load()
		c.redial += w.reconnects.Load()
		c.sent += w.sent.Load()
	}
	c.at = b.since()
	return c
}

func quantiles(h *hdrhistogram.Histogram) string {
	if h.TotalCount() == 0 {
		return ""
	}
	l := summary(h)
	return fmt.Sprintf(" (p50 %s p99 %s)", milliseconds(l.P50), milliseconds(l.P99))
}
