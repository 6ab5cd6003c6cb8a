package bench

import (
	"context"
	"fmt"
	"sync/atomic"

	"github.com/selvedge-mq/selvedge/cmd/selvedge/internal/endpoint"
)

// consumer receives from its queues and enters into the ledger what it got.
type consumer struct {
	b      *Bench
	number int
	queues []int
	orders map[int]*order // by queue; made once
	want   []byte         // the filler that bodies must have

	received   atomic.Uint64
	reconnects atomic.Uint64
	latency    latency
	receipts   timeline
}

func newConsumer(b *Bench, number int) *consumer {
	c := &consumer{b: b, number: number, queues: b.opts.queuesOf(number), orders: make(map[int]*order), want: newBody(b.opts.Size)}
	for _, q := range c.queues {
		c.orders[q] = &order{}
	}
	return c
}

// run receives until ctx is over. It tells ready once whether the first
// connection came about.
func (c *consumer) run(ctx context.Context, ready chan<- error) {
	d := c.b.opts.driver(c.b.opts.ConsumerProtocol)
	servers := c.b.opts.ConsumerServers
	for attempt := 0; ; attempt++ {
		before := c.received.Load()
		server := servers[(c.number+int(c.reconnects.Load()))%len(servers)]
		err := c.session(ctx, d, server, ready)
		ready = nil
		if err == nil || ctx.Err() != nil {
			return
		}
		c.b.failures.add(fmt.Errorf("consumer on %s: %w", endpoint.Shown(server), err))
		if !c.b.opts.Reconnect {
			return
		}
		if c.received.Load() > before {
			attempt = 0
		}
		redial(ctx, attempt)
		c.reconnects.Add(1)
	}
}

// session receives over one connection until it fails or ctx is over.
func (c *consumer) session(ctx context.Context, d driver, server string, ready chan<- error) error {
	dialing, cancel := context.WithTimeout(ctx, c.b.opts.Patience)
	in, err := d.consume(dialing, server, c.queues, c)
	cancel()
	if ready != nil {
		ready <- err
	}
	if err != nil {
		return err
	}
	select {
	case <-in.done():
		in.abort()
		return in.err()
	case <-ctx.Done():
	}
	closeCtx, cancel := closing(ctx)
	defer cancel()
	if err := in.close(closeCtx); err != nil {
		c.b.failures.add(fmt.Errorf("consumer on %s: close: %w", server, err))
	}
	return nil
}

// receive implements receiver.
func (c *consumer) receive(queue int, body []byte, redelivered bool) {
	l := c.b.ledger
	s, ok := readStamp(body)
	switch {
	case !ok || s.seq >= maxSeq || s.producer >= maxProducers:
		l.corrupted.Add(1)
		return
	case !l.ours(s.run):
		l.foreign.Add(1)
		return
	case !fillerIntact(body, c.want):
		l.corrupted.Add(1)
		return
	}
	first := l.account(s.producer).receive(s.seq, redelivered)
	if first && !c.orders[queue].arrived(s.producer, s.seq, redelivered) {
		l.outOfOrder.Add(1)
	}
	c.received.Add(1)
	now := c.b.since()
	if first {
		c.latency.record(c.b.start.UnixNano() + int64(now) - s.sent)
	}
	c.receipts.mark(now)
	c.b.receipts.mark(now)
	c.b.noteArrival()
}
