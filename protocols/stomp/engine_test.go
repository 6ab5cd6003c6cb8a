package stomp

import (
	"context"
	"fmt"
	"strings"
	"sync"

	"github.com/selvedge-mq/selvedge/routing"
)

// engine is the broker of a machine's script: it writes down what it is asked for, and
// answers when the script says so. Requests that have an answer are numbered.
type engine struct {
	mu       sync.Mutex
	lines    []string
	requests map[int]func(err error) // that have no answer yet
	last     int                     // request
	subs     []*engineSub
	txs      int
	uploads  int
	key      uint64 // of the last delivery
	opened   int    // sessions
	closed   int
	full     bool // sends ask the front-end to wait
}

// note writes down what was asked for.
func (e *engine) note(format string, args ...any) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.lines = append(e.lines, "? "+fmt.Sprintf(format, args...))
}

// ask writes down a request that has an answer, if there is somebody to take it.
func (e *engine) ask(c routing.Completer, token uint64, format string, args ...any) {
	if c == nil {
		e.note(format, args...)
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.number(func(err error) { c.Complete([]routing.Result{{Token: token, Err: err}}) }, format, args...)
}

// number is ask with the lock held.
func (e *engine) number(answer func(err error), format string, args ...any) {
	e.last++
	e.requests[e.last] = answer
	e.lines = append(e.lines, fmt.Sprintf("? %d ", e.last)+fmt.Sprintf(format, args...))
}

// answer ends a request; false means that there is none.
func (e *engine) answer(n int, err error) bool {
	e.mu.Lock()
	f := e.requests[n]
	delete(e.requests, n)
	e.mu.Unlock()
	if f != nil {
		f(err)
	}
	return f != nil
}

// take returns what was asked for since the last call.
func (e *engine) take() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	lines := e.lines
	e.lines = nil
	return lines
}

