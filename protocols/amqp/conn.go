package amqp

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"

	"github.com/selvedge-mq/selvedge/internal/aside"
	"github.com/selvedge-mq/selvedge/internal/mailbox"
	"github.com/selvedge-mq/selvedge/protocols"
	"github.com/selvedge-mq/selvedge/protocols/amqp/frames"
	"github.com/selvedge-mq/selvedge/routing"
)

const (
	outHigh = bufferSize // bytes that wait for the writer before deliveries wait too
	outFull = 1 << 20    // and before the reader does

	eventsKept = 32 // events whose memory is kept for the next ones
)

// conn is one connection: a reader, an owner and a writer. All state belongs to
// the owner; there is no lock. The engine's goroutines reach it by the mailbox.
type conn struct {
	f         *Frontend
	nc        net.Conn
	principal routing.Principal
	reader    *reader

	in  chan *batch // reader to owner
	out chan []byte // owner to writer, which gives it back to the pool
	box *mailbox.Mailbox[event]

	state    state
	err      error // why the connection ends
	clock    clock
	peer     peer
	routing  routing.Session                  // of all the sessions; nil until the first begins
	sessions slots[*session]                  // by the peer's channel
	links    int                              // of all the sessions
	nodes    map[routing.Address]*dynamicNode // the dynamic nodes of the connection
	txns     map[uint64]*txn
	lastTxn  uint64
	retired  int // deliveries that open transactions settle

	suspended []resumable // whose timeouts wait for the end of a session or of this

	parts    int        // bytes that deliveries hold of which not all came
	buf      []byte     // bytes for the writer; nil when there are none
	events   []event    // the last ones taken, for reuse
	dirty    []*session // those that owe dispositions or flows
	ready    []*session // those with deliveries to write
	large    large
	backlog  backlog
	load     load
	draining bool
	broken   bool // the stream ended or the owner panicked, there is nobody to write to
	deaf     bool // the input cannot be understood any more; the reader has ended
	counts   counts
	now      int64 // Unix milliseconds, of the batch being worked on

	borrowed *scratch // for the turn, once it is needed
}

// scratch is what the calls of a turn need that take a pointer.
type scratch struct {
	decoder     frames.Decoder
	envelope    routing.Envelope
	flow        frames.Flow
	disposition frames.Disposition
	tag         [4]byte
}

// scratch returns the turn's.
func (c *conn) scratch() *scratch {
	if c.borrowed == nil {
		c.borrowed = c.f.pools.scratch()
	}
	return c.borrowed
}

// giveBack ends the use of the turn's scratch.
func (c *conn) giveBack() {
	if c.borrowed != nil {
		c.f.pools.putScratch(c.borrowed)
		c.borrowed = nil
	}
}

// counts are what the metrics are told at the end of a turn.
type counts struct{ received, sent int }

func newConn(f *Frontend, nc net.Conn, r *reader, who routing.Principal, login time.Time) *conn {
	return &conn{
		f: f, nc: nc, reader: r, principal: who,
		in:    make(chan *batch),
		out:   make(chan []byte),
		box:   mailbox.New[event](),
		clock: clock{timer: time.NewTimer(f.o.Env.Limits.LoginTimeout), open: login},
	}
}

// serve runs the three parts until the connection ends. A panic of the owner goes
// on to the caller, but nothing of the connection stays behind.
func (c *conn) serve(ctx context.Context) (err error) {
	run, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cancel(nil)
	written := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() { c.read(run) })
	wg.Go(func() {
		defer close(written)
		if err := c.write(); err != nil {
			cancel(err)
		}
	})
	whole := false
	defer func() {
		c.finish(written)
		cancel(err)
		hangUp(c.nc)
		wg.Wait()
		c.debug().Err(err).Msg("connection ended")
	}()
	defer func() { // before the parts end, which they do even if this panics too
		c.broken = c.broken || !whole
		defer c.expireSuspended(nil)
		c.releaseSessions()
		c.forgetSessions()
	}()
	err = c.own(ctx, run)
	whole = true
	return err
}

// read passes the reader's batches to the owner; the last one has an error.
func (c *conn) read(run context.Context) {
	for {
		b := c.reader.next()
		last := b.err != nil
		select {
		case c.in <- b:
		case <-run.Done():
			return
		}
		if last {
			return
		}
	}
}

// write writes what the owner hands over until there is no more. After an error
// it only takes and drops, so that the owner never waits for it.
func (c *conn) write() error {
	var err error
	for b := range c.out {
		if err == nil {
			if err = c.nc.SetWriteDeadline(time.Now().Add(writeTimeout)); err == nil {
				_, err = c.nc.Write(b)
			}
			if err != nil {
				hangUp(c.nc) // ends the reader, and by it the owner
			}
		}
		c.f.pools.putBuffer(b)
	}
	return err
}

