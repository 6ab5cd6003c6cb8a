package amqp

import (
	"bytes"
	"context"
	"io"
	"net"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"github.com/selvedge-mq/selvedge/protocols"
	"github.com/selvedge-mq/selvedge/protocols/amqp/frames"
	"github.com/selvedge-mq/selvedge/protocols/amqp/message"
	"github.com/selvedge-mq/selvedge/protocols/amqp/wire"
	"github.com/selvedge-mq/selvedge/protocols/prototest"
	"github.com/selvedge-mq/selvedge/routing"
)

// TestIdleConnectionsAreSmall holds what a connection costs that says nothing,
// goroutines and all: one that only logged in and opened, and one with two sessions
// and two links that was busy once. An owner that had grown its stack in the login
// never gave it back.
func TestIdleConnectionsAreSmall(t *testing.T) {
	for _, c := range []struct {
		name  string
		limit int
		life  func(t *testing.T, nc net.Conn)
	}{
		{"opened", 20 << 10, func(t *testing.T, nc net.Conn) { t.Helper(); opens(t, nc) }},
		{"with two sessions and two links", 28 << 10, func(t *testing.T, nc net.Conn) { t.Helper(); busy(t, nc) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { costsAtMost(t, c.limit, c.life) })
		})
	}
}

// costsAtMost measures a hundred connections at rest.
func costsAtMost(t *testing.T, limit int, life func(t *testing.T, nc net.Conn)) {
	t.Helper()
	const n = 100
	f, err := New(Options{Env: protocols.Env{
		Broker: forgetful{}, Auth: prototest.Users(nil), Log: zerolog.Nop(), Node: "n1",
	}})
	if err != nil {
		t.Fatal(err)
	}
	before := prototest.Footprint()
	var wg sync.WaitGroup
	var conns []net.Conn
	for range n {
		server, nc := net.Pipe()
		conns = append(conns, nc)
		wg.Go(func() { _ = f.Serve(context.Background(), server) })
		life(t, nc)
	}
	<-time.After(40 * time.Second) // two looks without a byte
	got := (prototest.Footprint() - before) / n
	t.Logf("an idle connection costs %d bytes", got)
	if got > limit {
		t.Errorf("got %d bytes a connection, want at most %d", got, limit)
	}
	for _, nc := range conns {
		nc.Close()
	}
	wg.Wait()
}

// opens logs in and opens the connection, and reads the answers.
func opens(t *testing.T, nc net.Conn) {
	t.Helper()
	go func() {
		b := append(frames.Version(frames.ProtocolSASL).Append(nil), frames.AppendSASL(nil, &frames.SASLInit{Mechanism: anonymous, InitialResponse: []byte("x")})...)
		b = frames.Version(frames.ProtocolAMQP).Append(b)
		_, _ = nc.Write(frames.AppendFrame(b, 0, &frames.Open{ContainerID: "c", MaxFrameSize: 1 << 16, ChannelMax: 10}))
	}()
	in, b := []byte(nil), make([]byte, 4<<10)
	for !bytes.Contains(in, []byte("Selvedge")) { // in our open, which is the last
		n, err := nc.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		in = append(in, b[:n]...)
	}
}

// TestIncompleteMessagesCostWhatTheyHold holds the cost of a link that leaves a
// message of one byte unfinished to 2 kB: it borrowed a buffer of 64 KiB.
func TestIncompleteMessagesCostWhatTheyHold(t *testing.T) {
	const n, limit = 500, 2 << 10
	synctest.Test(t, func(t *testing.T) {
		f, err := New(Options{Env: protocols.Env{
			Broker: forgetful{}, Auth: prototest.Users(nil), Log: zerolog.Nop(), Node: "n1",
		}})
		if err != nil {
			t.Fatal(err)
		}
		server, nc := net.Pipe()
		var wg sync.WaitGroup
		wg.Go(func() { _ = f.Serve(context.Background(), server) })
		attach := func(i uint32) *frames.Attach {
			return &frames.Attach{
				Name: strconv.Itoa(int(i)), Handle: i, Role: frames.RoleSender,
				Source: &frames.Source{}, Target: &frames.Target{Address: wire.Some("q")},
			}
		}
		c := begin(t, nc, attach(n))
		wg.Go(func() { _, _ = io.Copy(io.Discard, nc) })
		c.write(frames.AppendFrame(nil, 1, &frames.Begin{IncomingWindow: n, OutgoingWindow: n, HandleMax: n}))
		synctest.Wait()
		before := prototest.Footprint()
		var b []byte
		for i := range uint32(n) {
			b = frames.AppendFrame(b, 1, attach(i))
		}
		c.write(b)
		synctest.Wait() // for the credit
		b = nil
		for i := range uint32(n) {
			tr := frames.Transfer{Handle: i, DeliveryID: wire.Some(i), DeliveryTag: []byte{1}, More: true}
			b = append(frames.AppendTransfer(b, 1, &tr, 1), 'x')
		}
		c.write(b)
		synctest.Wait()
		got := (prototest.Footprint() - before) / n
		t.Logf("a link with an incomplete message costs %d bytes", got)
		if got > limit {
			t.Errorf("got %d bytes a link, want at most %d", got, limit)
		}
		if links := gauge(t, f.metrics.links); links != n+1 {
			t.Errorf("got %v links, want %d", links, n+1)
		}
		nc.Close()
		wg.Wait()
	})
}

