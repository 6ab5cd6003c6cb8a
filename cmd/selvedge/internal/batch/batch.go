// Package batch writes what many calls add to one socket with as few system
// calls as possible: while one write is under way the next batch grows. It
// knows bytes, not frames.
package batch

import (
	"net"
	"sync"
)

// maxPending is how many bytes may wait for the socket; whoever finds more
// waits.
const maxPending = 1 << 20

// Writer writes batches until it fails. Its methods may be used by several
// goroutines.
type Writer struct {
	nc net.Conn
	wg sync.WaitGroup

	mu      sync.Mutex
	filled  sync.Cond // pending is not empty, or err is set
	emptied sync.Cond // pending has room, or err is set
	pending []byte
	err     error
}

// NewWriter returns a writer to nc. It ends by Fail.
func NewWriter(nc net.Conn) *Writer {
	w := &Writer{nc: nc}
	w.filled.L, w.emptied.L = &w.mu, &w.mu
	w.wg.Go(w.write)
	return w
}

// Append lets encode append to what will be written; it waits while too much
// is pending. Encode is called under the writer's lock.
func (w *Writer) Append(encode func([]byte) []byte) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for w.err == nil && len(w.pending) > maxPending {
		w.emptied.Wait()
	}
	if w.err != nil {
		return w.err
	}
	if len(w.pending) == 0 {
		w.filled.Signal()
	}
	w.pending = encode(w.pending)
	return nil
}

// Fail ends the writer and closes the socket. The first error stays: Append
// returns it.
func (w *Writer) Fail(err error) {
	w.end(err)
	_ = w.nc.Close()
}

// end frees whoever waits. The socket stays open: after a write that failed the
// peer's reason may still be there to be read.
func (w *Writer) end(err error) {
	w.mu.Lock()
	if w.err == nil {
		w.err = err
	}
	w.mu.Unlock()
	w.filled.Broadcast()
	w.emptied.Broadcast()
}

// Wait returns when nothing is written any more, after Fail.
func (w *Writer) Wait() { w.wg.Wait() }

func (w *Writer) write() {
	var batch []byte
	for {
		w.mu.Lock()
		for w.err == nil && len(w.pending) == 0 {
			w.filled.Wait()
		}
		if w.err != nil {
			w.mu.Unlock()
			return
		}
		batch, w.pending = w.pending, batch[:0]
		w.mu.Unlock()
		w.emptied.Broadcast()
		if _, err := w.nc.Write(batch); err != nil {
			w.end(err)
			return
		}
	}
}
