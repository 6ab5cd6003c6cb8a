package amqp

import (
	"bytes"
	"context"
	"encoding/hex"
	"flag"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/rs/zerolog"

	"github.com/selvedge-mq/selvedge/protocols"
	"github.com/selvedge-mq/selvedge/protocols/amqp/frames"
	"github.com/selvedge-mq/selvedge/protocols/amqp/message"
	"github.com/selvedge-mq/selvedge/protocols/prototest"
	"github.com/selvedge-mq/selvedge/routing"
)

var update = flag.Bool("update", false, "rewrite the answers in testdata/*.txt")

// script runs testdata/name.txt: a conversation of a client with the front-end.
//
//	> 1 attach name=l …     the client sends a performative on channel 1
//	> AMQP 3                the client sends a protocol header
//	> hex 0000…             the client sends bytes
//	> eof                   the client closes its side
//	> … & …                 several of them in one write
//	! hold                  see [prototest.Broker.Direct]
//	! wait 30s              time passes
//	! drain                 the node drains
//	! alone                 and nobody confirms anything any more
//	2> …                    a second client of the same node, and
//	2! eof                  what happens to it
//	< …, 2< …               what came back; written by -update
//
// A comment that holds [18] says that what follows shows assertion 18 of
// assertions.txt.
func script(t *testing.T, name string) {
	t.Helper()
	path := filepath.Join("testdata", name+".txt")
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		got := play(t, string(b))
		if *update {
			if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
				t.Fatal(err)
			}
			return
		}
		if slices.Equal(unordered(string(b)), unordered(got)) {
			return
		}
		if diff := cmp.Diff(strings.Split(string(b), "\n"), strings.Split(got, "\n")); diff != "" {
			t.Errorf("%s (-want +got):\n%s", path, diff)
		}
	})
}

// player plays clients of one front-end as a script says.
type player struct {
	t       *testing.T
	broker  *prototest.Broker
	front   *Frontend
	ctx     context.Context //nolint:containedctx // of every connection of the script
	drain   func()
	alone   chan struct{}
	clients map[string]*actor // by what stands in front of ">"
	idle    bool              // show empty frames
}

// actor is one client of a script.
type actor struct {
	*prototest.Peer
	name    string
	ended   chan error
	said    bool // that the connection ended
	decoder frames.Decoder
}

func play(t *testing.T, text string) string {
	t.Helper()
	p := &player{t: t, broker: prototest.New(), clients: make(map[string]*actor), alone: make(chan struct{})}
	defer p.broker.Close()
	p.broker.ConfirmFirst() // as dispositions are written before transfers
	o := Options{Env: protocols.Env{
		Broker: p.broker, Log: zerolog.Nop(), Node: "n1", Version: "0.1.0",
		Failover: func() []string { return nil }, Alone: p.alone,
	}}
	users := auth{}
	var out strings.Builder
	started := false
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		if _, _, answer := cutMark(line, "< "); answer {
			continue
		}
		out.WriteString(line + "\n")
		switch {
		case line == "" || strings.HasPrefix(line, "#"):
			continue
		case strings.HasPrefix(line, "option "):
			p.option(&o, &users, strings.Fields(line)[1:])
			continue
		}
		if !started {
			started = true
			o.Env.Auth = users.authenticator()
			p.start(o)
			defer p.stop()
		}
		p.do(line)
		synctest.Wait()
		for _, name := range slices.Sorted(maps.Keys(p.clients)) {
			out.WriteString(p.answers(p.clients[name]))
		}
	}
	return out.String()
}

// cutMark cuts a line at its mark: "2> 0 close" is of client 2.
func cutMark(line, mark string) (client, rest string, ok bool) {
	before, rest, ok := strings.Cut(line, mark)
	if !ok || len(before) > 1 || before != "" && (before[0] < '0' || before[0] > '9') {
		return "", "", false
	}
	return before, rest, true
}

