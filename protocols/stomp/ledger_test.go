package stomp

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/selvedge-mq/selvedge/routing"
)

// ledger is a session that keeps accounts: of credit, of deliveries, of what was
// settled. It answers when it is told to, and finds the machine's mistakes.
type ledger struct {
	t       *testing.T
	results []owed
	subs    []*ledgerSub
	commits map[uint64]*ledgerTx // under way, by their tokens
	pieces  []func(err error)    // reads whose answers are due
	closed  bool
	full    bool // the next sends ask the front-end to wait
	keys    uint64
}

func (l *ledger) Open(context.Context, routing.SessionOptions) (routing.Session, error) {
	return l, nil
}

// owed is a result that is due.
type owed struct {
	routing.Result
	inOrder bool // behind those of its kind before it: of sends, and of commits
}

// due takes the results that are due, but for so many that stay behind. Turned, they
// come in the other order as far as the contract allows it.
func (l *ledger) due(behind int, turned bool) []routing.Result {
	n := len(l.results) - min(behind, len(l.results))
	var others, all []routing.Result
	for _, r := range l.results[:n] {
		if turned && !r.inOrder {
			others = append(others, r.Result)
			continue
		}
		all = append(all, r.Result)
	}
	l.results = slices.Delete(l.results, 0, n)
	slices.Reverse(others)
	return append(others, all...)
}

// cancel has the broker end the first subscription that is open.
func (l *ledger) cancel() {
	for _, s := range l.subs {
		if !s.closed && !l.closed {
			s.closed, s.credit, s.open = true, 0, make(map[routing.Tag]bool)
			s.sink.Closed(&routing.Error{Code: routing.CodeDeleted, Op: "subscribe", Address: "queue://a"})
			return
		}
	}
}

// owe notes a request whose answer is due.
func (l *ledger) owe(c routing.Completer, token uint64) { l.note(c, token, false) }

// oweInOrder notes one whose answer comes behind those of its kind.
func (l *ledger) oweInOrder(c routing.Completer, token uint64) { l.note(c, token, true) }

func (l *ledger) note(c routing.Completer, token uint64, inOrder bool) {
	if l.closed {
		l.t.Error("a request after the session's end")
	}
	if c != nil {
		l.results = append(l.results, owed{routing.Result{Token: token}, inOrder})
	}
}

func (l *ledger) Send(e *routing.Envelope, c routing.Completer, token uint64) bool {
	if err := e.Address.Validate(); err != nil {
		l.t.Errorf("a SEND to an address that is none: %v", err)
	}
	l.oweInOrder(c, token)
	return !l.full
}

func (l *ledger) Subscribe(o routing.SubscribeOptions, s routing.Sink, c routing.Completer, token uint64) routing.Subscription {
	l.owe(c, token)
	sub := &ledgerSub{l: l, sink: s, settled: o.Settled, open: make(map[routing.Tag]bool), large: make(map[routing.Tag]*ledgerLarge)}
	l.subs = append(l.subs, sub)
	return sub
}

func (l *ledger) Upload(e *routing.Envelope) routing.Upload {
	u := &ledgerUpload{l: l, size: e.Size, came: int64(len(e.Payload))}
	if e.Address.Kind != routing.KindQueue && e.Address.Kind != routing.KindTempQueue {
		l.t.Errorf("an upload to %v", e.Address)
	}
	return u
}

// ledgerUpload is an upload that ends once, and takes nothing behind its end.
type ledgerUpload struct {
	l          *ledger
	size, came int64
	ended      bool
}

func (u *ledgerUpload) Write(part []byte, c routing.Completer, token uint64) bool {
	if u.ended || len(part) == 0 {
		u.l.t.Errorf("a part of %d octets, behind the end of its upload: %v", len(part), u.ended)
	}
	u.came += int64(len(part))
	u.l.oweInOrder(c, token)
	return u.came%2 == 0
}

func (u *ledgerUpload) Commit(c routing.Completer, token uint64) bool {
	if u.ended || u.size > 0 && u.size != u.came {
		u.l.t.Errorf("the commit of an upload with %d octets of %d, behind its end: %v", u.came, u.size, u.ended)
	}
	u.ended = true
	u.l.oweInOrder(c, token)
	return true
}

func (u *ledgerUpload) Abort() {
	if u.ended {
		u.l.t.Error("an upload is aborted behind its end")
	}
	u.ended = true
}

func (l *ledger) Begin() routing.Transaction {
	return &ledgerTx{l: l}
}

// ends has a COMMIT take effect, or not.
func (l *ledger) ends(r routing.Result) {
	x := l.commits[r.Token]
	if x == nil {
		return
	}
	delete(l.commits, r.Token)
	if r.Err != nil {
		x.giveBack()
		return
	}
	for _, h := range x.settles {
		delete(h.sub.open, h.tag)
	}
}

func (l *ledger) CreateTemporary(k routing.Kind, c routing.Completer, token uint64) routing.Address {
	l.owe(c, token)
	l.keys++
	return routing.Address{Kind: k, Name: fmt.Sprint("temporary-", l.keys)}
}

func (l *ledger) DeleteTemporary(_ routing.Address, c routing.Completer, token uint64) {
	l.owe(c, token)
}

