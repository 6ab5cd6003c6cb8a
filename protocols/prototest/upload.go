package prototest

import (
	"bytes"
	"slices"

	"github.com/selvedge-mq/selvedge/routing"
)

// upload gathers the parts of a large message in memory.
type upload struct {
	s     *session
	e     routing.Envelope // its Payload is what came so far
	head  int
	size  int64
	short bool // a part came that only the last may be
	err   error
	ended bool
}

// Upload begins a large message. What Send would refuse, its parts are refused for.
func (s *session) Upload(e *routing.Envelope) routing.Upload {
	u := &upload{s: s, e: *e, head: len(e.Payload), size: e.Size}
	u.e.Payload, u.e.Size = bytes.Clone(e.Payload), 0
	s.uploads = append(s.uploads, u)
	b := s.b
	b.locked(func() {
		b.record.Uploads++
		switch err := b.fail[failKey{"send", e.Address}]; {
		case err != nil:
			u.err = err
		case topic(e.Address.Kind):
			u.fail(routing.CodeTooLarge)
		case b.missing(e.Address):
			u.fail(routing.CodeNotFound)
		case u.head > routing.MaxHead:
			u.fail(routing.CodeInvalid)
		}
	})
	return u
}

func (u *upload) fail(code routing.Code) {
	if u.err == nil {
		u.err = &routing.Error{Code: code, Op: "send", Address: u.e.Address.String()}
	}
}

// Write takes a part in, or fails it as the test asked: of "upload".
func (u *upload) Write(part []byte, c routing.Completer, token uint64) bool {
	own := bytes.Clone(part)
	room := true
	b := u.s.b
	b.locked(func() {
		room = !b.full
		if err := b.fail[failKey{"upload", u.e.Address}]; err != nil && u.err == nil {
			u.err = err
		}
		if u.ended || u.short || len(own) == 0 || len(own) > routing.MaxPart {
			u.fail(routing.CodeInvalid)
		}
		u.short = len(own) < routing.LeastPart
		u.e.Payload = append(u.e.Payload, own...)
		if u.size > 0 && int64(len(u.e.Payload)) > u.size {
			u.fail(routing.CodeTooLarge)
		}
		u.answer(c, token, u.err)
	})
	return room
}

// answer ends a part, when sends are not held.
func (u *upload) answer(c routing.Completer, token uint64, err error) {
	b := u.s.b
	if b.held {
		b.heldOps = append(b.heldOps, heldOp{c: c, token: token, err: err})
		b.record.Held++
		return
	}
	b.complete(c, token, err)
}

// Commit puts the message into its queue.
func (u *upload) Commit(c routing.Completer, token uint64) bool {
	room := true
	b := u.s.b
	b.locked(func() {
		room = !b.full
		if u.ended || u.size > 0 && int64(len(u.e.Payload)) != u.size {
			u.fail(routing.CodeInvalid)
		}
		u.end()
		switch {
		case u.err != nil:
			u.answer(c, token, u.err)
		case b.held:
			b.heldOps = append(b.heldOps, heldOp{effect: func() { b.takeLarge(u.e, u.head) }, c: c, token: token})
			b.record.Held++
		default:
			b.confirm(c, token, func() { b.takeLarge(u.e, u.head) })
		}
	})
	return room
}

// Abort ends the upload without a message.
func (u *upload) Abort() { u.s.b.locked(u.end) }

func (u *upload) end() {
	if !u.ended {
		u.ended = true
		u.s.b.record.Uploads--
		u.s.uploads = slices.DeleteFunc(slices.Clone(u.s.uploads), func(o *upload) bool { return o == u })
	}
}

// InjectLarge sends a message as if another client had uploaded it with a head of
// so many bytes.
func (b *Broker) InjectLarge(e routing.Envelope, head int) {
	e.Payload = bytes.Clone(e.Payload)
	b.locked(func() { b.takeLarge(e, head) })
}

// Read answers with a piece of the message. It can be made to fail: "read".
func (s *subscription) Read(t routing.Tag, offset int64, most int, to routing.PieceSink, token uint64) {
	b := s.b
	b.locked(func() {
		p := routing.Piece{Token: token, Offset: offset}
		refuse := func(code routing.Code) {
			p.Err = &routing.Error{Code: code, Op: "read", Address: s.o.Address.String()}
		}
		m := s.unsettled[t.Key]
		switch err := b.fail[failKey{"read", s.o.Address}]; {
		case err != nil:
			p.Err = err
		case s.closed:
			refuse(routing.CodeClosed)
		case m == nil:
			refuse(routing.CodeStale)
		case m.head == 0 || offset < int64(m.head) || offset >= int64(len(m.e.Payload)) || most < 1 || most > routing.MaxPart:
			refuse(routing.CodeInvalid)
		default:
			p.Bytes = m.e.Payload[offset:min(offset+int64(most), int64(len(m.e.Payload)))]
			if s.o.Settled && offset+int64(len(p.Bytes)) == int64(len(m.e.Payload)) {
				s.settle(t, routing.Outcome{Kind: routing.Accepted})
			}
		}
		b.record.Read += len(p.Bytes)
		b.effects = append(b.effects, func() { to.Piece(p) })
	})
}
