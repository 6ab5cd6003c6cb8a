package stomp

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/selvedge-mq/selvedge/integration/interop/transcript"
	"github.com/selvedge-mq/selvedge/protocols"
	"github.com/selvedge-mq/selvedge/protocols/prototest"
	"github.com/selvedge-mq/selvedge/routing"
)

// The conformance suite plays testdata/conformance/*.txt, see package transcript:
// for each version that a case holds for, and each dialect, octets go in at one
// end of a pipe and octets are looked for at the other.

func TestSTOMP10(t *testing.T) { conform(t, "1.0") }
func TestSTOMP11(t *testing.T) { conform(t, "1.1") }
func TestSTOMP12(t *testing.T) { conform(t, "1.2") }

var conformanceLimits = protocols.Limits{
	HeaderCount: 150, HeaderSize: 8 << 10, MessageSize: 1 << 17, LargeSize: 1 << 17, InFlight: 100, InFlightBytes: 32_000, LoginTimeout: 10 * time.Second,
}

func conformanceCases(tb testing.TB) []transcript.Case {
	tb.Helper()
	all, err := transcript.Read("testdata/conformance")
	if err != nil {
		tb.Fatal(err)
	}
	return all
}

func conform(t *testing.T, version string) {
	t.Helper()
	known := clauses(t)
	for _, c := range conformanceCases(t) {
		cl, ok := known[c.Clause]
		if !ok {
			t.Errorf("%s: %s is not in the list of clauses", c.File, c.Clause)
			continue
		}
		for _, d := range transcript.Dialects() {
			if !c.Holds(version, d, cl.versions) {
				continue
			}
			t.Run(c.Clause+"/"+d+"/"+c.Title, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { newPlay(t, c, version, d).run() })
			})
		}
	}
}

// play is a case on its stage.
type play struct {
	*stage
	c                transcript.Case
	version, dialect string
	got              map[string]string // what a client has received
	seen             map[string]int    // how far it was looked at
	closed           map[string]bool
}

func newPlay(t *testing.T, c transcript.Case, version, dialect string) *play {
	t.Helper()
	var users prototest.Users
	if c.Users {
		users = prototest.Users{"alice": `a\nb:c`}
	}
	return &play{
		stage: newStageOf(t, Options{
			Env: protocols.Env{Auth: users, Limits: conformanceLimits}, Dialect: Dialect(dialect),
			Limits: Limits{Transactions: 3, Actions: 5, Subscriptions: 20, Temporary: 3},
		}),
		c: c, version: version, dialect: dialect,
		got: make(map[string]string), seen: make(map[string]int), closed: make(map[string]bool),
	}
}

func (p *play) run() {
	defer p.close()
	steps, err := p.c.Steps(p.version, p.dialect)
	if err != nil {
		p.t.Fatal(err)
	}
	for _, s := range steps {
		p.step(s)
	}
}

func (p *play) step(s transcript.Step) {
	text, oneByOne := s.Expand(p.version)
	switch who := s.Who; s.Kind {
	case transcript.Send:
		p.client(who)
		p.send(who, text, oneByOne)
	case transcript.Want:
		at := strings.Index(p.got[who][p.seen[who]:], text)
		if at < 0 {
			p.t.Fatalf("got %q, want %q in it", p.got[who][p.seen[who]:], text)
		}
		p.seen[who] += at + len(text)
	case transcript.Never:
		if strings.Contains(p.got[who], text) {
			p.t.Fatalf("got %q, want no %q in it", p.got[who], text)
		}
	case transcript.State:
		if got := p.closed[who]; got != (s.Text == "closed") {
			p.t.Fatalf("closed: got %v, want %s; received %q", got, s.Text, p.got[who])
		}
	case transcript.Direct:
		p.order(s.Text)
	}
}

// client connects a client that speaks for the first time.
func (p *play) client(who string) {
	if p.peers[who] != nil {
		return
	}
	p.peer(who)
	if p.c.Raw {
		return
	}
	p.send(who, transcript.Connect(p.version), false)
	if !strings.HasPrefix(p.got[who], "CONNECTED\n") {
		p.t.Fatalf("got %q, want CONNECTED", p.got[who])
	}
	p.got[who] = ""
}

func (p *play) send(who, data string, oneByOne bool) {
	p.t.Helper()
	size := len(data)
	if oneByOne {
		size = 1
	}
	nc := p.peers[who].nc
	for len(data) > 0 {
		_ = nc.SetWriteDeadline(time.Now().Add(time.Second))
		n, err := io.WriteString(nc, data[:size])
		if err != nil {
			break // the server reads no more: what it says is what counts
		}
		data = data[n:]
		size = min(size, len(data))
	}
	p.settle()
}

// settle waits until nothing moves and takes what has come.
func (p *play) settle() {
	synctest.Wait()
	for name, peer := range p.peers {
		got, closed := peer.take()
		p.got[name] += got
		p.closed[name] = closed
	}
}

func (p *play) order(text string) {
	switch word, rest, _ := strings.Cut(text, " "); word {
	case "gone": // a client goes without a word
		p.peers[rest].nc.Close()
	case "depth": // of a queue at the broker
		p.depth(rest)
	case "subscribed": // the last one, as the broker was told
		p.subscribed(rest)
	case "sent":
		p.sent(rest)
	default:
		p.direct(text)
	}
	p.settle()
}

func (p *play) depth(text string) {
	p.t.Helper()
	var name string
	var want int
	if _, err := fmt.Sscan(text, &name, &want); err != nil {
		p.t.Fatal(err)
	}
	if got := p.broker.Depth(routing.Queue(name)); got != want {
		p.t.Fatalf("queue %s: got %d messages, want %d", name, got, want)
	}
}

// subscribed holds the last SUBSCRIBE that reached the broker to what is said.
func (p *play) subscribed(text string) {
	p.t.Helper()
	all := p.broker.Record().Subscribed
	if len(all) == 0 {
		p.t.Fatal("nothing was subscribed")
	}
	o := all[len(all)-1]
	got := o.Address.String()
	for _, f := range []struct {
		name  string
		value string
		set   bool
	}{
		{"selector=", o.Selector, o.Selector != ""},
		{"durable=", o.Durable, o.Durable != ""},
		{"shared", "", o.Shared},
		{"browse", "", o.Browse},
		{"exclusive", "", o.Exclusive},
		{"nolocal", "", o.NoLocal},
		{"priority=", strconv.Itoa(o.Priority), o.Priority != 0},
	} {
		if f.set {
			got += " " + f.name + f.value
		}
	}
	if got != text {
		p.t.Errorf("subscribed: got %s, want %s", got, text)
	}
}

// sent holds the last SEND that reached the broker to what is said.
func (p *play) sent(text string) {
	p.t.Helper()
	all := p.broker.Record().Sent
	if len(all) == 0 {
		p.t.Fatal("nothing was sent")
	}
	e := all[len(all)-1]
	for word := range strings.FieldsSeq(text) {
		key, value, _ := strings.Cut(word, "=")
		got := map[string]string{
			"deliver": strconv.FormatInt(e.DeliverAt, 10), "expiry": strconv.FormatInt(e.Expiry, 10),
			"dedupe": e.DedupeID, "group": e.Group, "priority": strconv.Itoa(int(e.Priority)),
			"persistent": strings.TrimPrefix(strconv.FormatBool(e.Persistent), "true"),
		}[key]
		if got != value {
			p.t.Errorf("%s: got %q, want %q", key, got, value)
		}
	}
}
