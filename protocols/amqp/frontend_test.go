package amqp

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/selvedge-mq/selvedge/protocols"
	"github.com/selvedge-mq/selvedge/protocols/amqp/frames"
	"github.com/selvedge-mq/selvedge/protocols/amqp/message"
	"github.com/selvedge-mq/selvedge/protocols/amqp/wire"
	"github.com/selvedge-mq/selvedge/protocols/prototest"
	"github.com/selvedge-mq/selvedge/routing"
)

func TestNewNamesTheOptionThatIsWrong(t *testing.T) {
	good := protocols.Env{Broker: memory(t), Auth: prototest.Users(nil)}
	for _, c := range []struct {
		name string
		o    Options
		want string
	}{
		{"no broker", Options{Env: protocols.Env{Auth: prototest.Users(nil)}}, "Env.Broker"},
		{"no authenticator", Options{Env: protocols.Env{Broker: good.Broker}}, "Env.Auth"},
		{"a frame size that is too small", Options{Env: good, MaxFrameSize: 511}, "MaxFrameSize"},
		{"a negative idle time-out", Options{Env: good, IdleTimeout: -1}, "IdleTimeout"},
		{"a credit that is too large", Options{Env: good, Credit: 1 << 30}, "Credit"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := New(c.o); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want an error that names %s", err, c.want)
			}
		})
	}
}

func TestTwoFrontendsShareARegistry(t *testing.T) {
	o := Options{Env: protocols.Env{Broker: memory(t), Auth: prototest.Users(nil), Metrics: prometheus.NewRegistry()}}
	a, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	b, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	if a.metrics.sessions != b.metrics.sessions {
		t.Error("the second front-end has metrics of its own")
	}
}

// piped returns the client's end of a connection that a front-end with the options
// serves.
func piped(t *testing.T, o Options) net.Conn {
	t.Helper()
	f, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	server, nc := net.Pipe()
	ended := make(chan error, 1)
	go func() { ended <- f.Serve(context.Background(), server) }()
	t.Cleanup(func() {
		nc.Close()
		<-ended //nolint:errcheck // the client left
	})
	if err := nc.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return nc
}

// connect returns a client of a front-end with the options over a pipe.
func connect(t *testing.T, o Options, attach *frames.Attach) *client {
	t.Helper()
	return begin(t, piped(t, o), attach)
}

// owned returns a connection that is open and that nothing runs: the test is its owner.
func owned(t *testing.T) *conn {
	t.Helper()
	f, err := New(Options{Env: protocols.Env{Broker: memory(t), Auth: prototest.Users(nil), Log: zerolog.Nop()}})
	if err != nil {
		t.Fatal(err)
	}
	server, peer := net.Pipe()
	t.Cleanup(func() { server.Close(); peer.Close() })
	return ownedOn(f, server)
}

// ownedOn returns another one, of a front-end that is there.
func ownedOn(f *Frontend, nc net.Conn) *conn {
	c := newConn(f, nc, nil, routing.Principal{}, time.Time{})
	c.clock.timer.Stop()
	c.state, c.peer.maxFrame = opened, f.o.MaxFrameSize
	return c
}

// [54] What our open says.
func TestTransport_2_7_1_OpenSaysWhoWeAre(t *testing.T) {
	c := connect(t, Options{Env: protocols.Env{
		Broker: memory(t), Auth: prototest.Users(nil), Log: zerolog.Nop(), Node: "n1", Version: "1.2.3",
		Failover: func() []string { return []string{"b.example:5672", "nonsense", "c.example:amqp"} },
	}}, &frames.Attach{Name: "s", Source: &frames.Source{}, Target: &frames.Target{Address: wire.Some("q")}})
	p, _ := c.read()
	o, ok := p.(*frames.Open)
	if !ok {
		t.Fatalf("got %T, want open", p)
	}
	want := map[wire.Symbol]any{
		"product": "Selvedge", "version": "1.2.3",
		"failover-server-list": wire.List{wire.Map{
			{Key: wire.Symbol("network-host"), Value: "b.example"}, {Key: wire.Symbol("port"), Value: int32(5672)},
		}},
	}
	for key, v := range want {
		got, _ := o.Properties.Get(key)
		if diff := cmp.Diff(v, got); diff != "" {
			t.Errorf("property %s (-want +got):\n%s", key, diff)
		}
	}
}

