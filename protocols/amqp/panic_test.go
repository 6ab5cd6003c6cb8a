package amqp

import (
	"context"
	"io"
	"net"
	"testing"
	"testing/synctest"

	"github.com/rs/zerolog"

	"github.com/selvedge-mq/selvedge/internal/aside"
	"github.com/selvedge-mq/selvedge/protocols"
	"github.com/selvedge-mq/selvedge/protocols/prototest"
	"github.com/selvedge-mq/selvedge/routing"
)

// A panic of the owner ends one connection, and all of it: the subscriptions kept
// their credit once, the transactions and names stayed, and the writer never ended.
func TestAPanicLeavesNothingBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &player{t: t, broker: prototest.New()}
		defer p.broker.Close()
		p.start(Options{Env: protocols.Env{
			Broker: mined{p.broker}, Auth: prototest.Users(nil), Log: zerolog.Nop(), Node: "n1",
		}})
		defer p.drain()
		q := routing.Queue("q")
		p.broker.Inject(routing.Envelope{Address: q, Encoding: routing.EncodingAMQP, Payload: benchMessage()})

		server, nc := net.Pipe()
		defer nc.Close()
		panicked := make(chan any, 1)
		go func() {
			defer func() { panicked <- recover() }()
			_ = p.front.Serve(p.ctx, server)
		}()
		go func() { _, _ = io.Copy(io.Discard, nc) }()
		say := func(line string) {
			t.Helper()
			if _, err := nc.Write(p.encode(nil, line)); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		say("AMQP 0")
		say("0 open container-id=c")
		say("0 begin incoming-window=9 outgoing-window=9")
		say("0 attach name=r handle=0 role=receiver source={address=q} target={}")
		say("0 flow incoming-window=9 outgoing-window=9 handle=0 link-credit=9")
		say("0 attach name=t handle=1 role=sender source={} coordinator={}")
		say("0 transfer handle=1 delivery-id=0 delivery-tag=a message={declare}")
		say("0 attach name=d handle=2 role=sender source={} target={dynamic}")
		if r := p.broker.Record(); r.Subscriptions != 1 || r.Transactions != 1 || p.broker.Depth(q) != 0 {
			t.Fatalf("got %d subscriptions, %d transactions and %d messages ready, want 1, 1 and 0",
				r.Subscriptions, r.Transactions, p.broker.Depth(q))
		}
		say("0 attach name=m handle=3 role=receiver source={address=mine} target={}")
		if got, ok := (<-panicked).(*aside.Bug); !ok || got.Value != "a bug" {
			t.Errorf("got %v from Serve, want the panic", got)
		}
		p.checkNothingIsLeft()
		if got := p.broker.Depth(q); got != 1 {
			t.Errorf("got %d messages ready, want the one that the client held", got)
		}
	})
}

// mined is a broker with an address at which the connection's owner panics.
type mined struct{ *prototest.Broker }

func (b mined) Open(ctx context.Context, o routing.SessionOptions) (routing.Session, error) {
	s, err := b.Broker.Open(ctx, o)
	return minedSession{s}, err
}

type minedSession struct{ routing.Session }

func (s minedSession) Subscribe(o routing.SubscribeOptions, k routing.Sink, c routing.Completer, token uint64) routing.Subscription {
	if o.Address.Name == "mine" {
		panic("a bug")
	}
	return s.Session.Subscribe(o, k, c, token)
}
