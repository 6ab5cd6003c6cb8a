package stomp

import (
	"github.com/selvedge-mq/selvedge/internal/mailbox"
	"github.com/selvedge-mq/selvedge/routing"
)

// gathering is a large message of another protocol that has to be whole before it can
// be converted: its body is not one run of bytes. It stays at the front of the backlog
// meanwhile. Nothing of it is written, so only the deliveries behind it wait, and it
// can be given back as they can.
type gathering struct {
	events *mailbox.Mailbox[event]
	whole  []byte // the payload, as far as it has come
	size   int
}

// gathers reports whether the node holds messages of that size as a whole, so that a
// large one may be converted as the others are.
func (m *machine) gathers(e *routing.Envelope) bool {
	return e.Encoding != routing.EncodingSTOMP && m.fe.env.Codecs[e.Encoding] != nil && e.Size <= int64(m.fe.limits.MessageSize)
}

// gather begins to make a delivery whole.
func (m *machine) gather(d *delivery) {
	e := &d.d.Envelope
	g := &gathering{events: m.events, size: int(e.Size)}
	g.whole = append(make([]byte, 0, g.size), e.Payload...)
	d.gathering = g
	g.ask(d)
}

// ask asks for the next piece.
func (g *gathering) ask(d *delivery) {
	d.sub.sub.Read(d.d.Tag, int64(len(g.whole)), min(g.size-len(g.whole), routing.MaxPart), g, 0)
}

// Piece implements routing.PieceSink.
func (g *gathering) Piece(p routing.Piece) {
	g.events.Put(event{run: func(m *machine) { m.gathered(g, p) }})
}

// gathered takes a piece. With the last one the delivery is as if it had come whole.
// Without it the message goes back: it is read again when there is a leader, and one
// that cannot be read counts a failed attempt each time.
func (m *machine) gathered(g *gathering, p routing.Piece) {
	if m.backlog.len() == 0 || m.backlog.front().gathering != g {
		return // it was given back
	}
	d := m.backlog.front()
	if p.Err != nil {
		m.debug().Err(p.Err).Str("addr", d.sub.name).Msg("large message given back: it did not come whole")
		outcome := routing.Outcome{Kind: routing.Modified, DeliveryFailed: true}
		switch routing.CodeOf(p.Err) { //nolint:exhaustive // the others say something about the message
		case routing.CodeTimeout, routing.CodeUnavailable, routing.CodeClosed:
			outcome = routing.Outcome{Kind: routing.Released}
		}
		d.sub.sub.Settle(d.d.Tag, outcome, nil, 0)
		m.regrant(d.sub, 1)
		m.held -= m.backlog.pop().size
		return
	}
	g.whole = append(g.whole, p.Bytes...)
	if len(g.whole) < g.size {
		g.ask(d)
		return
	}
	d.d.Envelope.Payload, d.gathering = g.whole, nil
}
