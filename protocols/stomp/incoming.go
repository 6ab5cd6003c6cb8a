package stomp

import (
	"fmt"

	"github.com/selvedge-mq/selvedge/protocols/stomp/frame"
	"github.com/selvedge-mq/selvedge/routing"
)

// incoming is a SEND whose body comes in pieces: a large message on its way to the
// broker. A connection has one at a time, since frames are not interleaved.
type incoming struct {
	up       routing.Upload // nil: it has failed, or was refused, and the rest is dropped
	token    uint64         // of its request
	part     []byte         // gathered until it is worth a call
	underway int            // parts that have no result
	full     bool           // the broker asked to wait for them
}

// upload begins a large message. [STOMP 1.2 SEND]
func (m *machine) upload(e *routing.Envelope, f *frame.Frame, values *sendValues) {
	m.fillPayload(e, f, values)
	e.Payload = m.payload
	if f.HasLength {
		e.Size = int64(len(m.payload) + f.Length)
	}
	m.incoming = &incoming{
		up:    m.session.Upload(e),
		token: m.begin(f, pending{request: requestUpload, waits: 1}),
	}
	e.Payload, e.Size = nil, 0
	m.goOn(f)
}

// outgrows reports whether a message is a large one by its headers: its body is none.
func (m *machine) outgrows(f *frame.Frame) bool {
	l := &m.fe.limits
	return len(m.headers)+len(f.Body) > l.MessageSize && l.LargeSize > l.MessageSize
}

// refuseLarge says why a message cannot be a large one.
func (m *machine) refuseLarge(e *routing.Envelope, values *sendValues, copies int) error {
	var what string
	switch {
	case len(values[sendTransaction]) > 0:
		what = "in a transaction"
	case e.Address.Kind == routing.KindTopic || e.Address.Kind == routing.KindTempTopic:
		what = "to a topic"
	case copies > 0:
		what = "to several destinations"
	default:
		return nil
	}
	return &wireError{
		code:    routing.CodeTooLarge,
		message: fmt.Sprintf("a message %s has at most %d octets (whole-message-size)", what, m.fe.limits.MessageSize),
	}
}

// goOn takes a piece of the body.
func (m *machine) goOn(f *frame.Frame) {
	in := m.incoming
	for body := f.Body; in.up != nil && len(body) > 0; {
		body = body[in.gather(body):]
		if len(in.part) == routing.MaxPart {
			m.putPart(in)
		}
	}
	if f.More {
		return
	}
	m.incoming = nil
	if in.up == nil {
		return
	}
	if len(in.part) > 0 {
		m.putPart(in)
	}
	m.pending.at(in.token).request = requestSend
	m.sends++
	m.received++
	if !in.up.Commit(m.results, in.token) {
		m.full = true
	}
}

// gather adds what fits into the part and returns how much that is. The memory grows with
// what came, not to what the client announced.
func (in *incoming) gather(body []byte) int {
	n := min(len(body), routing.MaxPart-len(in.part))
	if need := len(in.part) + n; need > cap(in.part) {
		in.part = append(make([]byte, 0, min(max(need, 2*cap(in.part)), routing.MaxPart)), in.part...)
	}
	in.part = append(in.part, body[:n]...)
	return n
}

func (m *machine) putPart(in *incoming) {
	in.underway++
	m.pending.at(in.token).waits++
	if !in.up.Write(in.part, m.results, in.token) {
		in.full = true
	}
	in.part = in.part[:0]
}

// partDone takes the result of a part.
func (m *machine) partDone(token uint64) {
	in := m.incoming
	if in == nil || in.token != token || in.underway == 0 {
		return
	}
	if in.underway--; in.underway == 0 {
		in.full = false
	}
}

// waits reports whether the broker must be waited for before more is read.
func (in *incoming) waits(most int) bool {
	return in != nil && in.up != nil && in.underway > 0 && (in.full || in.underway*routing.MaxPart >= most)
}

// giveUp ends the upload, if there is one.
func (m *machine) giveUp() {
	if in := m.incoming; in != nil && in.up != nil {
		if p := m.pending.at(in.token); m.abortUpload(p) && p.waits == 0 {
			m.finish(p)
			m.popPending()
		}
	}
}

// abortUpload ends the upload of a request, if it has one under way, without a message
// and without its RECEIPT. What the client still sends of it is dropped.
func (m *machine) abortUpload(p *pending) bool {
	in := m.incoming
	if p.request != requestUpload || in == nil || in.up == nil {
		return false
	}
	in.up.Abort()
	in.up, in.part = nil, nil
	m.undo(p)
	p.waits-- // of the commit
	return true
}

// skip drops the rest of a frame that was refused.
func (m *machine) skip(f *frame.Frame) {
	if f.More {
		m.incoming = &incoming{}
	}
}

// cutShort answers a breach of the framing. In the middle of a large message it is
// about that one, whose receipt the reader does not know any more.
func (m *machine) cutShort(e *frame.SyntaxError) {
	receipt, has := e.Receipt, e.Receipt != ""
	if in := m.incoming; in != nil && in.up != nil {
		if p := m.pending.at(in.token); p.receipt != 0 {
			r := m.receipts.at(p.receipt - 1)
			receipt, has = string(m.ids.get(r.at, r.size)), true
		}
		m.giveUp()
	}
	w := invalid("%s", e.Reason)
	if e.Detail != "" {
		w.detail = e.Reason + ": " + e.Detail
	}
	if w.status = statusBroken; e.TooBig {
		w.code, w.status = routing.CodeTooLarge, statusTooBig
	}
	m.breach(w, receipt, has)
}
