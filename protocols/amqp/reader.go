package amqp

import (
	"net"
	"slices"
	"sync/atomic"

	"github.com/selvedge-mq/selvedge/protocols/amqp/frames"
)

// smallRead is what an idle connection waits with: a read that fills it is
// followed by one into a lent buffer.
const smallRead = 512

// batch is what one read brought: whole frames, and perhaps the end.
type batch struct {
	buf    []byte // the frames alias it
	cut    int    // how much of buf is in frames
	frames []inbound
	err    error // after the frames
}

// inbound is a frame's channel and body; an empty body is a heartbeat.
type inbound struct {
	channel uint16
	body    []byte
}

func (b *batch) reset() {
	clear(b.frames)
	*b = batch{buf: b.buf[:0], frames: b.frames[:0]}
}

// rare reports whether the batch begins with a performative that comes once in the
// life of a connection, session or link.
func (b *batch) rare() bool {
	if len(b.frames) == 0 || len(b.frames[0].body) < 3 {
		return false
	}
	switch code := uint64(b.frames[0].body[2]); code {
	case frames.CodeTransfer, frames.CodeFlow, frames.CodeDisposition:
		return false
	}
	return true
}

// reader turns the byte stream into batches of frames. Before the connection's
// goroutines start it serves the negotiation by peek and discard.
type reader struct {
	nc    net.Conn
	pools *pools
	limit uint32        // greatest frame
	count atomic.Uint64 // grows with every read that brought bytes

	small []byte // backs rest while it is short
	rest  []byte // read, not consumed
	held  *batch // has rest's role when the bytes are many
	hot   bool   // the last read filled its buffer
}

func newReader(nc net.Conn, p *pools, limit uint32) *reader {
	small := make([]byte, smallRead)
	return &reader{nc: nc, pools: p, limit: limit, small: small, rest: small[:0]}
}

// peek returns the next n bytes, which stay in place until discard. The buffer
// grows with what came, not to what a header announces: whoever peeks has not
// logged in yet.
func (r *reader) peek(n int) ([]byte, error) {
	for len(r.rest) < n {
		switch have := len(r.rest); {
		case have < cap(r.rest):
		case have < len(r.small):
			r.rest = r.small[:copy(r.small, r.rest)]
		default:
			r.rest = append(make([]byte, 0, min(n, 2*have)), r.rest...)
		}
		k, err := r.nc.Read(r.rest[len(r.rest):cap(r.rest)])
		r.rest = r.rest[:len(r.rest)+k]
		if err != nil && len(r.rest) < n {
			return nil, err
		}
	}
	return r.rest[:n], nil
}

// discard consumes n bytes that peek returned.
func (r *reader) discard(n int) { r.rest = r.rest[n:] }

// next returns the next batch: at least one frame, or an error, or both.
func (r *reader) next() *batch {
	b, err := r.start()
	for {
		b.cutFrames(r.limit)
		if len(b.frames) > 0 || b.err != nil || err != nil {
			break
		}
		var n int
		if len(b.buf) == cap(b.buf) { // a frame larger than the buffer
			b.buf = slices.Grow(b.buf, int(r.limit))
		}
		n, err = r.nc.Read(b.buf[len(b.buf):cap(b.buf)])
		r.got(n)
		b.buf = b.buf[:len(b.buf)+n]
		r.hot = len(b.buf) == cap(b.buf)
	}
	if b.err == nil {
		b.err = err
	}
	if b.err == nil {
		r.keep(b.buf[b.cut:])
	}
	return b
}

// cutFrames finds the whole frames in the buffer. A header that cannot be is the
// batch's error, for the owner to answer behind the frames before it.
func (b *batch) cutFrames(limit uint32) {
	for b.err == nil && len(b.buf)-b.cut >= frames.HeaderSize {
		frame := b.buf[b.cut:]
		h, err := frames.ParseHeader(frame)
		switch {
		case err != nil:
			b.err = err
		case h.Size > limit:
			b.err = connectionError(frames.FramingError, "a frame has %d bytes, at most %d are allowed", h.Size, limit)
		case h.Type != frames.TypeAMQP:
			b.err = connectionError(frames.FramingError, "a SASL frame after the SASL exchange")
		case int(h.Size) > len(frame):
			return
		default:
			b.frames = append(b.frames, inbound{channel: h.Channel, body: frame[h.Body():h.Size:h.Size]})
			b.cut += int(h.Size)
		}
	}
}

// start returns a batch with what was kept, or with a first read. It borrows the
// batch after the read, so that waiting costs no buffer.
func (r *reader) start() (*batch, error) {
	if b := r.held; b != nil {
		r.held = nil
		return b, nil
	}
	var n int
	var err error
	if len(r.rest) == 0 && !r.hot {
		n, err = r.nc.Read(r.small)
		r.got(n)
		r.rest, r.hot = r.small[:n], n == len(r.small)
	}
	b := r.pools.batch()
	if len(r.rest) > 0 {
		b.buf = append(b.buf, r.rest...)
		r.rest = r.small[:0]
		return b, err
	}
	if err == nil {
		n, err = r.nc.Read(b.buf[:cap(b.buf)])
		r.got(n)
		b.buf = b.buf[:n]
		r.hot = n == cap(b.buf)
	}
	return b, err
}

func (r *reader) got(n int) {
	if n > 0 {
		r.count.Add(1)
	}
}

// keep stores the begin of a frame for the next batch.
func (r *reader) keep(rest []byte) {
	if len(rest) <= len(r.small) {
		r.rest = r.small[:copy(r.small, rest)]
		return
	}
	r.held = r.pools.batch()
	r.held.buf = append(r.held.buf, rest...)
}
