package amqp

import (
	"bufio"
	"context"
	"io"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/selvedge-mq/selvedge/protocols/amqp/frames"
	"github.com/selvedge-mq/selvedge/protocols/amqp/message"
	"github.com/selvedge-mq/selvedge/protocols/amqp/wire"
	"github.com/selvedge-mq/selvedge/routing"
)

// endless is a broker that takes everything and never runs out: it costs little,
// so that what is measured is the front-end.
type endless struct {
	wg      sync.WaitGroup
	payload []byte
}

func (b *endless) Open(context.Context, routing.SessionOptions) (routing.Session, error) {
	s := &endlessSession{b: b, wake: make(chan struct{}, 1), stop: make(chan struct{})}
	b.wg.Go(s.work)
	return s, nil
}

type endlessSession struct {
	routing.Session // what is not measured
	b               *endless
	wake, stop      chan struct{}

	mu      sync.Mutex
	c       routing.Completer
	results []routing.Result
	sink    routing.Sink
	credit  int
	key     uint64
}

func (s *endlessSession) poke() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

func (s *endlessSession) Send(e *routing.Envelope, c routing.Completer, token uint64) bool {
	_ = append([]byte(nil), e.Payload...)
	s.mu.Lock()
	s.c = c
	s.results = append(s.results, routing.Result{Token: token})
	s.mu.Unlock()
	s.poke()
	return true
}

func (s *endlessSession) Subscribe(_ routing.SubscribeOptions, k routing.Sink, c routing.Completer, token uint64) routing.Subscription {
	s.sink = k
	c.Complete([]routing.Result{{Token: token}})
	return endlessSubscription{s}
}

func (s *endlessSession) Grant(n int32) {
	s.mu.Lock()
	s.credit += int(n)
	s.mu.Unlock()
	s.poke()
}

func (s *endlessSession) work() {
	var results []routing.Result
	var ds []routing.Delivery
	for {
		select {
		case <-s.wake:
		case <-s.stop:
			return
		}
		s.mu.Lock()
		results, s.results = s.results, results[:0]
		c, n := s.c, s.credit
		s.credit = 0
		s.mu.Unlock()
		if len(results) > 0 {
			c.Complete(results)
		}
		for n > 0 {
			ds = ds[:0]
			for range min(n, 256) {
				s.key++
				ds = append(ds, routing.Delivery{
					Tag:      routing.Tag{Key: s.key},
					Envelope: routing.Envelope{Encoding: routing.EncodingAMQP, Payload: s.b.payload},
				})
			}
			n -= len(ds)
			s.sink.Deliver(ds)
		}
	}
}

func (s *endlessSession) Drain()                                                         {}
func (s *endlessSession) Settle(routing.Tag, routing.Outcome, routing.Completer, uint64) {}
func (s *endlessSession) Read(routing.Tag, int64, int, routing.PieceSink, uint64)        {}

func (s *endlessSession) Close() { close(s.stop) }

type endlessSubscription struct{ *endlessSession }

func (s endlessSubscription) Close(c routing.Completer, token uint64) {
	if c != nil {
		c.Complete([]routing.Result{{Token: token}})
	}
}

// client is the other side of a benchmark.
type client struct {
	t   testing.TB
	nc  net.Conn
	r   *bufio.Reader
	d   frames.Decoder
	buf []byte
	out []byte
}

// newClient returns a client with a session and a link.
func newClient(tb testing.TB, n *node, attach *frames.Attach) *client {
	tb.Helper()
	nc, err := new(net.Dialer).DialContext(tb.Context(), "tcp", strings.TrimPrefix(n.url, "amqp://"))
	if err != nil {
		tb.Fatal(err)
	}
	return begin(tb, nc, attach)
}

