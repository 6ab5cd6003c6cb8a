package stomp

import (
	"context"
	"errors"
	"net"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/selvedge-mq/selvedge/internal/aside"
	"github.com/selvedge-mq/selvedge/internal/mailbox"
	"github.com/selvedge-mq/selvedge/protocols"
	"github.com/selvedge-mq/selvedge/protocols/stomp/frame"
	"github.com/selvedge-mq/selvedge/routing"
)

const (
	lingerTime  = time.Second      // for the client to close after our last octet
	lingerBytes = 4 << 20          // that are read and dropped in that time
	closeTime   = 2 * time.Second  // to write each 64 KiB of the last frames
	drainTime   = 2 * time.Second  // for confirmations when the node stops
	mutedTime   = 5 * time.Second  // between frames already sent by a client that reads no more
	mutedMost   = time.Minute      // for all of them
	idleTime    = 10 * time.Second // without input: the reader gives its buffer back
)

// Errors that end a connection without an ERROR frame.
var (
	errLogin = errors.New("stomp: no CONNECT within the login timeout")
	errBeat  = errors.New("stomp: the client's heart-beats stopped")
	errIdle  = errors.New("stomp: the connection was idle for too long")
	errDeaf  = errors.New("stomp: the client read nothing for too long")
)

// closeWriter is the ability of TCP and TLS connections to end one direction.
type closeWriter interface{ CloseWrite() error }

// conn runs a machine: a reader goroutine, a writer goroutine for as long as there is
// output, and the owner, which is the goroutine of serve and the only one that touches
// the machine.
type conn struct {
	fe     *Frontend
	nc     net.Conn
	half   closeWriter // nil when the connection cannot
	reader *frame.Reader
	writer *writer
	m      *machine
	wg     sync.WaitGroup

	input      chan input         // reader → owner
	negotiated chan frame.Version // owner → reader: the answer to CONNECT
	discard    chan struct{}      // closed: the reader drops what comes
	over       chan struct{}      // made before that; closed: the connection is
	fromWriter chan written       // writer → owner, one at a time

	// What the broker says: the three wake the owner by one channel.
	deliveries *mailbox.Mailbox[delivery]
	results    *mailbox.Mailbox[routing.Result]
	events     *mailbox.Mailbox[event]

	claim *claim // of logIn, then of shut: the client-id; nil without

	lastRead atomic.Int64 // Unix nanoseconds
	deafEnd  atomic.Int64 // when the reading ends because the client reads no more; 0 is not known
	nudged   atomic.Bool  // the reader's deadline is the owner's way to wake it

	// Of the owner alone.
	batch    *frame.Batch
	next     int // frame of the batch
	writing  bool
	granting []grant // what the writer's bytes are worth when they are written
	dBatch   []delivery
	rBatch   []routing.Result
	eBatch   []event
	started  time.Time
	shrunk   int64     // lastRead when the reader was asked to shrink
	drainBy  time.Time // zero: not draining
	leaving  bool      // the client must read
	waited   bool      // the client had to wait, as of the last look at the clock
	ended    bool      // the input ended
	gone     bool      // it did during a write, at whose end the machine is told
	parting  bool      // DISCONNECT waits for the end of a large message
}

type input struct {
	batch *frame.Batch
	err   error
}

type written struct {
	buf []byte
	err error
}

type grant struct {
	sub *subscription
	n   int32
}

// completer lets the broker put results into the owner's mailbox.
type completer struct {
	*mailbox.Mailbox[routing.Result]
}

func (c completer) Complete(results []routing.Result) { c.Put(results...) }

func newConn(f *Frontend, nc net.Conn) *conn {
	c := &conn{
		fe: f, nc: nc,
		input:      make(chan input, 1),
		negotiated: make(chan frame.Version, 1),
		discard:    make(chan struct{}),
		fromWriter: make(chan written, 1),
		deliveries: mailbox.New[delivery](),
		started:    time.Now(),
	}
	c.results, c.events = mailbox.Beside[routing.Result](c.deliveries), mailbox.Beside[event](c.deliveries)
	c.half, _ = nc.(closeWriter)
	c.writer = newWriter(nc, f.own.Write)
	c.lastRead.Store(c.started.UnixNano())
	c.reader = frame.NewReader(noticed{c}, &f.batches, frame.Limits{
		HeaderCount: f.limits.HeaderCount, HeaderSize: f.limits.HeaderSize,
		Body: f.limits.LargeSize, Whole: f.limits.Whole(),
		Login: f.own.LoginFrame, StrictEscapes: f.dialect.strict,
	})
	id := f.newSessionID()
	remote := ""
	if a := nc.RemoteAddr(); a != nil {
		remote = a.String()
	}
	c.m = &machine{
		fe: f, sessionID: id, remote: remote,
		results:    completer{c.results},
		deliveries: c.deliveries,
		events:     c.events,
		subs:       make(map[subKey]*subscription),
		acks:       make(map[ackKey]ackPlace),
		whole:      c.writer.messages != nil,
	}
	return c
}

