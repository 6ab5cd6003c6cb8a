package sim_test

import (
	"bytes"
	"time"

	"github.com/selvedge-mq/selvedge/routing"
)

// body is what a large message has behind its head.
func (m *message) body() []byte {
	b := make([]byte, routing.LeastPart*(m.id%3)+1+m.id*7%300)
	for i := range b {
		b[i] = byte('a' + (m.id+i)%26)
	}
	return b
}

// sendLarge uploads a message, all at once or part by part. Meanwhile its producer sends
// nothing else, so that numbers stand for the order.
func (c *client) sendLarge(m *message, token uint64) {
	m.large = true
	c.w.uploads++
	u := c.session.Upload(m.envelope(c.w))
	rest, slow := m.body(), c.w.chance(0.7)
	c.writing = true
	var next func()
	next = func() {
		for len(rest) > 0 {
			n := min(len(rest), routing.LeastPart)
			u.Write(rest[:n], nil, 0)
			rest = rest[n:]
			if slow {
				c.w.after(c.w.between(time.Millisecond, 300*time.Millisecond), func() { c.act(next) })
				return
			}
		}
		c.writing = false
		c.w.notef("commit %s message %d request %d", c.name, m.id, token)
		u.Commit(c, token)
	}
	next()
}

// reader reads a large delivery piece by piece.
type reader struct {
	tag  routing.Tag
	m    *message
	head int
	got  []byte
	then func()
}

// readLarge reads a delivery to its end, or until it is not the client's any more.
func (c *client) readLarge(d *routing.Delivery, m *message, then func()) {
	head := len(d.Envelope.Payload)
	if want := int64(head + len(m.body())); !m.large || d.Envelope.Size != want {
		c.w.violated("%v: delivered with a size of %d, want %d", m, d.Envelope.Size, want)
		return
	}
	c.readOn(&reader{tag: d.Tag, m: m, head: head, then: then})
}

func (c *client) readOn(r *reader) {
	if c.closing || c.closed {
		return
	}
	if c.readers == nil {
		c.readers = map[uint64]*reader{}
	}
	c.tokens++
	c.readers[c.tokens] = r
	most := 1 + c.w.rng.IntN(routing.LeastPart)
	c.w.notef("read %s message %d at %d request %d", c.name, r.m.id, len(r.got), c.tokens)
	c.sub.Read(r.tag, int64(r.head+len(r.got)), most, c, c.tokens)
}

// Piece implements routing.PieceSink.
func (c *client) Piece(p routing.Piece) {
	c.w.emit(source{kind: outCallback, node: c.proc.index, who: c.index}, func() {
		c.act(func() { c.piece(p) })
	})
	c.proc.hold()
}

func (c *client) piece(p routing.Piece) {
	r := c.readers[p.Token]
	if r == nil {
		c.w.violated("%s: read %d ended twice", c.name, p.Token)
		return
	}
	delete(c.readers, p.Token)
	c.w.notef("piece %s message %d at %d of %d code %v", c.name, r.m.id, len(r.got), len(p.Bytes), routing.CodeOf(p.Err))
	switch routing.CodeOf(p.Err) {
	case routing.CodeOK:
		r.got = append(r.got, p.Bytes...)
	case routing.CodeTimeout, routing.CodeUnavailable, routing.CodeFull:
	case routing.CodeStale, routing.CodeClosed:
		r.then()
		return
	default:
		c.w.violated("%v: reading it at %d: %v", r.m, len(r.got), p.Err)
		return
	}
	want := r.m.body()
	switch {
	case !bytes.HasPrefix(want, r.got):
		c.w.violated("%v: read something else than was sent, up to %d", r.m, len(r.got))
	case len(r.got) < len(want):
		c.w.after(c.w.between(100*time.Microsecond, 200*time.Millisecond), func() { c.act(func() { c.readOn(r) }) })
	default:
		c.w.read++
		r.then()
	}
}
