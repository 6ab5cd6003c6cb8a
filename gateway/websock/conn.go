package websock

import (
	"context"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/coder/websocket"
)

// Conn is a WebSocket as a byte stream. One goroutine reads and one writes at a
// time; the other methods may be called by any.
//
// Each Write is one message. A deadline that passes while a Read or Write waits
// ends the connection, since a WebSocket cannot go on in the middle of a message.
type Conn struct {
	ws            *websocket.Conn
	local, remote net.Addr
	answer        Answer
	first         atomic.Int32 // type of the client's first message, 0 before it
	message       io.Reader    // what is left of the message being read
	in, out       deadline
}

var _ net.Conn = (*Conn)(nil)

func newConn(ws *websocket.Conn, local, remote net.Addr, answer Answer) *Conn {
	return &Conn{ws: ws, local: local, remote: remote, answer: answer}
}

// Read reads what the client sent, over the borders of its messages. The client's
// orderly end is io.EOF.
func (c *Conn) Read(p []byte) (int, error) {
	if err := c.in.begin(); err != nil {
		return 0, err
	}
	n, err := c.read(p)
	return n, c.in.end(err)
}

func (c *Conn) read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for {
		if c.message == nil {
			kind, r, err := c.ws.Reader(context.Background())
			if err != nil {
				return 0, endOf(err)
			}
			c.first.CompareAndSwap(0, int32(kind)) //nolint:gosec // 1 or 2
			c.message = r
		}
		n, err := c.message.Read(p)
		if err == io.EOF {
			c.message, err = nil, nil
		}
		if n > 0 || err != nil {
			return n, endOf(err)
		}
	}
}

// endOf makes io.EOF of an orderly end.
func endOf(err error) error {
	switch websocket.CloseStatus(err) { //nolint:exhaustive // the others are errors
	case websocket.StatusNormalClosure, websocket.StatusGoingAway, websocket.StatusNoStatusRcvd:
		return io.EOF
	}
	return err
}

// Write sends p as one message, of the kind that the options say.
func (c *Conn) Write(p []byte) (int, error) {
	if err := c.out.begin(); err != nil {
		return 0, err
	}
	kind := websocket.MessageBinary
	mirrored := c.answer == AnswerMirror && c.first.Load() != int32(websocket.MessageBinary)
	if (mirrored || c.answer == AnswerText) && utf8.Valid(p) {
		kind = websocket.MessageText
	}
	if err := c.out.end(c.ws.Write(context.Background(), kind, p)); err != nil {
		return 0, err
	}
	return len(p), nil
}

// WriteMessage sends p as one message, as Write does. It is there to tell those
// who write a stream that here its borders can be seen.
func (c *Conn) WriteMessage(p []byte) error {
	_, err := c.Write(p)
	return err
}

// BeginMessage begins a binary message that is written piece by piece, each as a
// fragment, and ends with Close. Until then nothing else may be written.
func (c *Conn) BeginMessage() (io.WriteCloser, error) {
	if err := c.out.begin(); err != nil {
		return nil, err
	}
	w, err := c.ws.Writer(context.Background(), websocket.MessageBinary)
	if err = c.out.end(err); err != nil {
		return nil, err
	}
	return fragments{c, w}, nil
}

// fragments is a message being written.
type fragments struct {
	c *Conn
	w io.WriteCloser
}

// Write sends a fragment.
func (f fragments) Write(p []byte) (int, error) {
	if err := f.c.out.begin(); err != nil {
		return 0, err
	}
	n, err := f.w.Write(p)
	return n, f.c.out.end(err)
}

// Close ends the message.
func (f fragments) Close() error {
	if err := f.c.out.begin(); err != nil {
		return err
	}
	return f.c.out.end(f.w.Close())
}

// Close says goodbye and waits some seconds for the client's answer.
func (c *Conn) Close() error { return c.CloseWith(int(websocket.StatusNormalClosure)) }

// CloseWith closes as Close does, with another status than that of an orderly end.
func (c *Conn) CloseWith(status int) error {
	defer c.in.stop()
	defer c.out.stop()
	return c.ws.Close(websocket.StatusCode(status), "")
}

// Cut ends the connection at once.
func (c *Conn) Cut() error { return c.ws.CloseNow() }

// LocalAddr returns the node's address.
func (c *Conn) LocalAddr() net.Addr { return c.local }

// RemoteAddr returns the client's address.
func (c *Conn) RemoteAddr() net.Addr { return c.remote }

// SetDeadline sets both deadlines.
func (c *Conn) SetDeadline(t time.Time) error {
	c.in.set(t, c.cut)
	c.out.set(t, c.cut)
	return nil
}

// SetReadDeadline bounds the Read that waits and those to come.
func (c *Conn) SetReadDeadline(t time.Time) error {
	c.in.set(t, c.cut)
	return nil
}

// SetWriteDeadline bounds the Write that waits and those to come.
func (c *Conn) SetWriteDeadline(t time.Time) error {
	c.out.set(t, c.cut)
	return nil
}

func (c *Conn) cut() { _ = c.ws.CloseNow() } // who waits learns that the deadline passed

// deadline is that of one direction. The zero value has none.
type deadline struct {
	mu      sync.Mutex
	timer   *time.Timer
	round   int  // counts the settings: a timer of an earlier one means nothing
	busy    bool // a Read or Write is under way
	expired bool
}

// begin refuses when the deadline has passed already.
func (d *deadline) begin() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.expired {
		return os.ErrDeadlineExceeded
	}
	d.busy = true
	return nil
}

// end returns what became of what began.
func (d *deadline) end(err error) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.busy = false
	if err != nil && d.expired {
		return os.ErrDeadlineExceeded
	}
	return err
}

// set arms the timer; cut ends what waits when it rings.
func (d *deadline) set(t time.Time, cut func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.round++
	d.expired = false
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
	if t.IsZero() {
		return
	}
	round := d.round
	d.timer = time.AfterFunc(time.Until(t), func() {
		if d.ring(round) {
			cut()
		}
	})
}

// ring reports whether something waits that the timer must end.
func (d *deadline) ring(round int) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if round != d.round {
		return false
	}
	d.expired = true
	return d.busy
}

func (d *deadline) stop() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.round++
	if d.timer != nil {
		d.timer.Stop()
	}
}
