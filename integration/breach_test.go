package integration

import (
	"testing"

	"github.com/selvedge-mq/selvedge/integration/harness"
	"github.com/selvedge-mq/selvedge/integration/history"
)

// breached fails the test because of a promise that was broken. A test of the clock
// that failed may run again, and pass: not one that said this word (.ci/summary).
func breached(t *testing.T, format string, args ...any) {
	t.Helper()
	t.Errorf("breach: "+format, args...)
}

// complain fails the test for each promise that was broken.
func complain(t *testing.T, v *history.Verdict) {
	t.Helper()
	for _, b := range v.Breaches() {
		breached(t, "%s", b)
	}
}

// accuse fails the test for what was confirmed and is neither at a consumer nor in a
// queue: whoever waited for it in vain has not been too impatient.
func (c *crowd) accuse() {
	c.t.Helper()
	for queue, n := range c.queues {
		if q, err := harness.Look(n.HTTP, queue); err != nil || q.Depth > 0 {
			return
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for id := range c.open {
		breached(c.t, "confirmed, at no consumer and in no queue: got %d of %d, want none: %s …", len(c.open), c.confirmed, id)
		return
	}
}
