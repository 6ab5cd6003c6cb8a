package frame

import (
	"errors"
	"io"
	"strconv"
	"strings"
	"sync"
)

// ErrTLS says that the client began a TLS handshake on a clear port.
var ErrTLS = errors.New("stomp: the client began a TLS handshake on a clear port")

// SyntaxError is a breach of the framing. What follows it cannot be read.
type SyntaxError struct {
	Reason  string // may be shown to the client
	Detail  string // likewise: which limit was exceeded
	Receipt string // receipt header of the broken frame, as far as it was read
	TooBig  bool   // a limit was exceeded
}

// Error returns the reason.
func (e *SyntaxError) Error() string { return "stomp: " + e.Reason }

// tooBig returns the breach of a limit of what: most octets, or most of its parts.
func tooBig(what, detail string, most int) *SyntaxError {
	return &SyntaxError{
		Reason: "the maximum " + what + " was exceeded", Detail: strings.Replace(detail, "%", strconv.Itoa(most), 1), TooBig: true,
	}
}

// Limits bound one frame.
type Limits struct {
	HeaderCount int // headers of a frame
	HeaderSize  int // octets of a header line; all lines together four times as many
	Body        int // octets of a body
	// Whole is how many octets of a body are read into one frame; those of a larger one
	// come as they arrive, in frames that belong together. This is for SEND alone: no
	// other command has a larger body. 0 means that each body is read into one frame.
	Whole int
	Login int // octets of all header lines, and of the body, before the version is set; 0 is 64 KiB
	// StrictEscapes refuses \r in 1.1, which has no such escape.
	StrictEscapes bool
}

const (
	maxCommand   = 32       // octets of a command
	maxBatch     = 256      // frames of a batch
	bufferSize   = 64 << 10 // octets of a batch that came from the pool
	loginSize    = 1 << 10  // octets of the first buffer before the version is set; it grows
	idleSize     = 512      // octets of the buffer in which an idle connection waits
	defaultLogin = 64 << 10 // Limits.Login when it is not set
	loginHeaders = 100      // headers of a frame before the version is set
)

// Batch holds frames that were read together, and their memory.
type Batch struct {
	Frames []Frame
	spans  []span
	buf    []byte // what was read, up to its length
}

// Pool holds batches that are not in use. The zero value is ready for use.
type Pool struct{ pool sync.Pool }

func (p *Pool) get() *Batch {
	if b, ok := p.pool.Get().(*Batch); ok {
		return b
	}
	return &Batch{buf: make([]byte, 0, bufferSize)}
}

// batch returns a batch from the pool; before the login a small one, because
// whoever it is holds it for as long as the login may take.
func (r *Reader) batch() *Batch {
	if !r.open {
		return &Batch{buf: make([]byte, 0, loginSize)}
	}
	return r.pool.get()
}

// Put gives a batch back; its frames are no longer valid.
func (p *Pool) Put(b *Batch) {
	if cap(b.buf) != bufferSize || cap(b.spans) > 16*maxBatch {
		return // of a login, or grown for one great frame: let it go
	}
	clear(b.Frames)
	b.Frames, b.spans, b.buf = b.Frames[:0], b.spans[:0], b.buf[:0]
	p.pool.Put(b)
}

// Reader reads frames. It holds no buffer but a small one while it waits for an
// idle peer, and allocates nothing in steady state.
type Reader struct {
	src    io.Reader
	pool   *Pool
	limits Limits // in full, behind the login
	parser parser
	next   *Batch // begins with the octets of an incomplete frame, or nil
	hot    bool   // the last read was large: wait for the next one in a large buffer
	open   bool   // the version is set
	err    error  // to be returned when the frames before it were
	idle   [idleSize]byte
}