func (p *player) option(o *Options, users *auth, words []string) {
	number := func() int {
		n, err := strconv.Atoi(words[1])
		if err != nil {
			p.t.Fatal(err)
		}
		return n
	}
	switch words[0] {
	case "user":
		if users.Users == nil {
			users.Users = prototest.Users{}
		}
		users.Users[words[1]] = words[2]
	case "certificate":
		users.certificate = words[1]
	case "forbid":
		o.Env.Authorizer = forbidden(words[1])
	case "scram":
		users.scram = true
	case "no-bare-amqp":
		o.NoBareAMQP = true
	case "dialect":
		o.Dialect = Dialect(words[1])
	case "queue-prefix":
		o.QueuePrefix = words[1]
	case "topic-prefix":
		o.TopicPrefix = words[1]
	case "in-flight-bytes":
		o.Env.Limits.InFlightBytes = number()
	case "transaction-timeout":
		o.TransactionTimeout = time.Duration(number()) * time.Second
	case "transactions":
		o.Transactions = number()
	case "dynamic-nodes":
		o.DynamicNodes = number()
	case "credit":
		o.Credit = uint32(number())
	case "window":
		o.Window = uint32(number())
	case "max-frame-size":
		o.MaxFrameSize = uint32(number())
	case "message-size":
		o.Env.Limits.MessageSize = number()
		o.Env.Limits.LargeSize = o.Env.Limits.MessageSize
	case "large-size":
		o.Env.Limits.LargeSize = number()
	case "links":
		o.Links = number()
	case "suspended-bytes":
		o.SuspendedBytes = number()
	case "in-flight":
		o.Env.Limits.InFlight = number()
	case "idle":
		p.idle = true
	default:
		p.t.Fatalf("unknown option %q", words[0])
	}
}

// forbidden is the name of the one address that nobody may use.
type forbidden string

func (f forbidden) Authorize(_ routing.Principal, _ routing.Action, on routing.Address) error {
	if on.Name == string(f) {
		return &routing.Error{Code: routing.CodeUnauthorized, Op: "use", Address: on.String()}
	}
	return nil
}

