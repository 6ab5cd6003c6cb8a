package stomp

import (
	"bytes"
	"slices"
	"testing"
	"unicode/utf8"

	"github.com/selvedge-mq/selvedge/internal/mailbox"
	"github.com/selvedge-mq/selvedge/protocols"
	"github.com/selvedge-mq/selvedge/protocols/prototest"
	"github.com/selvedge-mq/selvedge/protocols/stomp/frame"
	"github.com/selvedge-mq/selvedge/routing"
)

// drive is a machine without a connection: it is fed frames and directions.
type drive struct {
	m       *machine
	l       *ledger
	out     []byte
	asked   []string // receipts, in order
	logins  int      // under way
	refused bool     // the next login is
	opened  bool     // a session was
	cut     bool     // the connection was lost, or gave up what was under way
}

var driveLimits = protocols.Limits{Prefetch: 3, InFlight: 20, InFlightBytes: 8000}

// newDrive returns a machine that has logged in, or waits for CONNECT.
func newDrive(t *testing.T, dialect Dialect, keepOpen, login bool, version frame.Version) *drive {
	t.Helper()
	l := &ledger{t: t, commits: make(map[uint64]*ledgerTx)}
	fe, err := New(Options{
		Env:     protocols.Env{Broker: l, Auth: prototest.Users{}, Limits: driveLimits, Codecs: routing.Codecs{routing.EncodingAMQP: plainCodec{}}},
		Dialect: dialect, Switches: Switches{KeepOpen: keepOpen}, Limits: Limits{Transactions: 3, Actions: 9, Subscriptions: 5, Temporary: 3},
	})
	if err != nil {
		t.Fatal(err)
	}
	d := &drive{l: l, opened: !login}
	d.m = &machine{
		fe: fe, state: stateOpen, version: version, session: l, sessionID: "S",
		results: completer{mailbox.New[routing.Result]()}, deliveries: mailbox.New[delivery](), events: mailbox.New[event](),
		subs: make(map[subKey]*subscription), acks: make(map[ackKey]ackPlace),
	}
	d.m.login = nobodyLogsIn
	if login {
		d.m.state, d.m.session, d.m.version = stateNew, nil, frame.V10
	}
	return d
}

// nobodyLogsIn starts no login: logIn ends it when its time has come.
func nobodyLogsIn[L any](L, routing.SessionOptions) {}

// logIn ends the logins that are under way.
func (d *drive) logIn() {
	for ; d.logins > 0; d.logins-- {
		if d.refused {
			d.m.loggedIn(nil, "", &routing.Error{Code: routing.CodeUnauthorized, Op: "login", Reason: "no"})
			continue
		}
		d.opened = true
		d.m.loggedIn(d.l, "", nil)
	}
}

// frame hands a frame over when the machine takes it. It takes it some time: when
// everything is answered and written.
func (d *drive) frame(f *frame.Frame) {
	for n := 0; d.m.mustWait(f) || d.m.state == stateLogin || d.m.state == stateOpen && !d.m.takesFrames(); n++ {
		if n > 100 {
			d.l.t.Fatalf("%s is never taken", f.Command)
		}
		d.logIn()
		d.answer(d.l.due(0, false), false)
		d.pieces(nil)
		d.flush()
	}
	if !d.m.takesFrames() {
		return
	}
	if receipt, ok := f.Get("receipt"); ok && f.Command != frame.Connect && f.Command != frame.Stomp {
		d.asked = append(d.asked, string(receipt))
	}
	before := d.m.state
	d.m.frame(f)
	if before == stateNew && d.m.state == stateLogin {
		d.logins++
	}
	d.bounded(f)
}

// bounded finds what the machine holds beyond its limits.
func (d *drive) bounded(f *frame.Frame) {
	m, l := d.m, driveLimits
	const each = 10 // requests of one frame: a SEND to new temporary destinations
	if most := l.InFlight + each; m.pending.len() > most {
		d.l.t.Errorf("got %d requests under way behind %s, want at most %d", m.pending.len(), f.Command, most)
	}
	if most := 2*l.InFlightBytes + m.fe.limits.MessageSize; m.sendBytes > most || m.kept > l.InFlightBytes {
		d.l.t.Errorf("got %d octets under way and %d kept behind %s, want at most %d and %d", m.sendBytes, m.kept, f.Command, most, l.InFlightBytes)
	}
	if most := driveLimits.Prefetch * 5; len(m.acks) > most*20 {
		d.l.t.Errorf("got %d messages that wait for ACK", len(m.acks))
	}
}

// What a turn does beside the ordinary, in the upper half of its octet.
const (
	turnFails     = 1 + iota // the last result is a failure
	turnTurned               // results come in another order
	turnLate                 // a result stays behind
	turnNoPiece              // the pieces of large messages do not come
	turnCancelled            // the broker ends a subscription
	turnExpired              // an hour passes
	turnDeaf                 // the client reads no more
	turnGone                 // the client goes
	turnLost                 // the connection is lost
	turnDraining             // the node stops
	turnAbandoned            // and waits no longer
	turnFull                 // the node is full, or not any more
	turnRefused              // logins are refused, or not any more
	turnRest                 // the connection gives memory back
)

// turn is what the connection does between frames: bit by bit of what.
func (d *drive) turn(what byte) {
	rare := what >> 4
	if what&1 != 0 {
		d.l.deliver()
		d.m.deliver(d.m.deliveries.Take(nil))
	}
	if what&2 != 0 {
		behind := 0
		if rare == turnLate {
			behind = 1
		}
		d.answer(d.l.due(behind, rare == turnTurned), rare == turnFails)
		d.logIn()
	}
	if what&4 != 0 {
		d.m.pump()
		d.pieces(nil)
	}
	d.rare(rare)
	if what&8 != 0 {
		d.m.grantAgain()
		d.flush()
	}
}