// upper is the codec of an encoding that writes capitals.
type upper struct{}

func (upper) Decode(b []byte) (*routing.Message, error) {
	if string(b) == "bad" {
		return nil, errors.New("bad")
	}
	return &routing.Message{Body: []byte(strings.ToLower(string(b)))}, nil
}

func (upper) Encode(m *routing.Message) ([]byte, error) {
	return message.AppendData(nil, m.Body), nil
}

func TestMessagesOfOtherProtocolsAreConverted(t *testing.T) {
	broker := memory(t)
	for _, body := range []string{"A", "bad", "B"} {
		broker.Inject(routing.Envelope{Address: routing.Queue("q"), Encoding: routing.EncodingSTOMP, Payload: []byte(body)})
	}
	broker.Inject(routing.Envelope{Address: routing.Queue("q"), Encoding: 99, Payload: []byte("C")})
	c := connect(t, Options{Env: protocols.Env{
		Broker: broker, Auth: prototest.Users(nil), Log: zerolog.Nop(), Node: "n1",
		Codecs: routing.Codecs{routing.EncodingSTOMP: upper{}, routing.EncodingAMQP: upper{}},
	}}, &frames.Attach{
		Name: "r", Role: frames.RoleReceiver, Source: &frames.Source{Address: wire.Some("q")}, Target: &frames.Target{},
	})
	c.write(frames.AppendFrame(nil, 0, &frames.Flow{
		IncomingWindow: 9, OutgoingWindow: 9, Handle: wire.Some(uint32(0)), LinkCredit: wire.Some(uint32(9)),
	}))
	for _, want := range []string{"a", "b"} {
		for {
			p, payload := c.read()
			if _, ok := p.(*frames.Transfer); !ok {
				continue
			}
			m, err := message.Scan(payload)
			if err != nil {
				t.Fatal(err)
			}
			if got := string(m.Data()); got != want {
				t.Errorf("got %q, want %q", got, want)
			}
			break
		}
	}
	if err := broker.Await(deadline(t), func(r prototest.Record) bool { return len(r.Settled) == 2 }); err != nil {
		t.Fatal(err)
	}
	for _, s := range broker.Record().Settled {
		if s.Outcome.Kind != routing.Rejected {
			t.Errorf("got outcome %v for a message that cannot be converted, want rejected", s.Outcome)
		}
	}
}

func TestErrorsHaveTheirConditions(t *testing.T) {
	for _, c := range []struct {
		name string
		err  error
		want frames.Error
	}{
		{
			"a reason is shown", &routing.Error{Code: routing.CodeFull, Op: "send", Reason: "full up"},
			frames.Error{Condition: frames.ResourceLimitExceeded, Description: "full up"},
		},
		{
			"without a reason the code is", &routing.Error{Code: routing.CodeLocked, Op: "subscribe", Address: "queue://q"},
			frames.Error{Condition: frames.ResourceLocked, Description: "subscribe queue://q: locked"},
		},
		{
			"a cause is not", &routing.Error{Code: routing.CodeTooLarge, Op: "send", Reason: "large", Err: errors.New("secret")},
			frames.Error{Condition: frames.MessageSizeExceeded, Description: "large"},
		},
		{
			"what is unforeseen is internal", errors.New("secret"),
			frames.Error{Condition: frames.InternalError, Description: "internal error"},
		},
		{
			"a long text is cut between runes", &routing.Error{Code: routing.CodeInvalid, Reason: strings.Repeat("é", 200)},
			frames.Error{Condition: frames.InvalidField, Description: strings.Repeat("é", 128)},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			if diff := cmp.Diff(&c.want, wireError(c.err)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
