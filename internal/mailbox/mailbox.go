// Package mailbox passes items from many senders to one owner goroutine in
// batches: one lock and at most one wake-up per batch, not per item.
package mailbox

import "sync"

// Mailbox is a queue with many senders and one receiver. It does not bound
// itself: who uses it bounds what is put in, by credit or by a window. The zero
// value is not usable; call [New].
type Mailbox[T any] struct {
	wake chan struct{}

	mu    sync.Mutex
	items []T
}

// New returns an empty mailbox.
func New[T any]() *Mailbox[T] {
	return &Mailbox[T]{wake: make(chan struct{}, 1)}
}

// Beside returns an empty mailbox of the same receiver: both wake it by one channel,
// and it looks into both.
func Beside[T, O any](other *Mailbox[O]) *Mailbox[T] {
	return &Mailbox[T]{wake: other.wake}
}

// Put adds items and wakes the receiver if the mailbox was empty.
func (m *Mailbox[T]) Put(items ...T) {
	if len(items) == 0 {
		return
	}
	m.mu.Lock()
	first := len(m.items) == 0
	m.items = append(m.items, items...)
	m.mu.Unlock()
	if first {
		m.Wake()
	}
}

// Wake wakes the receiver though there may be nothing to take.
func (m *Mailbox[T]) Wake() {
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// Ready returns the channel on which the receiver waits. After a receive it
// calls Take; there may be nothing to take.
func (m *Mailbox[T]) Ready() <-chan struct{} { return m.wake }

// Take returns all items. The slice given is used for the next ones: the
// receiver passes the previous batch back, so that two slices go round.
func (m *Mailbox[T]) Take(reuse []T) []T {
	clear(reuse)
	m.mu.Lock()
	items := m.items
	m.items = reuse[:0]
	m.mu.Unlock()
	return items
}
