package bench

import (
	"sync"
	"sync/atomic"
	"time"
)

// timeline remembers when events came first and last, and the longest time
// without one in between. It is safe for concurrent use.
type timeline struct {
	first   atomic.Int64 // nanoseconds of the run plus 1; 0: no event yet
	last    atomic.Int64
	longest atomic.Int64

	mu  sync.Mutex
	gap Gap
}

// Gap is a time in which nothing happened.
type Gap struct {
	At     time.Duration // of the run
	Length time.Duration
}

// mark notes an event at that time of the run.
func (t *timeline) mark(at time.Duration) {
	now := int64(at) + 1
	before := t.last.Swap(now)
	if before == 0 {
		t.first.CompareAndSwap(0, now)
		return
	}
	if now-before > t.longest.Load() {
		t.note(before, now)
	}
}

func (t *timeline) note(before, now int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if length := now - before; length > t.longest.Load() {
		t.longest.Store(length)
		t.gap = Gap{At: time.Duration(before - 1), Length: time.Duration(length)}
	}
}

// longestGap returns the longest time without an event.
func (t *timeline) longestGap() Gap {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.gap
}

// bounds returns when the first and the last event came; false if none did.
func (t *timeline) bounds() (first, last time.Duration, ok bool) {
	f := t.first.Load()
	return time.Duration(f - 1), time.Duration(t.last.Load() - 1), f != 0
}