// noticed is the connection's input; every octet counts as a sign of life.
type noticed struct{ c *conn }

func (n noticed) Read(p []byte) (int, error) {
	if end := n.c.deafEnd.Load(); end != 0 { // however long the frames before took
		n.c.boundRead(time.Unix(0, end))
	}
	k, err := n.c.nc.Read(p)
	if k > 0 {
		n.c.lastRead.Store(time.Now().UnixNano())
	}
	return k, err
}

// boundRead bounds the Read that waits, or the next one.
func (c *conn) boundRead(end time.Time) {
	if t := time.Now().Add(mutedTime); t.Before(end) {
		end = t
	}
	_ = c.nc.SetReadDeadline(end) // reading fails anyway if this does
}

// serve runs the connection to its end.
func (c *conn) serve(ctx context.Context) error {
	loginCtx, cancel := context.WithCancel(ctx)
	c.m.login = func(l login, o routing.SessionOptions) {
		c.wg.Go(func() { c.logIn(loginCtx, l, o) })
	}
	c.m.carried, _ = protocols.LoginOf(ctx)
	c.wg.Go(c.read)
	graceful := false
	defer func() { // also when the owner panics
		cancel()
		c.shut(graceful)
	}()
	err := c.run(ctx)
	if graceful = err == nil; graceful {
		err = c.m.cause
	}
	c.fe.metrics.ended(err)
	c.m.noteEnd(err)
	return err
}

// logIn runs outside the owner: passwords take their time.
func (c *conn) logIn(ctx context.Context, l login, o routing.SessionOptions) {
	l.Remote = c.nc.RemoteAddr()
	if l.Mechanism == anonymous && slices.Contains(c.fe.env.Auth.Mechanisms(ctx, l.Remote), external) {
		l.Mechanism = external
	}
	var session routing.Session
	principal, err := c.authenticate(ctx, l)
	if err == nil {
		err = c.claimID(ctx, principal, o)
	}
	if err == nil {
		o.Principal = principal
		session, err = c.fe.env.Broker.Open(ctx, o)
	}
	claim := c.claim
	c.events.Put(event{session: session, run: func(m *machine) {
		m.claim = claim
		m.loggedIn(session, principal.Name, err)
		if m.state == stateOpen {
			c.negotiated <- m.version
		}
	}})
}

// run is the owner. A nil error means that everything was written.
func (c *conn) run(ctx context.Context) error {
	timer := time.NewTimer(c.fe.limits.LoginTimeout)
	defer timer.Stop()
	done := ctx.Done()
	for {
		now := time.Now()
		c.m.now, c.m.tracing = now.UnixMilli(), c.m.traced()
		c.work()
		c.flush(now)
		if c.m.state == stateClosing && !c.writing {
			return nil
		}
		wait, err := c.tick(now)
		if err != nil {
			return err
		}
		timer.Reset(wait)
		var in chan input
		if c.batch == nil && !c.ended && c.m.takesFrames() {
			in = c.input
		}
		select {
		case i := <-in:
			c.take(i)
		case <-c.deliveries.Ready(): // or one of the mailboxes beside it
			c.mail()
		case w := <-c.fromWriter:
			c.wrote(w)
		case <-timer.C:
		case <-done:
			if done, err = c.stops(ctx, done); err != nil {
				return err
			}
		}
	}
}

// work deals with frames while the machine takes them, then encodes deliveries.
func (c *conn) work() {
	c.m.buffer()
	c.parting = false
	for c.batch != nil && c.m.takesFrames() {
		f := &c.batch.Frames[c.next]
		if c.m.mustWait(f) {
			c.parting = f.Command == frame.Disconnect
			break
		}
		if goesDeep(f.Command) {
			aside.Do(func() { c.m.frame(f) })
		} else {
			c.m.frame(f)
		}
		if c.next++; c.next == len(c.batch.Frames) {
			c.dropBatch()
		}
	}
	if c.batch != nil && c.m.state >= stateLeaving {
		c.dropBatch()
	}
	c.m.pump()
	c.m.grantAgain()
	c.m.refill()
	c.m.progress()
	c.m.count()
}

