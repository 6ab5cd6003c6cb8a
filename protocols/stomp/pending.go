package stomp

import (
	"github.com/selvedge-mq/selvedge/protocols/stomp/frame"
	"github.com/selvedge-mq/selvedge/routing"
)

type request uint8

const (
	requestSend   request = iota
	requestUpload         // a large message that the client still sends
	requestSubscribe
	requestUnsubscribe
	requestSettle
	requestCommit
	requestCreate // of a temporary destination
)

// pending is a request that the broker has not answered; its number in the ring
// is the token.
type pending struct {
	request request
	failed  bool   // one of the results was an error
	helps   bool   // made for the sake of the request behind it, whose failure it is
	waits   int    // results still to come
	size    int    // of a send's payload
	receipt uint64 // 1 + number of the receipt, 0 without
	also    uint64 // how many receipts before it are due with it
	sub     *subscription
	tx      *transaction // of a commit
	within  *transaction // of a send
}

// receipt is a RECEIPT to be written, in the order of the requests.
type receipt struct {
	at   uint64 // of the id in ids
	size uint64
	done bool
	void bool          // ERROR was the answer
	sub  *subscription // gets its first credit behind the RECEIPT
}

// begin notes a request and returns its token.
func (m *machine) begin(f *frame.Frame, p pending) uint64 {
	if id, ok := f.Get("receipt"); ok {
		p.receipt = 1 + m.due(id)
	}
	return m.pending.push(p)
}

// due notes a RECEIPT and returns its number.
func (m *machine) due(id []byte) uint64 {
	return m.receipts.push(receipt{at: m.ids.push(id), size: uint64(len(id))})
}

// done answers a frame that is dealt with already.
func (m *machine) done(f *frame.Frame) {
	if _, ok := f.Get("receipt"); !ok {
		return
	}
	m.finish(m.pending.at(m.begin(f, pending{request: requestSettle})))
	m.popPending()
}

// complete takes results of the broker.
func (m *machine) complete(results []routing.Result) {
	for _, r := range results {
		if m.pending.has(r.Token) {
			m.result(r)
		}
	}
	m.progress()
}

func (m *machine) result(r routing.Result) {
	p := m.pending.at(r.Token)
	if p.waits == 0 {
		return
	}
	p.waits--
	m.partDone(r.Token)
	if r.Err != nil && !p.failed && (p.request != requestSettle || routing.CodeOf(r.Err) != routing.CodeStale) {
		p.failed = true
		if p.within != nil {
			p.within.lack()
		}
		m.failed(r.Token, r.Err)
	}
	if p.waits > 0 {
		return
	}
	m.finish(p)
	m.popPending()
}

// popPending drops the requests at the front that are done.
func (m *machine) popPending() {
	for m.pending.len() > 0 && m.pending.front().waits == 0 {
		m.pending.pop()
	}
}

// failed answers a failed request with ERROR, which names the receipt of the
// frame that asked for it.
func (m *machine) failed(token uint64, err error) {
	failed := token
	for m.pending.at(token).helps && m.pending.has(token+1) {
		token++
	}
	p := m.pending.at(token)
	receipt, has := "", p.receipt != 0 && m.receipts.has(p.receipt-1)
	if has {
		r := m.receipts.at(p.receipt - 1)
		if r.void {
			return // one of its results was an error before
		}
		receipt = string(m.ids.get(r.at, r.size))
	}
	m.abortUpload(m.pending.at(failed))
	if p := m.pending.at(failed); m.keepsOpen() && m.survives(p, err) {
		m.undo(p)
		m.tell(err, receipt, has)
		return
	}
	m.fail(err, receipt, has)
}

// survives reports whether the connection may go on without a request: the client
// has to know where it stands.
func (m *machine) survives(p *pending, err error) bool {
	if p.request == requestCommit {
		code := routing.CodeOf(err)
		return code != routing.CodeTimeout && code != routing.CodeUnavailable && code != routing.CodeInternal
	}
	return !p.helps
}

// undo takes back what a request that failed had changed.
func (m *machine) undo(p *pending) {
	if s := p.sub; s != nil && p.request == requestSubscribe {
		s.closing = true
		m.drop(s)
	}
	if p.tx != nil {
		m.letGo(p.tx)
		p.tx.held = nil
	}
	for n := p.receipt - p.also; p.receipt != 0 && n <= p.receipt; n++ {
		m.receipts.at(n - 1).void = true
	}
}

// finish ends a request all of whose results are there.
func (m *machine) finish(p *pending) {
	sub := p.sub
	switch p.request {
	case requestSend:
		m.sends--
		m.sendBytes -= p.size
		if p.within != nil {
			p.within.sends--
			p.within = nil
		}
	case requestUnsubscribe:
		sub = nil
	case requestCommit:
		m.commits--
		m.committed(p.tx)
		p.tx = nil
	case requestUpload, requestSubscribe, requestSettle, requestCreate:
	}
	if p.receipt == 0 {
		m.start(sub)
		return
	}
	for n := p.receipt - 1 - p.also; n < p.receipt; n++ {
		m.receipts.at(n).done = true
	}
	m.receipts.at(p.receipt - 1).sub = sub
	m.writeReceipts()
}

// writeReceipts writes the RECEIPT frames that are due, strictly in the order
// of the requests: many clients take the next frame for the answer.
func (m *machine) writeReceipts() {
	for m.receipts.len() > 0 && m.receipts.front().done {
		r := m.receipts.pop()
		if m.state != stateClosing && !m.failing && !r.void {
			m.appendReceipt(m.ids.get(r.at, r.size))
		}
		m.ids.drop(r.at + r.size)
		m.start(r.sub)
	}
}

func (m *machine) appendReceipt(id []byte) {
	if m.muted {
		return
	}
	dst := frame.AppendCommand(m.out, frame.Receipt)
	dst = frame.AppendEcho(dst, m.version, "receipt-id", id)
	m.out = frame.AppendBody(dst, "")
}
