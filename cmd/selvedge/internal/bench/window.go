package bench

import "sync"

// window holds what a producer has sent and not seen confirmed. Its size bounds
// the distance between the oldest unconfirmed message and the next one.
type window struct {
	changed chan struct{} // has a value after room was made; capacity 1

	mu     sync.Mutex
	oldest uint64
	next   uint64
	slots  []slot // by sequence number, modulo their number
}

type slot struct {
	sent int64
	done bool
}

// unconfirmed is a message that may have to be sent again.
type unconfirmed struct {
	seq  uint64
	sent int64
}

func newWindow(size int) *window {
	return &window{changed: make(chan struct{}, 1), slots: make([]slot, size)}
}

// reserve takes the next sequence number, if there is room.
func (w *window) reserve(now int64) (uint64, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.next-w.oldest == uint64(len(w.slots)) {
		return 0, false
	}
	seq := w.next
	w.next++
	w.slots[seq%uint64(len(w.slots))] = slot{sent: now}
	return seq, true
}

// settle takes a message out and returns when it was sent; false if it was
// settled before.
func (w *window) settle(seq uint64) (sent int64, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if seq < w.oldest || seq >= w.next {
		return 0, false
	}
	s := &w.slots[seq%uint64(len(w.slots))]
	if s.done {
		return 0, false
	}
	s.done = true
	if seq == w.oldest {
		for w.oldest < w.next && w.slots[w.oldest%uint64(len(w.slots))].done {
			w.oldest++
		}
		select {
		case w.changed <- struct{}{}:
		default:
		}
	}
	return s.sent, true
}

// open lists the messages that are not settled, oldest first.
func (w *window) open() (list []unconfirmed) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for seq := w.oldest; seq < w.next; seq++ {
		if s := w.slots[seq%uint64(len(w.slots))]; !s.done {
			list = append(list, unconfirmed{seq: seq, sent: s.sent})
		}
	}
	return list
}

// empty reports whether everything is settled.
func (w *window) empty() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.oldest == w.next
}