func (p *player) start(o Options) {
	f, err := New(o)
	if err != nil {
		p.t.Fatal(err)
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	p.front, p.ctx = f, ctx
	p.drain = func() { cancel(protocols.ErrDraining) }
}

// client returns the client of that name, which connects when it is first named.
func (p *player) client(name string) *actor {
	if a := p.clients[name]; a != nil {
		return a
	}
	server, client := net.Pipe()
	a := &actor{Peer: prototest.NewPeer(client), name: name, ended: make(chan error, 1)}
	p.clients[name] = a
	go func() { a.ended <- p.front.Serve(p.ctx, server) }()
	return a
}

func (p *player) stop() {
	for _, a := range p.clients {
		a.Close()
		<-a.ended //nolint:errcheck // scripts look at frames
	}
	p.drain()
	<-time.After(p.front.o.SuspendedTime) // as long as links are remembered
	synctest.Wait()
	p.checkNothingIsLeft()
}

// checkNothingIsLeft is the end of every script: whatever the clients did, the
// node holds nothing of them any more.
func (p *player) checkNothingIsLeft() {
	p.t.Helper()
	r := p.broker.Record()
	if r.Sessions != 0 || r.Subscriptions != 0 || r.Transactions != 0 || r.Uploads != 0 {
		p.t.Errorf("got %d sessions, %d subscriptions, %d transactions and %d uploads left at the broker, want none",
			r.Sessions, r.Subscriptions, r.Transactions, r.Uploads)
	}
	if n := len(p.front.o.Names.held); n != 0 {
		p.t.Errorf("got %d names of links left, want none", n)
	}
	if n := len(p.front.o.Names.left.held); n != 0 || p.front.o.Names.left.bytes != 0 {
		p.t.Errorf("got %d links remembered for ever, want none", n)
	}
	for name, g := range map[string]prometheus.Gauge{
		"suspended links": p.front.metrics.suspended, "connections": p.front.metrics.connections, "sessions": p.front.metrics.sessions, "links": p.front.metrics.links,
	} {
		if v := gauge(p.t, g); v != 0 {
			p.t.Errorf("got %v in the gauge of %s after the last connection, want 0", v, name)
		}
	}
}

// gauge returns the value of a gauge.
func gauge(t *testing.T, g prometheus.Gauge) float64 {
	t.Helper()
	var m dto.Metric
	if err := g.Write(&m); err != nil {
		t.Fatal(err)
	}
	return m.GetGauge().GetValue()
}

func (p *player) do(line string) {
	if name, rest, ok := cutMark(line, "> "); ok {
		a := p.client(name)
		var b []byte
		for part := range strings.SplitSeq(rest, " & ") {
			b = p.encode(b, part)
		}
		go func() { _, _ = a.Conn.Write(b) }() // an ended connection takes nothing
		return
	}
	name, rest, ok := cutMark(line, "! ")
	if !ok {
		p.t.Fatalf("cannot read %q", line)
	}
	p.event(p.client(name), strings.Fields(rest))
}

func (p *player) encode(b []byte, text string) []byte {
	words := split(text)
	switch words[0] {
	case "AMQP":
		id, err := strconv.ParseUint(words[1], 10, 8)
		if err != nil {
			p.t.Fatal(err)
		}
		return frames.Version(uint8(id)).Append(b)
	case "hex":
		raw, err := hex.DecodeString(strings.Join(words[1:], ""))
		if err != nil {
			p.t.Fatal(err)
		}
		return append(b, raw...)
	case "empty":
		return frames.AppendEmpty(b)
	case "sasl":
		f, _, err := parseFrame(words[1:])
		if err != nil {
			p.t.Fatal(err)
		}
		return frames.AppendSASL(b, f)
	}
	channel, err := strconv.ParseUint(words[0], 10, 16)
	if err != nil {
		p.t.Fatal(err)
	}
	f, payload, err := parseFrame(words[1:])
	if err != nil {
		p.t.Fatalf("%s: %v", text, err)
	}
	if tr, ok := f.(*frames.Transfer); ok {
		return append(frames.AppendTransfer(b, uint16(channel), tr, len(payload)), payload...)
	}
	return frames.AppendFrame(b, uint16(channel), f)
}

// event does what happens beside the client's frames.
func (p *player) event(a *actor, words []string) {
	address := func(s string) routing.Address {
		a, err := routing.ParseAddress(s)
		if err != nil {
			p.t.Fatal(err)
		}
		return a
	}
	if known, err := p.broker.Direct(words); err != nil {
		p.t.Fatal(err)
	} else if known {
		return
	}
	switch words[0] {
	case "wait":
		d, err := time.ParseDuration(words[1])
		if err != nil {
			p.t.Fatal(err)
		}
		<-time.After(d)
	case "drain":
		p.drain()
	case "alone":
		close(p.alone)
	case "eof":
		a.Close()
	case "inject-raw":
		raw, err := hex.DecodeString(words[2])
		if err != nil {
			p.t.Fatal(err)
		}
		p.broker.Inject(routing.Envelope{Address: address(words[1]), Encoding: routing.EncodingAMQP, Payload: raw})
	case "inject-large": // of so many bytes, all but the sections in front of them left out of the head
		n, err := strconv.Atoi(words[2])
		if err != nil {
			p.t.Fatal(err)
		}
		payload := message.AppendData((&message.Header{Durable: true}).Append(nil), bytes.Repeat([]byte{'x'}, n))
		p.broker.InjectLarge(routing.Envelope{Address: address(words[1]), Encoding: routing.EncodingAMQP, Payload: payload}, len(payload)-n)
	case "inject":
		for _, body := range words[2:] {
			payload := message.AppendData(nil, []byte(body))
			if n, err := strconv.Atoi(body); err == nil {
				payload = message.AppendData(nil, []byte(strings.Repeat("x", n)))
			}
			p.broker.Inject(routing.Envelope{Address: address(words[1]), Encoding: routing.EncodingAMQP, Payload: payload})
		}
	default:
		p.t.Fatalf("unknown event %q", words)
	}
}

// answers formats what came back since the last call.
func (p *player) answers(a *actor) string {
	got, eof := a.Take()
	in := []byte(got)
	var b strings.Builder
	var last *frames.Disposition
	flush := func() {
		if last != nil {
			fmt.Fprintf(&b, "%s< 0 %s\n", a.name, format(last, nil))
			last = nil
		}
	}
	for len(in) > 0 {
		if head, err := frames.ParseProtocol(in); err == nil {
			flush()
			fmt.Fprintf(&b, "%s< AMQP %d\n", a.name, head.ID)
			in = in[frames.ProtocolSize:]
			continue
		}
		h, err := frames.ParseHeader(in)
		if err != nil || int(h.Size) > len(in) {
			p.t.Fatalf("got bytes %x, want a frame", in)
		}
		body := in[h.Body():h.Size]
		in = in[h.Size:]
		if len(body) == 0 {
			if p.idle {
				flush()
				b.WriteString(a.name + "< empty\n")
			}
			continue
		}
		f, payload, err := a.decoder.Decode(h.Type, body)
		if err != nil {
			p.t.Fatalf("got a frame that cannot be decoded: %v", err)
		}
		if d, ok := f.(*frames.Disposition); ok && h.Channel == 0 {
			// How many confirmations the engine gives at once is chance.
			if last != nil && last.Last+1 == d.First && d.First != 0 && reflect.DeepEqual(
				[]any{last.Role, last.Settled, last.State}, []any{d.Role, d.Settled, d.State}) {
				last.Last = d.Last
				continue
			}
			flush()
			own := *d
			last = &own
			continue
		}
		flush()
		where := strconv.Itoa(int(h.Channel))
		if h.Type == frames.TypeSASL {
			where = "sasl"
		}
		fmt.Fprintf(&b, "%s< %s %s\n", a.name, where, format(f, payload))
	}
	flush()
	if eof && !a.said {
		a.said = true
		b.WriteString(a.name + "< eof\n")
	}
	return b.String()
}
