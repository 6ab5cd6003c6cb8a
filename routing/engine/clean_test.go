package engine_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/selvedge-mq/selvedge/routing"
	"github.com/selvedge-mq/selvedge/routing/engine"
)

// stuckSink stops its node's portal until it is let go: the node's window fills.
type stuckSink struct {
	*client
	entered, goOn chan struct{}
	once          bool
}

func (s *stuckSink) Deliver(ds []routing.Delivery) {
	s.client.Deliver(ds)
	if !s.once {
		s.once = true
		close(s.entered)
		<-s.goOn
	}
}

// Deliveries wait in an outlet for a window; meanwhile the cleaner moves their
// records and purges the old ones. They are dropped, and held for ever.
func TestClean_DeliveriesSurviveThatTheirRecordsAreMoved(t *testing.T) {
	c := newCluster(t, 3, 1, func(o *engine.Options) { o.CacheBytes, o.CleanAbove = 1, 1<<20 })
	a, b := c.nodes[0], c.nodes[1]
	a.fabric.Lead(0)
	slow := &stuckSink{client: b.client(t), entered: make(chan struct{}), goOn: make(chan struct{})}
	letGo := sync.OnceFunc(func() { close(slow.goOn) })
	defer letGo()
	sub := slow.s.Subscribe(routing.SubscribeOptions{Address: routing.Queue("slow")}, slow, slow, 1)
	if err := slow.result(1); err != nil {
		t.Fatal(err)
	}
	p := a.client(t)
	big := string(make([]byte, 300<<10))
	const total = 12
	sub.Grant(total)
	for i := range total {
		p.send(uint64(i), "slow", big, true)
	}
	for i := range total {
		if err := p.result(uint64(i)); err != nil {
			t.Fatal(err)
		}
	}
	<-slow.entered
	r := a.client(t)
	fast := subscribed(t, r, "fast", 1)
	settled := 0
	purged := func() bool {
		first, _, err := a.fabric.View(0).Bounds(context.Background())
		return err == nil && first > 20
	}
	for i := 0; i < 400 && !purged(); i++ {
		fast.Grant(1)
		p.send(uint64(1000+i), "fast", big, true)
		r.until("the message", func() bool { return len(r.got) == i+1 })
		fast.Settle(r.got[i].Tag, accepted, r, uint64(10+i))
		_ = r.result(uint64(10 + i))
		settled++
	}
	if !purged() {
		t.Fatal("the log was not purged")
	}
	letGo()
	if !slow.within(5*time.Second, func() bool { return len(slow.got) == total }) {
		qs, _ := a.Queues(context.Background())
		t.Fatalf("got %d deliveries of %d (%d settled beside them); queues %+v", len(slow.got), total, settled, qs)
	}
}
