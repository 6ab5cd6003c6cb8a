package stomp

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/rs/zerolog"

	"github.com/selvedge-mq/selvedge/integration/interop/transcript"
	"github.com/selvedge-mq/selvedge/internal/mailbox"
	"github.com/selvedge-mq/selvedge/protocols"
	"github.com/selvedge-mq/selvedge/protocols/prototest"
	"github.com/selvedge-mq/selvedge/protocols/stomp/frame"
	"github.com/selvedge-mq/selvedge/routing"
)

// ledger is a session that keeps accounts: of credit, of deliveries, of what was
// settled. It answers when it is told to, and finds the machine's mistakes.
type ledger struct {
	t       *testing.T
	results []routing.Result
	subs    []*ledgerSub
	commits map[uint64]*ledgerTx // under way, by their tokens
	closed  bool
	keys    uint64
}

func (l *ledger) Open(context.Context, routing.SessionOptions) (routing.Session, error) {
	return l, nil
}

// owe notes a request whose answer is due.
func (l *ledger) owe(c routing.Completer, token uint64) {
	if l.closed {
		l.t.Error("a request after the session's end")
	}
	if c != nil {
		l.results = append(l.results, routing.Result{Token: token})
	}
}

func (l *ledger) Send(e *routing.Envelope, c routing.Completer, token uint64) bool {
	if err := e.Address.Validate(); err != nil {
		l.t.Errorf("a SEND to an address that is none: %v", err)
	}
	l.owe(c, token)
	return true
}

func (l *ledger) Subscribe(o routing.SubscribeOptions, s routing.Sink, c routing.Completer, token uint64) routing.Subscription {
	l.owe(c, token)
	sub := &ledgerSub{l: l, sink: s, settled: o.Settled, open: make(map[routing.Tag]bool)}
	l.subs = append(l.subs, sub)
	return sub
}

func (l *ledger) Upload(e *routing.Envelope) routing.Upload {
	l.t.Errorf("an upload to %v of what fits into a SEND", e.Address)
	return nil
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
}

func (s *ledgerSub) Grant(n int32) { s.credit = max(0, s.credit+int64(n)) }
func (s *ledgerSub) Drain()        {}

func (s *ledgerSub) Read(t routing.Tag, _ int64, _ int, _ routing.PieceSink, _ uint64) {
	s.l.t.Errorf("the delivery %v was read, which came as a whole", t)
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
	x.l.owe(c, token)
	return true
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
	x.l.owe(c, token)
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

// deliver hands a message to each subscription that has credit.
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
		s.sink.Deliver([]routing.Delivery{{Tag: tag, Envelope: routing.Envelope{
			Address: routing.Queue("a"), Encoding: routing.EncodingSTOMP, Payload: []byte("destination:/queue/a\nfoo:a\\cb\n\nbody"),
		}}})
	}
}

// drive is a machine without a connection: it is fed frames and directions.
type drive struct {
	m     *machine
	l     *ledger
	out   []byte
	asked []string // receipts, in order
}

func newDrive(t *testing.T, dialect Dialect, keepOpen bool, version frame.Version) *drive {
	t.Helper()
	l := &ledger{t: t, commits: make(map[uint64]*ledgerTx)}
	fe, err := New(Options{
		Env:     protocols.Env{Broker: l, Auth: prototest.Users{}, Limits: protocols.Limits{Prefetch: 3}},
		Dialect: dialect, Switches: Switches{KeepOpen: keepOpen}, Limits: Limits{Transactions: 3, Actions: 9, Subscriptions: 5, Temporary: 3},
	})
	if err != nil {
		t.Fatal(err)
	}
	return &drive{l: l, m: &machine{
		fe: fe, log: zerolog.Nop(), state: stateOpen, version: version, session: l,
		results: completer{mailbox.New[routing.Result]()}, deliveries: mailbox.New[delivery](), events: mailbox.New[event](),
		subs: make(map[subKey]*subscription), acks: make(map[ackKey]ackPlace),
	}}
}

func (d *drive) frame(f *frame.Frame) {
	if !d.m.takesFrames() {
		return
	}
	if receipt, ok := f.Get("receipt"); ok {
		d.asked = append(d.asked, string(receipt))
	}
	d.m.frame(f)
}

// turn is what the connection does between frames: bit by bit of what.
func (d *drive) turn(what byte) {
	if what&1 != 0 {
		d.l.deliver()
		d.m.deliver(d.m.deliveries.Take(nil))
	}
	if what&2 != 0 {
		d.answer(what&64 != 0)
	}
	if what&4 != 0 {
		d.m.pump()
	}
	if what&8 != 0 {
		d.m.grantAgain()
		d.flush()
	}
	if what&48 == 48 && what&192 == 192 {
		d.m.leave(what&2 != 0)
	}
}