// own is the owner: it takes what comes from the peer, the engine and the
// clock, one after the other, and answers at the end of each turn.
func (c *conn) own(ctx, run context.Context) error {
	defer c.clock.timer.Stop()
	c.clock.hear = time.Now().Add(c.f.o.IdleTimeout / looks)
	c.clock.arm()
	stop := ctx.Done()
	for {
		in, out := c.in, c.out
		if c.paused() {
			in = nil
		}
		if len(c.buf) == 0 {
			out = nil
		}
		select {
		case b := <-in:
			if b.rare() {
				aside.Do(func() { c.takeBatch(ctx, b) })
			} else {
				c.takeBatch(ctx, b)
			}
		case <-c.box.Ready():
			c.takeEvents()
		case out <- c.buf:
			c.handed()
		case now := <-c.clock.timer.C:
			c.tick(now)
		case <-stop:
			stop = c.stops(ctx, stop)
		case <-run.Done():
			return context.Cause(run)
		}
		c.turn()
		c.giveBack()
		if c.state == ended {
			return c.err
		}
	}
}

// paused reports whether the reader waits: for the engine to take more, or for
// a peer that does not read its answers.
func (c *conn) paused() bool {
	return c.state < closeSent && (c.load.full(c.f.o.Env.Limits) || len(c.buf) > outFull)
}

// takeBatch works through the frames of a batch and gives it back.
func (c *conn) takeBatch(ctx context.Context, b *batch) {
	c.now = time.Now().UnixMilli()
	for i := range b.frames {
		if c.state == ended {
			break
		}
		c.dispatch(ctx, &b.frames[i])
	}
	if b.err != nil {
		c.inputEnded(b.err)
	}
	c.giveBack() // it aliases the batch
	c.f.pools.putBatch(b)
}

// takeEvents works through what the engine told.
func (c *conn) takeEvents() {
	c.events = c.box.Take(c.events)
	for i := range c.events {
		c.events[i].apply(c)
	}
	if cap(c.events) > eventsKept {
		c.events = nil
	}
}

// turn ends a turn: what is owed is encoded, deliveries are as far as there is
// room, and the writer is handed the bytes if it waits for some.
func (c *conn) turn() {
	c.report()
	for c.state < closeSent {
		c.settleLoad()
		c.flush()
		more := c.pump()
		c.refill()
		if len(c.buf) == 0 {
			break
		}
		select {
		case c.out <- c.buf:
			c.handed()
			if !more {
				return
			}
		default:
			return
		}
	}
}

func (c *conn) handed() {
	c.buf = nil
	c.clock.written = true
}

// report tells the metrics what was counted.
func (c *conn) report() {
	if c.counts.received > 0 {
		c.f.metrics.received.Add(float64(c.counts.received))
	}
	if c.counts.sent > 0 {
		c.f.metrics.sent.Add(float64(c.counts.sent))
	}
	c.counts = counts{}
}

// stops begins the end of the connection when ctx has ended, which by says, and returns
// what tells later that there will be no confirmations any more; by that it ends the wait.
func (c *conn) stops(ctx context.Context, by <-chan struct{}) (next <-chan struct{}) {
	if by == ctx.Done() {
		c.drain(context.Cause(ctx))
		return c.f.o.Env.Alone
	}
	c.forsake()
	return nil
}

// drain begins the end of the connection because the node or the caller ends.
func (c *conn) drain(cause error) {
	if c.err == nil {
		c.err = cause
	}
	if c.state != opened {
		if c.state == waiting {
			c.state = ended
		}
		return
	}
	c.draining = true
	grace := drainGrace
	if !errors.Is(cause, protocols.ErrDraining) {
		grace = 0
	}
	c.clock.grace = time.Now().Add(grace)
	c.clock.arm()
}

// forsake ends a wait for confirmations, since there will be none any more.
func (c *conn) forsake() {
	if c.state == closing || c.state == opened && c.draining {
		c.graceOver()
	}
}

// finish lets the writer write what is left, within the grace time.
func (c *conn) finish(written <-chan struct{}) {
	if c.state != ended || c.broken {
		hangUp(c.nc) // frees a blocked writer
	}
	c.report()
	limit := time.NewTimer(closeGrace)
	defer limit.Stop()
	if len(c.buf) > 0 && !c.broken {
		select {
		case c.out <- c.buf:
		case <-limit.C:
		}
	}
	close(c.out)
	select {
	case <-written:
	case <-limit.C:
	}
	if c.deaf && !c.broken {
		linger(c.nc)
	}
}