// NewReader returns a reader of 1.0 frames, of the size that a login needs, until
// SetVersion is called.
func NewReader(src io.Reader, pool *Pool, limits Limits) *Reader {
	r := &Reader{src: src, pool: pool, limits: limits}
	login := limits
	if login.Login == 0 {
		login.Login = defaultLogin
	}
	login.HeaderCount = min(limits.HeaderCount, loginHeaders)
	login.HeaderSize = min(limits.HeaderSize, login.Login)
	login.Body, login.Whole = min(limits.Body, login.Login), 0
	r.parser = parser{limits: login, section: min(4*login.HeaderSize, login.Login)}
	r.parser.reset()
	return r
}

// SetVersion sets the negotiated version and lifts the limits to their full
// size. It must not run at the same time as Read.
func (r *Reader) SetVersion(v Version) {
	r.open = true
	r.parser.version = v
	r.parser.limits = r.limits
	r.parser.section = 4 * r.limits.HeaderSize
}

// Shrink gives the buffer back if it holds nothing. It must not run at the same
// time as Read: it is called after a Read that ended by a deadline.
func (r *Reader) Shrink() {
	r.hot = false
	if r.next != nil && len(r.next.buf) == 0 {
		r.pool.Put(r.next)
		r.next = nil
	}
}

// Read returns the frames that are there, at least one; it waits for the first
// only. A CONNECT or STOMP frame ends a batch, because what follows it depends
// on its answer. Errors come after all frames before them; an error of the
// source that is temporary, as a deadline is, loses nothing: Read may be called
// again. The caller gives the batch to the pool.
func (r *Reader) Read() (*Batch, error) {
	for {
		if b := r.next; b != nil && len(b.buf) > 0 && r.err == nil {
			r.err = r.parser.parse(b)
			if len(b.Frames) > 0 {
				r.next = nil
				r.carry(b)
				return b, nil
			}
			if r.parser.start == len(b.buf) && r.err == nil { // heart-beats alone
				r.next = nil
				r.pool.Put(b)
				r.parser.moved()
			}
		}
		if r.err != nil {
			return nil, r.fail()
		}
		if err := r.fill(); err != nil {
			return nil, err
		}
	}
}

// fail returns the error that ends the reading and frees what is left.
func (r *Reader) fail() error {
	if r.next != nil {
		r.pool.Put(r.next)
		r.next = nil
	}
	return r.err
}

// carry moves the octets behind the last complete frame to the next batch.
func (r *Reader) carry(b *Batch) {
	if rest := b.buf[r.parser.start:]; len(rest) > 0 {
		r.next = r.batch()
		r.next.buf = append(r.next.buf, rest...)
		r.next.spans = append(r.next.spans, b.spans[r.parser.first:]...)
	}
	r.parser.moved()
}

// fill reads once from the source.
func (r *Reader) fill() error {
	b := r.next
	if b == nil && !r.hot {
		n, err := r.src.Read(r.idle[:])
		if n > 0 {
			r.next = r.batch()
			r.next.buf = append(r.next.buf, r.idle[:n]...)
			r.hot = n == len(r.idle)
			return nil
		}
		return err
	}
	if b == nil {
		b = r.batch()
		r.next = b
	}
	r.room(b)
	n, err := r.src.Read(b.buf[len(b.buf):cap(b.buf)])
	b.buf = b.buf[:len(b.buf)+n]
	if n > 0 {
		r.hot = n >= idleSize
		return nil
	}
	return err
}

// room makes room for more octets: it drops what is consumed, then grows by
// what has come already, not by what a client announced.
func (r *Reader) room(b *Batch) {
	if r.parser.start > 0 {
		n := copy(b.buf, b.buf[r.parser.start:])
		b.buf = b.buf[:n]
		r.parser.moved()
	}
	if cap(b.buf)-len(b.buf) >= idleSize {
		return
	}
	size := 2 * cap(b.buf)
	if want := r.parser.want(); want > 0 && want < size {
		size = max(want, len(b.buf)+idleSize)
	}
	b.buf = append(make([]byte, 0, size), b.buf...)
}