func (d *drive) rare(rare byte) {
	switch rare {
	case turnNoPiece:
		d.pieces(&routing.Error{Code: routing.CodeTimeout, Op: "read"})
	case turnCancelled:
		d.l.cancel()
		d.pieces(nil)
	case turnExpired:
		d.m.now += 3600_000
		if d.m.state == stateOpen {
			d.m.untilExpired(false)
		}
	case turnDeaf:
		if d.m.state >= stateOpen && !d.m.muted {
			d.m.mute()
		}
	case turnGone:
		d.m.leave(true)
	case turnLost:
		d.cut = true
		d.m.leave(false)
	case turnDraining:
		if d.m.state < stateLeaving {
			d.m.farewell = stopping(protocols.ErrDraining)
		}
		d.m.leave(true)
	case turnAbandoned:
		if d.m.state == stateLeaving {
			d.cut = true
			d.m.abandon()
		}
	case turnFull:
		d.l.full = !d.l.full
	case turnRefused:
		d.refused = !d.refused
	case turnRest:
		d.m.rest()
	}
}

// answer gives results, the last one as a failure if asked.
func (d *drive) answer(results []routing.Result, fails bool) {
	if n := len(results); fails && n > 0 {
		results[n-1].Err = &routing.Error{Code: routing.CodeFull, Op: "send", Reason: "full"}
	}
	for _, r := range results {
		d.l.ends(r)
	}
	d.m.complete(results)
	d.m.progress()
}

// pieces answers the reads that are due, and tells what else the broker said.
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
	if d.m.muted {
		d.m.dropOut()
	}
	for len(d.m.out) > 0 || d.m.outgoing != nil {
		o, granted, ok := d.m.nextOutput(nil)
		if !ok {
			return
		}
		for part := range o.parts {
			d.out = append(d.out, part...)
		}
		for _, g := range granted {
			d.m.wrote(g.sub, g.n)
		}
		d.m.wroteLarge()
	}
}

// finish lets everything end and looks at what came out.
func (d *drive) finish(t *testing.T) {
	t.Helper()
	d.m.pump()
	d.cut = d.cut || d.m.incoming != nil
	d.m.leave(true)
	d.logIn()
	for range 10 {
		d.answer(d.l.due(0, false), false)
		d.pieces(nil)
		d.flush()
	}
	d.m.closeSession()
	d.accounts(t)
	if d.m.state != stateClosing || d.l.closed != d.opened {
		t.Errorf("got state %d and closed %v at the end", d.m.state, d.l.closed)
	}
	d.late(t)
	if d.m.muted {
		return // what is written ends where a large message broke off
	}
	d.judge(t)
}

// accounts holds what the machine counts to what there is.
func (d *drive) accounts(t *testing.T) {
	t.Helper()
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
	if !d.cut && (d.m.sends != 0 || d.m.sendBytes != 0 || d.m.commits != 0) && !d.m.failing && d.m.pending.len() == 0 {
		t.Errorf("got %d sends of %d octets and %d commits under way at the end", d.m.sends, d.m.sendBytes, d.m.commits)
	}
}

// late tells a machine that has ended what comes too late. It answers nothing.
func (d *drive) late(t *testing.T) {
	t.Helper()
	var results []routing.Result
	for n := range d.m.pending.tail {
		results = append(results, routing.Result{Token: n, Err: &routing.Error{Code: routing.CodeFull, Op: "send"}})
	}
	d.m.complete(results)
	for _, s := range d.m.subs {
		d.m.deliver([]delivery{{sub: s}})
		s.Closed(&routing.Error{Code: routing.CodeDeleted, Op: "subscribe"})
		s.Drained(0)
	}
	d.pieces(nil)
	d.m.pump()
	d.m.grantAgain()
	d.m.leave(true)
	d.m.progress()
	if len(d.m.out) > 0 || d.m.outgoing != nil || d.m.takesFrames() {
		t.Errorf("got %q behind the end", d.m.out)
	}
}

// judge looks at the frames that came out.
func (d *drive) judge(t *testing.T) {
	t.Helper()
	rest, errors, connected := len(bytes.ReplaceAll(d.out, []byte{'\n'}, nil)), 0, 0
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
		case "CONNECTED":
			if connected++; connected > 1 || len(answered) > 0 {
				t.Errorf("got %q behind other frames", head)
			}
		default:
			t.Errorf("got the frame %q", head)
		}
	}
	if rest != 0 {
		t.Errorf("got %d octets that are no frame, in %q", rest, d.out)
	}
	d.receipts(t, answered, errors)
}

// receipts holds the RECEIPTs to what was asked for. Each is there when nothing went
// wrong.
func (d *drive) receipts(t *testing.T, answered []string, errors int) {
	t.Helper()
	if errors == 0 && !d.cut && d.m.fe.dialect.receiptAtOnce && len(answered) != len(d.asked) && d.expressible() {
		t.Errorf("got the RECEIPTs %q, want %q", answered, d.asked)
	}
	left := slices.Clone(d.asked)
	for _, a := range answered {
		i := slices.Index(left, a)
		switch {
		case i < 0:
			t.Errorf("got RECEIPT %q, which was not asked for or not in this place: want %q", a, d.asked)
			return
		case d.m.fe.dialect.receiptAtOnce:
			left = left[i+1:]
		default: // a SEND in a transaction is answered later than what came behind it
			left = slices.Delete(left, i, i+1)
		}
	}
}

// expressible reports whether the version can write all receipts that were asked for.
func (d *drive) expressible() bool {
	return !slices.ContainsFunc(d.asked, func(s string) bool { return bytes.ContainsAny([]byte(s), "\x00\n\r") || !utf8.ValidString(s) })
}
