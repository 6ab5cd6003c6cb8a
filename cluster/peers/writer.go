package peers

import (
	"sync"

	"github.com/selvedge-mq/selvedge/routing/engine"
)

// writer is the queue of lanes that have something to publish. A lane stands in
// it once at most.
type writer struct {
	wake chan struct{} // capacity 1, never closed

	mu    sync.Mutex
	lanes [engine.Lanes][]*lane
}

// newWriter returns an empty queue.
func newWriter() *writer { return &writer{wake: make(chan struct{}, 1)} }

// put appends a lane whose schedule returned true, or that take left with more.
func (w *writer) put(l *lane) {
	w.mu.Lock()
	w.lanes[l.kind] = append(w.lanes[l.kind], l)
	w.mu.Unlock()
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// next returns the first lane in the order of the lanes, nil when there is none.
func (w *writer) next() *lane {
	w.mu.Lock()
	defer w.mu.Unlock()
	for k, q := range w.lanes {
		if len(q) == 0 {
			continue
		}
		l := q[0]
		copy(q, q[1:])
		q[len(q)-1] = nil
		w.lanes[k] = q[:len(q)-1]
		return l
	}
	return nil
}

// write is the goroutine that publishes. While it is busy the open packets
// grow; nothing else delays a message. It ends when Peers are closed and all
// that was taken is published.
func (p *Peers) write() {
	scratch := make([]byte, headLen)
	for {
		l := p.writer.next()
		if l == nil {
			select {
			case <-p.writer.wake:
				continue
			case <-p.done:
			}
			if l = p.writer.next(); l == nil {
				return
			}
		}
		data, again := l.take(scratch, p.now())
		if data == nil {
			continue
		}
		p.post(l.pair.subjects[l.kind], data)
		p.stats.published(l.kind, len(data), again)
		p.writer.put(l)
	}
}
