package engine_test

import (
	"context"
	"testing"

	"github.com/rs/zerolog"

	"github.com/selvedge-mq/selvedge/routing"
	"github.com/selvedge-mq/selvedge/routing/engine"
	"github.com/selvedge-mq/selvedge/routing/memlog"
)

// flow keeps a window of sends under way and counts their ends.
type flow struct{ done chan int }

func (f *flow) Complete(rs []routing.Result) { f.done <- len(rs) }

type settler struct {
	sub  routing.Subscription
	done chan int
}

func (s *settler) Deliver(ds []routing.Delivery) {
	for i := range ds {
		s.sub.Settle(ds[i].Tag, routing.Outcome{Kind: routing.Accepted}, nil, 0)
	}
	s.sub.Grant(int32(len(ds)))
	s.done <- len(ds)
}
func (*settler) Drained(uint32) {}
func (*settler) Closed(error)   {}

// BenchmarkThroughQueue measures what a message costs from Send to Settle, with a
// log in memory.
func BenchmarkThroughQueue(b *testing.B) {
	f := memlog.NewFabric("a", 1, memlog.Options{})
	defer f.Close()
	n := newNetwork(1 << 20)
	e, err := engine.New(engine.Options{Fabric: f, Peers: n.join("a", 1), Log: zerolog.Nop()})
	if err != nil {
		b.Fatal(err)
	}
	defer e.Close()
	f.Lead(0)
	s, err := e.Open(context.Background(), routing.SessionOptions{})
	if err != nil {
		b.Fatal(err)
	}
	sink := &settler{done: make(chan int, 1<<16)}
	fl := &flow{done: make(chan int, 1<<16)}
	sink.sub = s.Subscribe(routing.SubscribeOptions{Address: routing.Queue("q")}, sink, nil, 0)
	sink.sub.Grant(1000)
	env := &routing.Envelope{Address: routing.Queue("q"), Encoding: routing.EncodingSTOMP, Persistent: true, Payload: make([]byte, 256)}
	b.ReportAllocs()
	b.ResetTimer()
	sent, confirmed, received := 0, 0, 0
	for confirmed < b.N || received < b.N {
		for sent < b.N && sent-confirmed < 1000 {
			s.Send(env, fl, uint64(sent))
			sent++
		}
		select {
		case k := <-fl.done:
			confirmed += k
		case k := <-sink.done:
			received += k
		}
	}
}