// busy sends and receives 500 messages.
func busy(t *testing.T, nc net.Conn) {
	t.Helper()
	c := begin(t, nc, &frames.Attach{
		Name: "s", Role: frames.RoleSender, Source: &frames.Source{}, Target: &frames.Target{Address: wire.Some("q")},
	})
	b := frames.AppendFrame(nil, 1, &frames.Begin{IncomingWindow: 1 << 20, OutgoingWindow: 1 << 20, HandleMax: 10})
	b = frames.AppendFrame(b, 1, &frames.Attach{
		Name: "r", Role: frames.RoleReceiver, Source: &frames.Source{Address: wire.Some("q")}, Target: &frames.Target{},
	})
	b = frames.AppendFrame(b, 1, &frames.Flow{
		IncomingWindow: 1 << 20, OutgoingWindow: 9, Handle: wire.Some(uint32(0)), LinkCredit: wire.Some(uint32(500)),
	})
	for id := range uint32(500) {
		payload := message.AppendData(nil, make([]byte, 200))
		tr := frames.Transfer{DeliveryID: wire.Some(id), DeliveryTag: []byte{byte(id >> 8), byte(id)}, MessageFormat: wire.Some(uint32(0))}
		b = append(frames.AppendTransfer(b, 0, &tr, len(payload)), payload...)
	}
	c.write(b)
	for settled, got := uint32(0), 0; settled < 500 || got < 500; {
		p, _ := c.read()
		switch p := p.(type) {
		case *frames.Disposition:
			settled += p.Last - p.First + 1
		case *frames.Transfer:
			got++
		}
	}
	c.write(frames.AppendFrame(nil, 1, &frames.Disposition{
		Role: frames.RoleReceiver, Last: 499, Settled: true, State: frames.State{Kind: frames.StateAccepted},
	}))
}

// forgetful is a broker that keeps nothing: what is sent is confirmed at once,
// and who grants gets.
type forgetful struct{ routing.Session }

func (forgetful) Open(context.Context, routing.SessionOptions) (routing.Session, error) {
	return &forgetful{}, nil
}

func (*forgetful) Send(_ *routing.Envelope, c routing.Completer, token uint64) bool {
	c.Complete([]routing.Result{{Token: token}})
	return true
}

func (s *forgetful) Subscribe(_ routing.SubscribeOptions, k routing.Sink, c routing.Completer, token uint64) routing.Subscription {
	c.Complete([]routing.Result{{Token: token}})
	return forgetfulSubscription{k}
}

func (*forgetful) Close() {}

type forgetfulSubscription struct{ sink routing.Sink }

func (s forgetfulSubscription) Grant(n int32) {
	payload := message.AppendData(nil, make([]byte, 200))
	ds := make([]routing.Delivery, n)
	for i := range ds {
		ds[i].Envelope = routing.Envelope{Encoding: routing.EncodingAMQP, Payload: payload}
	}
	s.sink.Deliver(ds)
}

func (forgetfulSubscription) Drain()                                                         {}
func (forgetfulSubscription) Settle(routing.Tag, routing.Outcome, routing.Completer, uint64) {}
func (forgetfulSubscription) Read(routing.Tag, int64, int, routing.PieceSink, uint64)        {}
func (forgetfulSubscription) Close(routing.Completer, uint64)                                {}