// goesDeep tells the commands of which a connection has few, and which need more of a
// stack than an idle connection should hold.
func goesDeep(c frame.Command) bool {
	return c == frame.Connect || c == frame.Stomp || c == frame.Subscribe
}

func (c *conn) dropBatch() {
	c.fe.batches.Put(c.batch)
	c.batch, c.next = nil, 0
}

// take takes what the reader found.
func (c *conn) take(i input) {
	if i.err == nil {
		c.batch, c.next = i.batch, 0
		return
	}
	c.ended = true
	if e, ok := errors.AsType[*frame.SyntaxError](i.err); ok {
		c.ended = false // more may follow, which is dropped
		c.m.cutShort(e)
		return
	}
	if errors.Is(i.err, frame.ErrTLS) {
		c.m.cause = i.err
		c.m.debug().Msg("client spoke TLS on a clear port")
	}
	if c.writing { // what the client has read before it went is consumed
		c.gone = true
		c.writer.hurry()
		return
	}
	c.m.leave(false)
}

// mail takes what the broker said. Deliveries that were put before a result are
// dealt with before it.
func (c *conn) mail() {
	c.m.buffer()
	c.eBatch = c.events.Take(c.eBatch)
	c.rBatch = c.results.Take(c.rBatch)
	c.dBatch = c.deliveries.Take(c.dBatch)
	c.m.deliver(c.dBatch)
	c.m.complete(c.rBatch)
	for _, e := range c.eBatch {
		e.run(c.m)
	}
}

// rest gives back the memory that an idle connection does not need.
func (c *conn) rest(now time.Time) {
	c.dBatch, c.rBatch = nil, nil
	c.mail() // the mailboxes give theirs
	c.dBatch, c.rBatch = nil, nil
	c.m.rest()
	c.flush(now) // mail took a buffer to write to
}

// flush hands what is encoded to the writer, if it is free.
func (c *conn) flush(now time.Time) {
	m := c.m
	if m.muted {
		m.dropOut()
	}
	if (m.state >= stateLeaving || c.parting) && !c.leaving {
		c.leaving = true // from now on the client must read
		c.writer.hurry()
	}
	if c.writing {
		return
	}
	if len(m.out) == 0 && m.outgoing == nil { // an idle connection holds no buffer
		c.fe.giveBuffer(m.out)
		m.out = nil
		return
	}
	var out output
	var ok bool
	if out, c.granting, ok = m.nextOutput(c.granting); ok {
		c.writing = true
		m.beats.wrote = now
		c.wg.Go(func() { c.fromWriter <- written{out.buf, c.writer.write(out)} })
	}
}

// wrote takes the writer's answer: what is written may be replaced by new
// deliveries.
func (c *conn) wrote(w written) {
	c.writing = false
	for _, g := range c.granting {
		if w.err == nil {
			c.m.wrote(g.sub, g.n)
		}
	}
	clear(c.granting)
	c.granting = c.granting[:0]
	c.fe.giveBuffer(w.buf)
	if w.err == nil {
		c.m.wroteLarge()
	}
	if w.err != nil && !c.m.muted {
		c.m.debug().Err(w.err).Msg("client reads no more")
		if c.m.state == stateOpen && errors.Is(w.err, os.ErrDeadlineExceeded) {
			c.m.cause = errDeaf
		}
		// Over a WebSocket the deadline has ended the reading too: what the client had sent
		// and nobody had read is lost then, as when it is reset. The connection ends anyway.
		c.m.mute()
		end := time.Now().Add(mutedMost)
		c.deafEnd.Store(end.UnixNano())
		c.boundRead(end)
	}
	if c.gone {
		c.gone = false
		c.m.leave(false)
	}
}

// stops has the client told when ctx has ended, which by says, and returns what tells
// later that there will be no confirmations any more; by that it ends the wait.
func (c *conn) stops(ctx context.Context, by <-chan struct{}) (next <-chan struct{}, err error) {
	cause := context.Cause(ctx)
	switch {
	case !errors.Is(cause, protocols.ErrDraining):
		return nil, cause
	case by == ctx.Done():
		c.drain(cause, drainTime)
		return c.fe.env.Alone, nil
	}
	c.drain(cause, 0)
	return nil, nil
}

// drain tells the client that the node stops, when its sends are confirmed or
// the time for it is over.
func (c *conn) drain(cause error, patience time.Duration) {
	c.drainBy = time.Now().Add(patience)
	c.writer.endBy(c.drainBy.Add(closeTime))
	if c.m.state < stateLeaving { // else it is told what it waits for
		c.m.farewell = stopping(cause)
	}
	c.m.leave(true)
}

