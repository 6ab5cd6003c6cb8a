// Package bench puts a load on a broker through its wire protocols and checks
// what comes back: nothing lost, nothing twice, everything in order. It knows
// clients, sequence numbers and clocks; of the broker it knows what a client
// can see.
package bench

import (
	"context"
	"io"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
)

// Bench is one run. Make it with New and use it once.
type Bench struct {
	opts      Options
	run       uint32
	start     time.Time
	ledger    *ledger
	producers []*producer
	consumers []*consumer
	pace      *rate.Limiter // nil: as fast as it goes

	sendsBegan time.Duration // of the run; written before and after the producers run
	sendsEnded time.Duration

	confirms timeline // of all producers
	receipts timeline // of all consumers
	failures failures
	produced atomic.Bool // no producer will send any more
	arrived  chan struct{}
}

// New checks the options and prepares a run.
func New(opts Options) (*Bench, error) {
	if err := opts.complete(); err != nil {
		return nil, err
	}
	b := &Bench{opts: opts, arrived: make(chan struct{}, 1)}
	if opts.Producers > 0 {
		b.run = rand.Uint32() | 1 // 0 means: not known yet
	}
	b.ledger = newLedger(b.run)
	if opts.Rate > 0 {
		b.pace = rate.NewLimiter(rate.Limit(opts.Rate), max(1, int(opts.Rate/100)))
	}
	return b, nil
}

// Run puts the load on and waits for its end: all messages confirmed and
// received, the time over, or ctx canceled. Each second it writes a line to
// progress. The error tells why the run could not be made at all; what the run
// found wrong is in the report.
func (b *Bench) Run(ctx context.Context, progress io.Writer) (*Report, error) {
	b.start = time.Now()
	receiving, stopReceiving := context.WithCancel(ctx)
	defer stopReceiving()
	var consumers sync.WaitGroup
	if err := b.startConsumers(receiving, &consumers); err != nil {
		stopReceiving()
		consumers.Wait()
		return nil, err
	}
	for n := range b.opts.Producers {
		b.producers = append(b.producers, newProducer(b, n))
	}
	p := newProgress(b, progress)
	watching, stopWatching := context.WithCancel(ctx)
	defer stopWatching()
	var watch sync.WaitGroup
	watch.Go(func() { p.run(watching) })

	b.produce(ctx)
	b.drain(ctx)
	stopReceiving()
	consumers.Wait()
	stopWatching()
	watch.Wait()
	return b.report(p.finish()), nil
}

// startConsumers starts all consumers and waits until each has subscribed or
// failed to.
func (b *Bench) startConsumers(ctx context.Context, wg *sync.WaitGroup) error {
	ready := make(chan error, b.opts.Consumers)
	for n := range b.opts.Consumers {
		c := newConsumer(b, n)
		b.consumers = append(b.consumers, c)
		wg.Go(func() { c.run(ctx, ready) })
	}
	var failed error
	for range b.opts.Consumers {
		if err := <-ready; err != nil {
			failed = err
		}
	}
	if b.opts.Reconnect {
		return nil
	}
	return failed
}

// produce runs the producers until they are done.
func (b *Bench) produce(ctx context.Context) {
	sending, stop := ctx, context.CancelFunc(func() {})
	if b.opts.Duration > 0 {
		sending, stop = context.WithTimeout(ctx, b.opts.Duration)
	}
	defer stop()
	b.sendsBegan = b.since()
	var wg sync.WaitGroup
	for _, p := range b.producers {
		wg.Go(func() { p.run(ctx, sending) })
	}
	wg.Wait()
	b.sendsEnded = b.since()
	b.produced.Store(true)
}

// drain waits until everything that must arrive has arrived, or nothing came
// for longer than the patience; then it lingers for what should not come.
func (b *Bench) drain(ctx context.Context) {
	if b.opts.Consumers == 0 {
		return
	}
	idle := time.NewTimer(b.opts.Patience)
	defer idle.Stop()
	var over <-chan time.Time
	if b.opts.Producers == 0 && b.opts.Duration > 0 {
		t := time.NewTimer(b.opts.Duration)
		defer t.Stop()
		over = t.C
	}
	for !b.complete() {
		select {
		case <-b.arrived:
			idle.Reset(b.opts.Patience)
		case <-idle.C:
			return
		case <-over:
			return
		case <-ctx.Done():
			return
		}
	}
	linger := time.NewTimer(b.opts.Linger)
	defer linger.Stop()
	select {
	case <-linger.C:
	case <-ctx.Done():
	}
}

// complete reports whether every message that must arrive has arrived.
func (b *Bench) complete() bool {
	if b.opts.Producers > 0 {
		return b.ledger.missing() == 0
	}
	return b.opts.Count > 0 && b.ledger.distinct() >= uint64(b.opts.Count)
}

// noteArrival wakes drain. It costs next to nothing while producers work.
func (b *Bench) noteArrival() {
	if b.produced.Load() || b.opts.Producers == 0 {
		select {
		case b.arrived <- struct{}{}:
		default:
		}
	}
}

// since is the time of the run on its monotonic clock.
func (b *Bench) since() time.Duration { return time.Since(b.start) }

// now is the time that is written into messages: the wall clock at the start
// and the monotonic clock from there.
func (b *Bench) now() int64 { return b.start.UnixNano() + int64(b.since()) }
