package prototest

import (
	"context"
	"fmt"
	"reflect"
	"sync"

	"github.com/selvedge-mq/selvedge/routing"
)

// DeadLetters is where rejected messages of queues go.
var DeadLetters = routing.Queue("DLQ")

// Broker is a routing.Broker in memory: queues are FIFO, topics fan out, credit
// and outcomes are kept exactly. What happens is judged at once and told later,
// in one order, by one goroutine of the broker. It can be made to hold
// confirmations, to fail requests and to be full.
type Broker struct {
	wg   sync.WaitGroup
	wake chan struct{}
	stop chan struct{}

	mu        sync.Mutex
	changed   chan struct{} // closed and renewed at each change
	effects   []func()      // callbacks that the worker owes, in order
	queues    map[routing.Address]*queue
	topics    map[routing.Address][]*subscription
	temporary map[routing.Address]bool
	lastKey   uint64
	held      bool
	heldOps   []heldOp
	full      bool
	eager     bool // a confirmation comes before the deliveries of what it confirms
	fail      map[failKey]*routing.Error
	record    Record
}

type failKey struct {
	op string
	on routing.Address
}

// heldOp is a send, or a step of an upload, that is kept back.
type heldOp struct {
	effect func() // nil: it has none
	c      routing.Completer
	token  uint64
	err    error // it ends with this instead
}

// Settlement is one settlement that the broker saw.
type Settlement struct {
	Tag     routing.Tag
	Outcome routing.Outcome
}

// Record is what happened at a broker so far.
type Record struct {
	Opened        []routing.SessionOptions
	Sessions      int                        // open now
	Subscriptions int                        // open now
	Subscribed    []routing.SubscribeOptions // all that were asked for
	Sent          []routing.Envelope         // all that were taken in, payloads copied
	Held          int                        // sends kept back now
	Settled       []Settlement               // all that were not stale
	Granted       int64                      // sum of all grants
	Transactions  int                        // open now
	Temporary     int                        // temporary addresses made so far
	Uploads       int                        // open now
	Read          int                        // bytes of all pieces that were asked for
}

// New returns a running broker. Close it.
func New() *Broker {
	b := &Broker{
		wake:      make(chan struct{}, 1),
		stop:      make(chan struct{}),
		changed:   make(chan struct{}),
		queues:    make(map[routing.Address]*queue),
		topics:    make(map[routing.Address][]*subscription),
		temporary: make(map[routing.Address]bool),
		fail:      make(map[failKey]*routing.Error),
	}
	b.wg.Go(b.work)
	return b
}

// Close stops the broker's goroutine. Callbacks still owed are not made.
func (b *Broker) Close() {
	close(b.stop)
	b.wg.Wait()
}

func (b *Broker) work() {
	for {
		select {
		case <-b.stop:
			return
		case <-b.wake:
		}
		b.mu.Lock()
		effects := b.effects
		b.effects = nil
		b.mu.Unlock()
		for _, f := range effects {
			f()
		}
	}
}

// locked runs f with the lock held, then tells the worker and who awaits.
func (b *Broker) locked(f func()) {
	b.mu.Lock()
	f()
	close(b.changed)
	b.changed = make(chan struct{})
	b.mu.Unlock()
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

func (b *Broker) complete(c routing.Completer, token uint64, err error) {
	if c != nil {
		if !reflect.TypeOf(c).Comparable() {
			panic(fmt.Sprintf("completers are compared, a %T cannot be", c))
		}
		b.effects = append(b.effects, func() { c.Complete([]routing.Result{{Token: token, Err: err}}) })
	}
}

// Hold keeps sends back, neither confirmed nor visible, until Release.
func (b *Broker) Hold() { b.locked(func() { b.held = true }) }

// Release ends Hold: what was kept back is taken in and confirmed, in order.
func (b *Broker) Release() {
	b.locked(func() {
		b.held = false
		for _, h := range b.heldOps {
			if h.effect == nil {
				b.complete(h.c, h.token, h.err)
				continue
			}
			b.confirm(h.c, h.token, h.effect)
		}
		b.heldOps, b.record.Held = nil, 0
	})
}

// confirm has a request take effect and confirms it.
func (b *Broker) confirm(c routing.Completer, token uint64, effect func()) {
	if b.eager {
		b.complete(c, token, nil)
	}
	effect()
	if !b.eager {
		b.complete(c, token, nil)
	}
}

// ConfirmFirst has confirmations come before the deliveries that they let happen;
// they come after them otherwise. A broker promises no order between the two: a
// test that expects one asks for the order in which its front-end writes them.
func (b *Broker) ConfirmFirst() { b.locked(func() { b.eager = true }) }

// SetFull makes Session.Send return false, or true again.
func (b *Broker) SetFull(full bool) { b.locked(func() { b.full = full }) }

// Fail lets requests of one kind ("send", "upload", "subscribe", "read", "settle") on an address
// fail with err; a nil err ends it. "open", "create" and "commit" fail with the
// zero address.
func (b *Broker) Fail(op string, on routing.Address, err *routing.Error) {
	b.locked(func() {
		if err == nil {
			delete(b.fail, failKey{op, on})
			return
		}
		b.fail[failKey{op, on}] = err
	})
}

// Inject sends a message as if another client had.
func (b *Broker) Inject(e routing.Envelope) {
	e.Payload = append([]byte(nil), e.Payload...)
	b.locked(func() { b.take(e) })
}

// CloseSubscriptions ends every subscription to an address with err.
func (b *Broker) CloseSubscriptions(to routing.Address, err error) {
	b.locked(func() {
		for _, s := range b.subscriptions(to) {
			s.end()
			b.effects = append(b.effects, func() { s.sink.Closed(err) })
		}
	})
}

// Depth returns how many messages of a queue are ready.
func (b *Broker) Depth(of routing.Address) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	if q := b.queues[of]; q != nil {
		return len(q.ready)
	}
	return 0
}

// Record returns a copy of what happened so far.
func (b *Broker) Record() Record {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.copyRecord()
}

func (b *Broker) copyRecord() Record {
	r := b.record
	r.Opened = append([]routing.SessionOptions(nil), r.Opened...)
	r.Subscribed = append([]routing.SubscribeOptions(nil), r.Subscribed...)
	r.Sent = append([]routing.Envelope(nil), r.Sent...)
	r.Settled = append([]Settlement(nil), r.Settled...)
	return r
}

// Await waits until cond holds for what happened, or ctx ends.
func (b *Broker) Await(ctx context.Context, cond func(Record) bool) error {
	for {
		b.mu.Lock()
		r, changed := b.copyRecord(), b.changed
		b.mu.Unlock()
		if cond(r) {
			return nil
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-changed:
		}
	}
}

// Open starts a session.
func (b *Broker) Open(_ context.Context, o routing.SessionOptions) (routing.Session, error) {
	var err error
	s := &session{b: b}
	b.locked(func() {
		if e := b.fail[failKey{"open", routing.Address{}}]; e != nil {
			err = e
			return
		}
		b.record.Opened = append(b.record.Opened, o)
		b.record.Sessions++
	})
	if err != nil {
		return nil, err
	}
	return s, nil
}