// tick does what is due by the clock and returns how long nothing is.
func (c *conn) tick(now time.Time) (time.Duration, error) {
	m := c.m
	wait := never
	switch m.state {
	case stateNew, stateLogin:
		if wait = c.fe.limits.LoginTimeout - now.Sub(c.started); wait <= 0 {
			return 0, errLogin
		}
		return wait, nil
	case stateLeaving:
		if !c.drainBy.IsZero() {
			if wait = c.drainBy.Sub(now); wait <= 0 {
				m.abandon()
				return 0, nil
			}
		}
		return min(wait, c.beat(now)), nil
	case stateClosing:
		return wait, nil
	case stateOpen:
	}
	waits := c.batch != nil || !m.takesFrames()
	if waits || c.waited {
		c.lastRead.Store(now.UnixNano()) // the client waits for us, not we for it
	}
	c.waited = waits
	expired := m.untilExpired(waits)
	if len(m.out) > 0 && !c.writing && m.outgoing == nil {
		return 0, nil // the ERROR about a transaction
	}
	read := c.lastRead.Load()
	dead := m.beats.untilDead(now, time.Unix(0, read))
	if dead <= 0 {
		return 0, errBeat
	}
	idle := c.untilIdle(now, read)
	if idle <= 0 {
		return 0, errIdle
	}
	return min(wait, dead, idle, c.beat(now), expired, c.shrink(now, read)), nil
}

// beat sends a heart-beat when one is due, and returns how long none is. While something
// is written none is needed, and who reads no more gets none.
func (c *conn) beat(now time.Time) time.Duration {
	m := c.m
	if out := m.beats.untilOut(now); out > 0 {
		return out
	}
	if m.muted {
		return never
	}
	if !c.writing && m.outgoing == nil {
		m.out = appendBeat(m.out)
		c.flush(now)
	}
	return m.beats.out
}

// untilIdle returns how long it is until a connection without heart-beats counts
// as forgotten.
func (c *conn) untilIdle(now time.Time, read int64) time.Duration {
	limit := c.fe.own.Idle
	if limit == 0 || c.m.beats.in != 0 || c.writing || c.m.outgoing != nil {
		return never
	}
	last := time.Unix(0, read)
	if wrote := c.m.beats.wrote; wrote.After(last) {
		last = wrote
	}
	return limit - now.Sub(last)
}

// shrink wakes the reader of an idle connection, so that it gives its buffer
// back. It is done only where a deadline leaves the connection whole.
func (c *conn) shrink(now time.Time, read int64) time.Duration {
	if c.half == nil || c.ended || c.m.muted || c.shrunk == read {
		return never
	}
	left := idleTime - now.Sub(time.Unix(0, read))
	if left > 0 {
		return left
	}
	c.shrunk = read
	c.rest(now)
	c.nudged.Store(true)
	_ = c.nc.SetReadDeadline(now) // without it the buffer stays, nothing worse
	return never
}

// read is the reader goroutine.
func (c *conn) read() {
	for {
		b, err := c.reader.Read()
		if err != nil && c.wasNudged(err) {
			continue
		}
		begins := err == nil && begins(b)
		if !c.hand(b, err) || err != nil || begins && !c.negotiate() {
			return
		}
	}
}

// wasNudged reports whether the owner has ended a Read, so that the reader gives its
// buffer back.
func (c *conn) wasNudged(err error) bool {
	if !errors.Is(err, os.ErrDeadlineExceeded) || !c.nudged.Swap(false) {
		return false
	}
	_ = c.nc.SetReadDeadline(time.Time{}) // if it fails the next read does too
	c.reader.Shrink()
	return true
}

// begins reports whether a batch ends with a CONNECT: what follows depends on its answer.
func begins(b *frame.Batch) bool {
	last := b.Frames[len(b.Frames)-1].Command
	return last == frame.Connect || last == frame.Stomp
}

// hand gives the owner what was read. It is false at the end of the connection, and when
// what follows a breach of the framing was dropped.
func (c *conn) hand(b *frame.Batch, err error) bool {
	select {
	case c.input <- input{b, err}:
	case <-c.discard:
		c.linger()
		return false
	}
	if _, syntax := errors.AsType[*frame.SyntaxError](err); syntax {
		<-c.discard
		c.linger()
	}
	return true
}

// negotiate waits for the answer to a CONNECT.
func (c *conn) negotiate() bool {
	select {
	case v := <-c.negotiated:
		c.reader.SetVersion(v)
		return true
	case <-c.discard:
		c.linger()
		return false
	}
}