// answer gives the results that are due, the last one as a failure if asked.
func (d *drive) answer(fails bool) {
	results := d.l.results
	d.l.results = nil
	if n := len(results); fails && n > 0 {
		results[n-1].Err = &routing.Error{Code: routing.CodeFull, Op: "send", Reason: "full"}
	}
	for _, r := range results {
		d.l.ends(r)
	}
	d.m.complete(results)
	d.m.progress()
}

// flush is a write that succeeds.
func (d *drive) flush() {
	o := d.m.takeOut()
	for part := range o.parts {
		d.out = append(d.out, part...)
	}
	for _, s := range d.m.written {
		if !s.closing && d.m.state == stateOpen {
			d.m.consumed(s, int(s.encoded))
			s.sub.Grant(s.encoded)
		}
		s.encoded = 0
	}
	d.m.written = d.m.written[:0]
}

// finish lets everything end and looks at what came out.
func (d *drive) finish(t *testing.T) {
	t.Helper()
	d.m.pump()
	d.m.leave(true)
	for range 3 {
		d.answer(false)
	}
	d.flush()
	kept, credit := 0, int32(0)
	for _, s := range d.m.subs {
		kept, credit = kept+s.kept, credit+s.prefetch
	}
	for _, x := range d.m.transactions {
		kept += x.kept
	}
	if d.m.kept != kept || d.m.credit != credit {
		t.Errorf("got %d octets kept and a credit of %d, want %d and %d", d.m.kept, d.m.credit, kept, credit)
	}
	if d.m.state != stateClosing || !d.l.closed {
		t.Errorf("got state %d and closed %v at the end", d.m.state, d.l.closed)
	}
	rest, errors := len(bytes.ReplaceAll(d.out, []byte{'\n'}, nil)), 0
	var answered []string
	for head, body := range frame.Heads(d.out) {
		rest -= len(bytes.ReplaceAll(head, []byte{'\n'}, nil)) + len(bytes.ReplaceAll(body, []byte{'\n'}, nil)) + 1
		if errors > 0 && !d.m.fe.dialect.keepOpen {
			t.Errorf("got %q behind an ERROR", head)
		}
		command, lines, _ := bytes.Cut(head, []byte{'\n'})
		switch string(command) {
		case "RECEIPT":
			value := lines[len("receipt-id:"):]
			if d.m.version != frame.V10 {
				value, _ = frame.Unescape(value)
			}
			answered = append(answered, string(value))
		case "ERROR":
			errors++
		case "MESSAGE":
		default:
			t.Errorf("got the frame %q", head)
		}
	}
	if rest != 0 {
		t.Errorf("got %d octets that are no frame, in %q", rest, d.out)
	}
	if !d.m.fe.dialect.receiptAtOnce {
		return // a SEND in a transaction is answered later than what came behind it
	}
	for _, a := range answered {
		i := slices.Index(d.asked, a)
		if i < 0 {
			t.Errorf("got RECEIPT %q, which was not asked for or not in this place", a)
			return
		}
		d.asked = d.asked[i+1:]
	}
}

// FuzzMachine feeds a machine frames, results, deliveries and writes in any
// order. It must keep its accounts, and write frames only.
func FuzzMachine(f *testing.F) {
	for _, c := range conformanceCases(f) {
		steps, err := c.Steps("1.2", string(ActiveMQ))
		if err != nil {
			f.Fatal(err)
		}
		var in bytes.Buffer
		for _, s := range steps {
			if s.Kind == transcript.Send && in.Len() < 4000 {
				text, _ := s.Expand("1.2")
				in.WriteString(text)
			}
		}
		f.Add(in.Bytes(), []byte{15}, uint8(2), uint8(len(c.Clause)))
		f.Add(in.Bytes(), []byte{7, 5, 14}, uint8(1), uint8(0))
	}
	names := []Dialect{ActiveMQ, Artemis, RabbitMQ, Strict}
	f.Fuzz(func(t *testing.T, in, turns []byte, version, dialect uint8) {
		v := frame.Version(version % 3)
		d := newDrive(t, names[dialect%4], dialect&4 != 0, v)
		var pool frame.Pool
		r := frame.NewReader(bytes.NewReader(in), &pool, frame.Limits{HeaderCount: 30, HeaderSize: 500, Body: 500})
		r.SetVersion(v)
		for n := 0; ; {
			batch, err := r.Read()
			if err != nil {
				break
			}
			for i := range batch.Frames {
				d.frame(&batch.Frames[i])
				if len(turns) > 0 {
					d.turn(turns[n%len(turns)])
					n++
				}
			}
			pool.Put(batch)
		}
		d.finish(t)
	})
}