func (l *ledger) Close() { l.closed = true }

type ledgerSub struct {
	l       *ledger
	sink    routing.Sink
	settled bool
	closed  bool
	credit  int64
	open    map[routing.Tag]bool // handed out; true: a transaction has it
	large   map[routing.Tag]*ledgerLarge
}

// ledgerLarge is a large delivery: its payload, and where the next read must begin.
type ledgerLarge struct {
	whole []byte
	next  int64
}

func (s *ledgerSub) Grant(n int32) { s.credit = max(0, s.credit+int64(n)) }
func (s *ledgerSub) Drain()        {}

// Read owes a piece of at most 20 octets, or the word that the delivery is over.
func (s *ledgerSub) Read(t routing.Tag, offset int64, most int, to routing.PieceSink, token uint64) {
	d := s.large[t]
	if d == nil || d.next != offset || most < 1 || offset+int64(most) > int64(len(d.whole)) {
		s.l.t.Errorf("%d octets at %d of the delivery %v are read, want what begins at %+v", most, offset, t, d)
		return
	}
	d.next = -1 // until the answer
	s.l.pieces = append(s.l.pieces, func(err error) {
		p := routing.Piece{Token: token, Offset: offset, Err: err}
		if _, ok := s.open[t]; !ok {
			p.Err = &routing.Error{Code: routing.CodeStale, Op: "read"}
		}
		if p.Err == nil {
			p.Bytes = d.whole[offset : offset+int64(min(most, 20))]
			d.next = offset + int64(len(p.Bytes))
		}
		to.Piece(p)
	})
}

func (s *ledgerSub) Settle(t routing.Tag, _ routing.Outcome, c routing.Completer, token uint64) {
	held, ok := s.open[t]
	switch {
	case s.settled:
		s.l.t.Error("a delivery was settled that was settled when it was handed over")
	case s.closed:
		s.l.t.Error("a delivery was settled after the subscription's end")
	case !ok || held:
		s.l.t.Errorf("the delivery %v was settled, which is not the client's any more", t)
	}
	delete(s.open, t)
	s.l.owe(c, token)
}

func (s *ledgerSub) Close(c routing.Completer, token uint64) {
	s.closed, s.open = true, make(map[routing.Tag]bool)
	s.l.owe(c, token)
}

type ledgerTx struct {
	l       *ledger
	ended   bool
	settles []ledgerHeld
}

type ledgerHeld struct {
	sub *ledgerSub
	tag routing.Tag
}

func (x *ledgerTx) Send(_ *routing.Envelope, c routing.Completer, token uint64) bool {
	x.check()
	x.l.oweInOrder(c, token)
	return !x.l.full
}

// ledgerRoom is how many settlements a transaction takes.
const ledgerRoom = 20

func (x *ledgerTx) Settle(s routing.Subscription, t routing.Tag, _ routing.Outcome) bool {
	x.check()
	sub, _ := s.(*ledgerSub)
	if len(x.settles) == ledgerRoom {
		x.giveBack() // nothing of it will have an effect
		return false
	}
	if held, ok := sub.open[t]; !ok || held {
		x.l.t.Errorf("a transaction settles %v, which is not the client's any more", t)
	}
	sub.open[t] = true
	x.settles = append(x.settles, ledgerHeld{sub, t})
	return true
}

func (x *ledgerTx) Commit(c routing.Completer, token uint64) {
	x.check()
	x.ended = true
	x.l.commits[token] = x
	x.l.oweInOrder(c, token)
}

func (x *ledgerTx) Rollback() {
	x.check()
	x.ended = true
	x.giveBack()
}

func (x *ledgerTx) giveBack() {
	for _, h := range x.settles {
		if _, ok := h.sub.open[h.tag]; ok {
			h.sub.open[h.tag] = false
		}
	}
}

func (x *ledgerTx) check() {
	if x.ended {
		x.l.t.Error("a transaction goes on after its end")
	}
}

// largeBody is the body of each large message that is handed out.
const largeBody = "a body of which no more than the beginning comes with the delivery"

// deliver hands a message to each subscription that has credit, every third time a
// large one.
func (l *ledger) deliver() {
	for _, s := range l.subs {
		if s.closed || l.closed || s.credit == 0 {
			continue
		}
		s.credit--
		l.keys++
		tag := routing.Tag{Epoch: 1, Key: l.keys}
		if !s.settled {
			s.open[tag] = false
		}
		e := routing.Envelope{
			Address: routing.Queue("a"), Encoding: routing.EncodingSTOMP, Payload: []byte("destination:/queue/a\nfoo:a\\cb\n\nbody"),
		}
		if l.keys%3 == 0 && !s.settled {
			head := fmt.Sprintf("destination:/queue/a\ncontent-length:%d\n\n", len(largeBody))
			if l.keys%2 == 0 { // one that has to be whole to be converted
				head, e.Encoding = "", routing.EncodingAMQP
			}
			d := &ledgerLarge{whole: []byte(head + largeBody), next: int64(len(head)) + int64(l.keys%9)}
			e.Size, e.Payload = int64(len(d.whole)), d.whole[:d.next]
			s.large[tag] = d
		}
		s.sink.Deliver([]routing.Delivery{{Tag: tag, Envelope: e}})
	}
}
