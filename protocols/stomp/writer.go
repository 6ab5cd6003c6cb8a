package stomp

import (
	"io"
	"net"
	"sync"
	"time"

	"github.com/selvedge-mq/selvedge/protocols/stomp/frame"
)

// writePiece is how much a client must read within [Limits.Write].
const writePiece = 64 << 10

// messageWriter is the ability of WebSockets to send p as one message. Many
// clients read no message of more than 8 KiB, and some take it for one frame, so
// that each is one.
type messageWriter interface {
	WriteMessage(p []byte) error
	// BeginMessage begins one that is written piece by piece and ends with Close.
	BeginMessage() (io.WriteCloser, error)
}

// writer writes encoded frames to a client that may not read: its write method runs on
// a goroutine of its own, once at a time, the others are the owner's.
type writer struct {
	nc       net.Conn
	messages messageWriter // nil where borders mean nothing
	patience time.Duration // for each piece, or message, until it is hurried

	mu      sync.Mutex // guards the deadline, and what it depends on
	hurried bool
	end     time.Time // of all writing; zero: not known
	size    int       // octets of what is being written

	// Of the write under way.
	piece  [][]byte // what is written at once
	full   int      // octets of the piece
	bufs   net.Buffers
	begun  io.WriteCloser // the message of a large frame; nil without
	failed error          // of the write that was the last one
}

func newWriter(nc net.Conn, patience time.Duration) *writer {
	w := &writer{nc: nc, patience: patience}
	w.messages, _ = nc.(messageWriter)
	return w
}

// hurry leaves a client little time for each piece from now on, and for what is left
// of the one under way.
func (w *writer) hurry() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.hurried = true
	_ = w.setDeadline() // if it fails the write does too
}

// endBy lets every write fail from t on, the one under way too.
func (w *writer) endBy(t time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.end = t
	_ = w.setDeadline() // if it fails the write does too
}

// write writes whole frames, or a part of a large one. After an error it writes no more.
func (w *writer) write(o output) error {
	switch {
	case w.failed != nil:
	case w.messages == nil:
		w.failed = w.writePieces(&o)
	case o.more || w.begun != nil:
		w.failed = w.writeFragment(&o)
	default:
		w.failed = w.writeMessages(o.buf)
	}
	return w.failed
}

// writePieces writes to a stream.
func (w *writer) writePieces(o *output) error {
	for part := range o.parts {
		for len(part) > 0 {
			n := min(len(part), writePiece-w.full)
			w.piece, w.full = append(w.piece, part[:n]), w.full+n
			part = part[n:]
			if w.full < writePiece {
				continue
			}
			if err := w.put(); err != nil {
				return err
			}
		}
	}
	return w.put()
}

// writeMessages writes each frame as a message of its own.
func (w *writer) writeMessages(frames []byte) error {
	for len(frames) > 0 {
		var message []byte
		message, frames = frame.Cut(frames)
		if err := w.arm(len(message)); err != nil {
			return err
		}
		if err := w.messages.WriteMessage(message); err != nil {
			return err
		}
	}
	return nil
}

// writeFragment writes a part of a large frame, which is one message all the same.
func (w *writer) writeFragment(o *output) error {
	size := 0
	for part := range o.parts {
		size += len(part)
	}
	err := w.arm(size)
	if err == nil && w.begun == nil {
		w.begun, err = w.messages.BeginMessage()
	}
	for part := range o.parts {
		if err == nil {
			_, err = w.begun.Write(part)
		}
	}
	if err == nil && !o.more {
		err = w.begun.Close()
		w.begun = nil
	}
	return err
}

// arm sets the deadline of the next piece, or message, of so many octets.
func (w *writer) arm(size int) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.size = size
	return w.setDeadline()
}

// setDeadline does what the others want, under the mutex.
func (w *writer) setDeadline() error {
	t := time.Now().Add(w.patience)
	if w.hurried {
		t = time.Now().Add(closeTime * time.Duration(1+w.size/writePiece))
	}
	if !w.end.IsZero() && t.After(w.end) {
		t = w.end
	}
	return w.nc.SetWriteDeadline(t)
}

// put writes the piece.
func (w *writer) put() error {
	if w.full == 0 {
		return nil
	}
	err := w.arm(w.full)
	if err == nil && len(w.piece) == 1 {
		_, err = w.nc.Write(w.piece[0])
	} else if err == nil {
		w.bufs = w.piece
		_, err = w.bufs.WriteTo(w.nc)
	}
	clear(w.piece)
	w.piece, w.full = w.piece[:0], 0
	return err
}
