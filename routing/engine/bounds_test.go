package engine_test

import (
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/selvedge-mq/selvedge/routing"
	"github.com/selvedge-mq/selvedge/routing/engine"
	"github.com/selvedge-mq/selvedge/routing/memlog"
)

// A front-end that does not pause when it is asked to must not fill the node's
// memory: not while a queue has no leader, nor while the hub is busy.
func TestBounds_SendsBeyondTheLimitAreRefused(t *testing.T) {
	for _, to := range []routing.Address{routing.Queue("q"), routing.Topic("q")} {
		synctest.Test(t, func(t *testing.T) {
			c := newCluster(t, 1, 1, func(o *engine.Options) { o.HeldBytes = 10 << 10 })
			n := c.nodes[0]
			busy := &stuckSink{client: n.client(t), entered: make(chan struct{}), goOn: make(chan struct{})}
			busy.s.Subscribe(routing.SubscribeOptions{Address: routing.Topic("q")}, busy, busy, 1).Grant(1000)
			p := n.client(t)
			send := func(token uint64) bool {
				return p.s.Send(&routing.Envelope{
					Address: to, Encoding: routing.EncodingSTOMP, Persistent: true, Payload: []byte(strings.Repeat("x", 1000)),
				}, p, token)
			}
			if to.Kind == routing.KindTopic {
				send(1000)
				<-busy.entered
			}
			room := 0
			for i := range uint64(100) {
				if send(i) {
					room++
				}
			}
			if room < 5 || room > 10 {
				t.Errorf("%v: got %d sends without being asked to pause, want about 10", to, room)
			}
			if to.Kind == routing.KindQueue {
				n.fabric.Lead(0)
			}
			close(busy.goOn)
			full := 0
			for i := range uint64(100) {
				switch err := p.result(i); routing.CodeOf(err) {
				case routing.CodeFull:
					full++
				case routing.CodeOK:
				default:
					t.Fatal(err)
				}
			}
			if full < 75 || full > 85 {
				t.Errorf("%v: got %d sends refused, want about 80", to, full)
			}
			if err := func() error { send(200); return p.result(200) }(); err != nil {
				t.Errorf("%v: got %v when there is room again", to, err)
			}
		})
	}
}

// Nodes told a new leader of more queues than a record of the log may have bytes:
// all of them were composed at once, the log refused the record, and the shard had
// no leader ever after.
func TestBounds_ManyNewQueuesAtOnceStandInManyRecords(t *testing.T) {
	const target, count = 32 << 10, 300 // names of 1 KiB
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 2, 1, func(o *engine.Options) { o.RecordBytes = target })
		var largest atomic.Int64
		c.nodes[0].fabric.View(0).SetHook(func(op memlog.Op) memlog.Fault {
			if op.Kind == memlog.Append && int64(len(op.Rec)) > largest.Load() {
				largest.Store(int64(len(op.Rec)))
			}
			return memlog.Fault{}
		})
		name := func(i int) string { return strconv.Itoa(i) + strings.Repeat("x", 1000) }
		subscribe := func(r *client, from int) (last routing.Subscription) {
			for i := from; i < from+count; i++ {
				last = r.s.Subscribe(routing.SubscribeOptions{Address: routing.Queue(name(i))}, r, r, uint64(i))
				last.Grant(1)
			}
			return last
		}
		r, other := c.nodes[0].client(t), c.nodes[1].client(t)
		subscribe(r, 0) // before there is a leader: they are reported
		subscribe(other, count)
		c.nodes[0].fabric.Lead(0)
		c.nodes[0].serves(t, 0)
		subscribe(r, 2*count) // while there is one
		subscribe(other, 3*count).Close(other, 1<<20)
		for i := range 4 * count {
			from := r
			if i/count%2 == 1 {
				from = other
			}
			if err := from.result(uint64(i)); err != nil {
				t.Fatal(err)
			}
		}
		if err := other.result(1 << 20); err != nil {
			t.Fatal(err)
		}
		for i := range 4 {
			r.send(uint64(1<<21+i), name(i*count), "x", true)
		}
		r.until("the messages", func() bool { return len(r.got) == 2 })
		other.until("the messages", func() bool { return len(other.got) == 2 })
		if n := largest.Load(); n < target/2 || n > 2*target {
			t.Errorf("got a record of %d octets, want about %d", n, target)
		}
	})
}
