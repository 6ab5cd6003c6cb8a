package stomp

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

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
	pieces  []func(err error)    // reads whose answers are due
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
	u.l.owe(c, token)
	return u.came%2 == 0
}

func (u *ledgerUpload) Commit(c routing.Completer, token uint64) bool {
	if u.ended || u.size > 0 && u.size != u.came {
		u.l.t.Errorf("the commit of an upload with %d octets of %d, behind its end: %v", u.came, u.size, u.ended)
	}
	u.ended = true
	u.l.owe(c, token)
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
		Env:     protocols.Env{Broker: l, Auth: prototest.Users{}, Limits: protocols.Limits{Prefetch: 3}, Codecs: routing.Codecs{routing.EncodingAMQP: plainCodec{}}},
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
	for n := 0; d.m.mustWait(f); n++ {
		if n > 100 {
			d.l.t.Fatal("a large message has no end")
		}
		d.pieces(nil)
		d.flush()
	}
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
		d.pieces(nil)
	}
	if what&3 == 3 && what&192 == 64 {
		d.pieces(&routing.Error{Code: routing.CodeTimeout, Op: "read"})
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

// pieces answers the reads that are due.
func (d *drive) pieces(err error) {
	due := d.l.pieces
	d.l.pieces = nil
	for _, f := range due {
		f(err)
	}
	for _, e := range d.m.events.Take(nil) {
		e.run(d.m)
	}
}

// flush is one write after the other, all of which succeed.
func (d *drive) flush() {
	for len(d.m.out) > 0 || d.m.outgoing != nil {
		o, granted, ok := d.m.nextOutput(nil)
		if !ok {
			return
		}
		for part := range o.parts {
			d.out = append(d.out, part...)
		}
		for _, g := range granted {
			if !g.sub.closing && d.m.state == stateOpen {
				d.m.consumed(g.sub, int(g.n))
				g.sub.sub.Grant(g.n)
			}
		}
		d.m.wroteLarge()
	}
}

// finish lets everything end and looks at what came out.
func (d *drive) finish(t *testing.T) {
	t.Helper()
	d.m.pump()
	d.m.leave(true)
	for range 10 {
		d.answer(false)
		d.pieces(nil)
		d.flush()
	}
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
	if d.m.muted {
		return // what is written ends where a large message broke off
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
			value, ok := bytes.CutPrefix(lines, []byte("receipt-id:"))
			if !ok { // 1.0 has no way to write it
				continue
			}
			if d.m.version != frame.V10 {
				value, _ = frame.Unescape(value)
			}
			answered = append(answered, string(value))
		case "ERROR":
			errors++
		case "MESSAGE":
			if string(body) != "body" && string(body) != largeBody {
				t.Errorf("got the body %q", body)
			}
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
	long := strings.Repeat("x", 150)
	f.Add([]byte("SUBSCRIBE\nid:1\ndestination:/queue/a\n\n\x00SEND\ndestination:/queue/a\nreceipt:1\n\n"+long+"\x00SEND\ndestination:/queue/a\nreceipt:2\n\nx\x00DISCONNECT\nreceipt:3\n\n\x00"),
		[]byte{15, 15, 3, 12}, uint8(2), uint8(4))
	f.Add([]byte("SUBSCRIBE\nid:1\ndestination:/queue/a\nack:client\n\n\x00SEND\ndestination:/queue/a\nreceipt:1\ncontent-length:150\n\n"+long+"\x00UNSUBSCRIBE\nid:1\n\n\x00"),
		[]byte{66, 15, 71}, uint8(128), uint8(0))
	names := []Dialect{ActiveMQ, Artemis, RabbitMQ, Strict}
	f.Fuzz(func(t *testing.T, in, turns []byte, version, dialect uint8) {
		v := frame.Version(version % 3)
		d := newDrive(t, names[dialect%4], dialect&4 != 0, v)
		var pool frame.Pool
		src := io.Reader(bytes.NewReader(in))
		if version&128 != 0 { // bodies come in many pieces
			src = iotest.OneByteReader(src)
		}
		r := frame.NewReader(src, &pool, frame.Limits{HeaderCount: 30, HeaderSize: 500, Body: 500, Whole: 100})
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
