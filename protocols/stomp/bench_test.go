package stomp

import (
	"bytes"
	"context"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/selvedge-mq/selvedge/internal/mailbox"
	"github.com/selvedge-mq/selvedge/protocols"
	"github.com/selvedge-mq/selvedge/protocols/prototest"
	"github.com/selvedge-mq/selvedge/protocols/stomp/frame"
	"github.com/selvedge-mq/selvedge/routing"
)

// nowhere is a session that confirms every send at once and drops it.
type nowhere struct {
	routing.Session // what is not measured
	tokens          []routing.Result
	c               routing.Completer
}

func (n *nowhere) Open(context.Context, routing.SessionOptions) (routing.Session, error) {
	return n, nil
}

func (n *nowhere) Send(_ *routing.Envelope, c routing.Completer, token uint64) bool {
	n.c = c
	if n.tokens = append(n.tokens, routing.Result{Token: token}); len(n.tokens) == 64 {
		c.Complete(n.tokens)
		n.tokens = n.tokens[:0]
	}
	return true
}

func (n *nowhere) Subscribe(_ routing.SubscribeOptions, _ routing.Sink, c routing.Completer, token uint64) routing.Subscription {
	c.Complete([]routing.Result{{Token: token}})
	return nowhereToo{}
}
func (n *nowhere) Close() {}

type nowhereToo struct{}

func (nowhereToo) Grant(int32)                                                    {}
func (nowhereToo) Drain()                                                         {}
func (nowhereToo) Settle(routing.Tag, routing.Outcome, routing.Completer, uint64) {}
func (nowhereToo) Read(routing.Tag, int64, int, routing.PieceSink, uint64)        {}
func (nowhereToo) Close(routing.Completer, uint64)                                {}

const benchSend = "SEND\ndestination:/queue/orders.new\ncontent-type:text/plain\npersistent:true\ntrace-id:0af7651916cd43dd8448eb211c80319c\ncontent-length:256\n"

func benchFrame(receipt string) string {
	return benchSend + receipt + "\n" + strings.Repeat("x", 256) + "\x00\n"
}

// BenchmarkSendOverLoopback measures SENDs through sockets, reader, owner and
// machine, without a broker behind them.
func BenchmarkSendOverLoopback(b *testing.B) {
	address := listen(b, &nowhere{})
	nc := dial(b, address)
	if err := nc.SetDeadline(time.Time{}); err != nil {
		b.Fatal(err)
	}
	if _, err := io.WriteString(nc, connected12); err != nil {
		b.Fatal(err)
	}
	if _, err := nc.Read(make([]byte, 512)); err != nil {
		b.Fatal(err)
	}
	const count = 64
	chunk := []byte(strings.Repeat(benchFrame(""), count))
	b.ReportAllocs()
	b.ResetTimer()
	for n := 0; n < b.N; n += count {
		if _, err := nc.Write(chunk); err != nil {
			b.Fatal(err)
		}
	}
	if err := nc.CloseWrite(); err != nil {
		b.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, nc) // to the end
}

func benchMachine(tb testing.TB, broker interface {
	routing.Broker
	routing.Session
},
) *machine {
	tb.Helper()
	fe, err := New(Options{Env: protocols.Env{Broker: broker, Auth: prototest.Users{}, Log: zerolog.Nop()}})
	if err != nil {
		tb.Fatal(err)
	}
	results := completer{mailbox.New[routing.Result]()}
	return &machine{
		fe: fe, now: 1795603637863, state: stateOpen, version: frame.V12, session: broker,
		results: results, deliveries: mailbox.New[delivery](), events: mailbox.New[event](),
		subs: make(map[subKey]*subscription), acks: make(map[ackKey]ackPlace),
	}
}

// BenchmarkMachineSend measures parsing and the machine, with and without receipt.
func BenchmarkMachineSend(b *testing.B) {
	for name, receipt := range map[string]string{"plain": "", "receipt": "receipt:message-1234\n"} {
		b.Run(name, func(b *testing.B) {
			m := benchMachine(b, &nowhere{})
			box, _ := m.results.(completer)
			var pool frame.Pool
			client, server := net.Pipe()
			var wg sync.WaitGroup
			chunk := []byte(strings.Repeat(benchFrame(receipt), 128))
			wg.Go(func() {
				for {
					if _, err := client.Write(chunk); err != nil {
						return
					}
				}
			})
			r := frame.NewReader(server, &pool, frame.Limits{HeaderCount: 100, HeaderSize: 1 << 12, Body: 1 << 20})
			r.SetVersion(frame.V12)
			b.ReportAllocs()
			b.ResetTimer()
			var taken []routing.Result
			for n := 0; n < b.N; {
				batch, err := r.Read()
				if err != nil {
					b.Fatal(err)
				}
				for i := range batch.Frames {
					m.frame(&batch.Frames[i])
				}
				n += len(batch.Frames)
				pool.Put(batch)
				taken = box.Take(taken)
				m.complete(taken)
				m.out = m.out[:0]
			}
			b.StopTimer()
			client.Close()
			wg.Wait()
		})
	}
}

// BenchmarkMachineDeliver measures deliveries to MESSAGE frames, and what ends
// them: ACK frames, or the writer's word.
func BenchmarkMachineDeliver(b *testing.B) {
	for name, mode := range map[string]ackMode{"auto": ackAuto, "client-individual": ackIndividual} {
		b.Run(name, func(b *testing.B) {
			m := benchMachine(b, &nowhere{})
			s := &subscription{mode: mode, settles: mode == ackAuto, sub: nowhereToo{}, header: []byte("subscription:1\n"), number: 1}
			payload := []byte("persistent:true\ndestination:/queue/orders\ncontent-type:text/plain\n\n" + strings.Repeat("x", 256))
			ds := make([]delivery, 64)
			var acks bytes.Buffer
			var pool frame.Pool
			r := frame.NewReader(&acks, &pool, frame.Limits{HeaderCount: 9, HeaderSize: 1 << 12, Body: 1 << 12})
			r.SetVersion(frame.V12)
			b.ReportAllocs()
			key := uint64(0)
			for n := 0; n < b.N; n += len(ds) {
				acks.Reset()
				for i := range ds {
					key++
					ds[i] = delivery{sub: s, d: routing.Delivery{
						Tag:      routing.Tag{Shard: 1, Key: key},
						Envelope: routing.Envelope{Address: routing.Queue("orders"), Encoding: routing.EncodingSTOMP, Priority: 4, Timestamp: 1795603637863, Payload: payload},
					}}
					id := ds[i].d.Tag.AppendMessageID(append(acks.AvailableBuffer(), "ACK\nid:"...))
					acks.Write(append(id, "\n\n\x00\n"...))
				}
				m.deliver(ds)
				m.pump()
				m.out = m.out[:0]
				if mode == ackAuto {
					m.consumed(s, len(ds))
					s.encoded = 0
					m.written = m.written[:0]
					continue
				}
				for got := 0; got < len(ds); {
					batch, err := r.Read()
					if err != nil {
						b.Fatal(err)
					}
					for i := range batch.Frames {
						m.frame(&batch.Frames[i])
					}
					got += len(batch.Frames)
					pool.Put(batch)
				}
			}
			if m.state != stateOpen || s.unacked.len() > 0 {
				b.Fatalf("got state %d and %d unacknowledged", m.state, s.unacked.len())
			}
		})
	}
}