func begin(tb testing.TB, nc net.Conn, attach *frames.Attach) *client {
	tb.Helper()
	c := &client{t: tb, nc: nc, r: bufio.NewReaderSize(nc, 64<<10), buf: make([]byte, 256<<10)}
	b := frames.Version(frames.ProtocolAMQP).Append(nil)
	b = frames.AppendFrame(b, 0, &frames.Open{ContainerID: "", MaxFrameSize: 64 << 10, ChannelMax: 1})
	b = frames.AppendFrame(b, 0, &frames.Begin{IncomingWindow: 1 << 30, OutgoingWindow: 1 << 30, HandleMax: 10})
	c.write(frames.AppendFrame(b, 0, attach))
	if _, err := io.ReadFull(c.r, c.buf[:8]); err != nil {
		tb.Fatal(err)
	}
	return c
}

func (c *client) write(b []byte) {
	if _, err := c.nc.Write(b); err != nil {
		c.t.Fatal(err)
	}
}

func (c *client) read() (frames.Performative, []byte) {
	for {
		if _, err := io.ReadFull(c.r, c.buf[:8]); err != nil {
			c.t.Fatal(err)
		}
		h, err := frames.ParseHeader(c.buf)
		if err != nil {
			c.t.Fatal(err)
		}
		body := c.buf[8:h.Size]
		if _, err := io.ReadFull(c.r, body); err != nil {
			c.t.Fatal(err)
		}
		if len(body) == 0 {
			continue
		}
		p, payload, err := c.d.Decode(h.Type, body)
		if err != nil {
			c.t.Fatal(err)
		}
		return p, payload
	}
}

func benchMessage() []byte {
	h := message.Header{Durable: true}
	p := message.Properties{MessageID: "id-1", To: wire.Some("q")}
	return message.AppendData(p.Append(h.Append(nil)), make([]byte, 256))
}

func BenchmarkFromClient(b *testing.B) {
	broker := &endless{}
	n := serve(b, broker, nil)
	c := newClient(b, n, &frames.Attach{
		Name: "s", Role: frames.RoleSender, Source: &frames.Source{}, Target: &frames.Target{Address: wire.Some("q")},
	})
	payload := benchMessage()
	b.ReportAllocs()
	b.ResetTimer()
	var sent, settled, count, credit uint32
	for settled < uint32(b.N) {
		p, _ := c.read()
		switch p := p.(type) {
		case *frames.Flow:
			if p.LinkCredit.Set {
				count, credit = p.DeliveryCount.Value, p.LinkCredit.Value
			}
		case *frames.Disposition:
			settled += p.Last - p.First + 1
		}
		c.out = c.out[:0]
		for sent < uint32(b.N) && sent != count+credit {
			t := frames.Transfer{
				DeliveryID: wire.Some(sent), DeliveryTag: []byte{byte(sent >> 8), byte(sent)},
				MessageFormat: wire.Some(uint32(0)),
			}
			c.out = append(frames.AppendTransfer(c.out, 0, &t, len(payload)), payload...)
			sent++
		}
		c.write(c.out)
	}
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msgs/s")
	c.nc.Close()
}

func BenchmarkToClient(b *testing.B) {
	broker := &endless{payload: benchMessage()}
	n := serve(b, broker, nil)
	c := newClient(b, n, &frames.Attach{
		Name: "r", Role: frames.RoleReceiver, Source: &frames.Source{Address: wire.Some("q")}, Target: &frames.Target{},
	})
	flow := func(count uint32) {
		c.write(frames.AppendFrame(nil, 0, &frames.Flow{
			NextIncomingID: wire.Some(count), IncomingWindow: 1 << 30, OutgoingWindow: 1 << 30,
			Handle: wire.Some(uint32(0)), DeliveryCount: wire.Some(count), LinkCredit: wire.Some(uint32(1000)),
		}))
	}
	b.ReportAllocs()
	b.ResetTimer()
	flow(0)
	for got := uint32(0); got < uint32(b.N); {
		p, _ := c.read()
		if _, ok := p.(*frames.Transfer); !ok {
			continue
		}
		if got++; got%250 == 0 {
			c.write(frames.AppendFrame(nil, 0, &frames.Disposition{
				Role: frames.RoleReceiver, First: got - 250, Last: got - 1, Settled: true,
				State: frames.State{Kind: frames.StateAccepted},
			}))
			flow(got)
		}
	}
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msgs/s")
	c.nc.Close()
}
