package peers

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"

	"github.com/selvedge-mq/selvedge/routing/engine"
)

// counter consumes what it receives, and tells its target and each Writable.
type counter struct {
	*Peers

	up       chan struct{} // closed by PeerUp
	writable chan struct{} // capacity 1
	seen     atomic.Int64
	target   atomic.Int64
	reached  chan struct{} // capacity 1
}

func (c *counter) PeerUp(string, uint64)   { close(c.up) }
func (c *counter) PeerDown(string, uint64) {}
func (c *counter) Receive(from string, lane engine.Lane, msg []byte) {
	c.Consumed(from, lane, len(msg))
	if c.seen.Add(1) == c.target.Load() {
		c.reached <- struct{}{}
	}
}

func (c *counter) Writable(string, engine.Lane) {
	select {
	case c.writable <- struct{}{}:
	default:
	}
}

func (c *counter) Answer(context.Context, string, string, []byte) ([]byte, error) {
	return nil, errors.New("no such method")
}

// counters returns two nodes that are up.
func counters(b *testing.B) (from, to *counter) {
	b.Helper()
	url := startServer(b)
	var both [2]*counter
	for i, name := range []string{"a", "b"} {
		p, err := New(Options{Conn: connect(b, url), Node: name, Session: uint64(i + 1)})
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(p.Close)
		both[i] = &counter{
			Peers: p, up: make(chan struct{}), writable: make(chan struct{}, 1), reached: make(chan struct{}, 1),
		}
		p.Start(both[i])
	}
	<-both[0].up
	<-both[1].up
	return both[0], both[1]
}

// BenchmarkPeers_Batches sends batches of 64 messages of 300 bytes as fast as
// the window allows; an operation is a batch.
func BenchmarkPeers_Batches(b *testing.B) {
	from, to := counters(b)
	msg := make([]byte, 300)
	to.target.Store(int64(b.N) * 64)
	b.SetBytes(64 * 300)
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		for range 64 {
			for !from.Send("b", engine.LaneDeliver, msg) {
				<-from.writable
			}
		}
	}
	<-to.reached
	b.ReportMetric(float64(b.N)*64/b.Elapsed().Seconds(), "msgs/s")
}

// BenchmarkPeers_OneByOne sends a message when the former one has arrived.
func BenchmarkPeers_OneByOne(b *testing.B) {
	from, to := counters(b)
	msg := make([]byte, 300)
	b.ReportAllocs()
	for i := range b.N {
		to.target.Store(int64(i) + 1)
		if !from.Send("b", engine.LaneDeliver, msg) {
			<-from.writable
		}
		<-to.reached
	}
}