// Open waits for its answer.
func (e *engine) Open(ctx context.Context, o routing.SessionOptions) (routing.Session, error) {
	who := o.Principal.Name
	if who == "" {
		who = "nobody"
	}
	if o.ClientID != "" {
		who += " client-id " + o.ClientID
	}
	answered := make(chan error, 1)
	e.mu.Lock()
	e.number(func(err error) { answered <- err }, "open for %s", who)
	e.mu.Unlock()
	select {
	case err := <-answered:
		if err != nil {
			return nil, err
		}
		e.mu.Lock()
		e.opened++
		e.mu.Unlock()
		return engineSession{e}, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// engineSession is the one session of the script's client.
type engineSession struct{ *engine }

func (s engineSession) Send(e *routing.Envelope, c routing.Completer, token uint64) bool {
	s.ask(c, token, "send %s%s", e.Address, bodyOf(e.Payload))
	return s.room()
}

func (e *engine) room() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return !e.full
}

// bodyOf writes the body of a payload.
func bodyOf(payload []byte) string {
	_, body := cutBody(payload)
	return shownBody(string(body))
}

// shownBody writes a body, of a large one how large it is.
func shownBody(body string) string {
	switch {
	case body == "":
		return ""
	case len(body) >= largePiece && strings.Trim(body, "x") == "":
		return fmt.Sprintf(" | %d octets", len(body))
	}
	return " | " + body
}

func (s engineSession) Subscribe(o routing.SubscribeOptions, sink routing.Sink, c routing.Completer, token uint64) routing.Subscription {
	s.mu.Lock()
	sub := &engineSub{engine: s.engine, name: fmt.Sprintf("s%d", len(s.subs)+1), on: o.Address, sink: sink}
	s.subs = append(s.subs, sub)
	s.mu.Unlock()
	settled := ""
	if o.Settled {
		settled = " settled"
	}
	s.ask(c, token, "subscribe %s %s%s", sub.name, o.Address, settled)
	return sub
}

func (s engineSession) Upload(e *routing.Envelope) routing.Upload {
	s.mu.Lock()
	s.uploads++
	u := engineUpload{s.engine, fmt.Sprintf("u%d", s.uploads)}
	s.mu.Unlock()
	s.note("upload %s %s", u.name, e.Address)
	return u
}

func (s engineSession) Begin() routing.Transaction {
	s.mu.Lock()
	s.txs++
	x := engineTx{s.engine, fmt.Sprintf("t%d", s.txs)}
	s.mu.Unlock()
	s.note("begin %s", x.name)
	return x
}

func (s engineSession) CreateTemporary(k routing.Kind, c routing.Completer, token uint64) routing.Address {
	a := routing.Address{Kind: k, Name: "made"}
	s.ask(c, token, "create %s", a)
	return a
}

func (s engineSession) DeleteTemporary(a routing.Address, c routing.Completer, token uint64) {
	s.ask(c, token, "delete %s", a)
}

func (s engineSession) Close() {
	s.mu.Lock()
	s.closed++
	s.mu.Unlock()
	s.note("close")
}

// engineUpload is a large message on its way in.
type engineUpload struct {
	*engine
	name string
}

func (u engineUpload) Write(part []byte, c routing.Completer, token uint64) bool {
	u.ask(c, token, "part of %s, %d octets", u.name, len(part))
	return u.room()
}

func (u engineUpload) Commit(c routing.Completer, token uint64) bool {
	u.ask(c, token, "commit %s", u.name)
	return u.room()
}

func (u engineUpload) Abort() { u.note("abort %s", u.name) }

// engineTx is a transaction.
type engineTx struct {
	*engine
	name string
}

func (x engineTx) Send(e *routing.Envelope, c routing.Completer, token uint64) bool {
	x.ask(c, token, "send in %s %s%s", x.name, e.Address, bodyOf(e.Payload))
	return x.room()
}

func (x engineTx) Settle(s routing.Subscription, t routing.Tag, o routing.Outcome) bool {
	sub, _ := s.(*engineSub)
	x.note("settle in %s %s %d %s", x.name, sub.name, t.Key, outcomeText(o))
	return x.room()
}

func (x engineTx) Commit(c routing.Completer, token uint64) { x.ask(c, token, "commit %s", x.name) }

func (x engineTx) Rollback() { x.note("rollback %s", x.name) }

// engineSub is a subscription, whose credit is counted.
type engineSub struct {
	*engine
	name   string
	on     routing.Address
	sink   routing.Sink
	credit int32
}

func (s *engineSub) Grant(n int32) {
	s.mu.Lock()
	s.credit = max(0, s.credit+n)
	s.mu.Unlock()
	s.note("grant %s %d", s.name, n)
}

func (s *engineSub) Drain() { s.note("drain %s", s.name) }

func (s *engineSub) Settle(t routing.Tag, o routing.Outcome, c routing.Completer, token uint64) {
	s.ask(c, token, "settle %s %d %s", s.name, t.Key, outcomeText(o))
}

func (s *engineSub) Read(t routing.Tag, offset int64, most int, to routing.PieceSink, token uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.number(func(err error) {
		p := routing.Piece{Token: token, Offset: offset, Err: err}
		if err == nil {
			p.Bytes = []byte(strings.Repeat("x", min(most, largePiece)))
		}
		to.Piece(p)
	}, "read %s %d at %d", s.name, t.Key, offset)
}

func (s *engineSub) Close(c routing.Completer, token uint64) { s.ask(c, token, "end %s", s.name) }

// Of a large delivery of a script: its body, and what comes at once.
const (
	largeSize  = 90
	largePiece = 40
)

// deliver hands a message over, if there is credit for it.
func (s *engineSub) deliver(body string) {
	payload := []byte("destination:/queue/" + s.on.Name + "\n\n" + body)
	s.hand(routing.Envelope{Payload: payload})
}

// deliverLarge hands over the beginning of a message of [largeSize].
func (s *engineSub) deliverLarge() {
	head := []byte(fmt.Sprintf("destination:/queue/%s\ncontent-length:%d\n\n", s.on.Name, largeSize))
	s.hand(routing.Envelope{Payload: head, Size: int64(len(head)) + largeSize})
}

func (s *engineSub) hand(e routing.Envelope) {
	s.mu.Lock()
	if s.credit == 0 {
		s.lines = append(s.lines, "? no credit for "+s.name)
		s.mu.Unlock()
		return
	}
	s.credit--
	s.key++
	key := s.key
	s.mu.Unlock()
	e.Address, e.Encoding, e.Priority = s.on, routing.EncodingSTOMP, routing.DefaultPriority
	s.sink.Deliver([]routing.Delivery{{Tag: routing.Tag{Key: key}, Envelope: e}})
}

func outcomeText(o routing.Outcome) string {
	text := map[routing.OutcomeKind]string{
		routing.Accepted: "accepted", routing.Rejected: "rejected", routing.Released: "released", routing.Modified: "modified",
	}[o.Kind]
	if o.DeliveryFailed {
		text += " failed"
	}
	return text
}
