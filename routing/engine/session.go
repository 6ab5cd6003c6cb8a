package engine

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/selvedge-mq/selvedge/routing"
	"github.com/selvedge-mq/selvedge/routing/envelope"
)

// session implements routing.Session. It is owned by one connection.
type session struct {
	e     *Engine
	opts  routing.SessionOptions
	may   map[routing.Address]*permission
	subs  map[uint64]routing.Subscription
	temps map[routing.Address]bool // temporary addresses that it owns

	transactions map[*transaction]struct{} // open ones
	pending      int64                     // bytes that they hold

	uploads map[*upload]struct{} // open ones
	heads   int64                // bytes of their heads
}

// permission is what is known of the client and an address.
type permission struct {
	err   error // why it may not write
	shard int
}

// mostPermissions bounds the memory of a session that sends to many addresses.
const mostPermissions = 1024

// Open implements routing.Broker.
func (e *Engine) Open(_ context.Context, o routing.SessionOptions) (routing.Session, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return nil, &routing.Error{Code: routing.CodeClosed, Op: "open", Reason: "the node is shutting down"}
	}
	return &session{
		e: e, opts: o,
		may:  map[routing.Address]*permission{},
		subs: map[uint64]routing.Subscription{}, temps: map[routing.Address]bool{},

		transactions: map[*transaction]struct{}{}, uploads: map[*upload]struct{}{},
	}, nil
}

// Send implements routing.Session.
func (s *session) Send(env *routing.Envelope, c routing.Completer, token uint64) bool {
	e := s.e
	p := s.permission(env.Address)
	err := p.err
	if err == nil && e.over.Load() {
		err = &routing.Error{Code: routing.CodeClosed, Op: "send", Reason: "the node is shutting down"}
	}
	if err == nil && e.opts.Admit != nil {
		err = e.opts.Admit()
	}
	if err == nil {
		err = e.check(env)
	}
	if err == nil && !isTopic(env.Address.Kind) && !e.portals[p.shard].takes() {
		err = errFull(env)
	}
	if err == nil && e.held.Load() >= e.opts.HeldMost {
		e.metrics.refusedSends.Inc()
		e.metrics.limits.held.Inc()
		e.hub.complete(c, token, &routing.Error{
			Code: routing.CodeFull, Op: "send", Address: env.Address.String(),
			Reason: heldReason,
		})
		return false
	}
	if err != nil {
		e.hub.complete(c, token, err)
		return true
	}
	e.sends.Add(1)
	if isTopic(env.Address.Kind) {
		return e.held.Add(int64(e.hub.in.put(env, c, token))) < e.opts.HeldBytes
	}
	return e.held.Add(int64(e.portals[p.shard].in.put(env, c, token))) < e.opts.HeldBytes
}

const heldReason = "the node holds as much unconfirmed data as it may (node-in-flight-bytes): wait for confirmations"

// check refuses what this version cannot do as the client means it.
func (e *Engine) check(env *routing.Envelope) error {
	fail := func(code routing.Code, reason string) error {
		return &routing.Error{Code: code, Op: "send", Address: env.Address.String(), Reason: reason}
	}
	switch size := envelope.Size(env); {
	case size > e.opts.MessageSize+headerRoom, env.Large():
		return e.tooLarge(env, max(env.Size, int64(len(env.Payload))))
	case size > e.wholeSize()+headerRoom:
		e.metrics.limits.wholeSize.Inc()
		return fail(routing.CodeTooLarge, fmt.Sprintf(
			"the message has %d bytes; to a topic or in a transaction at most %d are allowed (whole-message-size)", len(env.Payload), e.wholeSize()))
	case env.DeliverAt != 0:
		return fail(routing.CodeNotSupported, "delayed and scheduled delivery is not supported yet")
	case env.DedupeID != "":
		return fail(routing.CodeNotSupported, "duplicate detection by id is not supported yet")
	}
	return nil
}

// headerRoom is what a message may have beside its body.
const headerRoom = 4096

// wholeSize is the greatest message that is sent as a whole.
func (e *Engine) wholeSize() int { return min(e.opts.WholeSize, e.opts.MessageSize) }

func (s *session) permission(a routing.Address) *permission {
	if p := s.may[a]; p != nil {
		return p
	}
	if len(s.may) >= mostPermissions {
		clear(s.may)
	}
	p := &permission{err: s.allowed(routing.ActionWrite, a, "send")}
	if p.err == nil {
		p.shard = s.e.shardOf(a)
	}
	s.may[a] = p
	return p
}

func (s *session) allowed(do routing.Action, a routing.Address, op string) error {
	if err := a.Validate(); err != nil {
		return &routing.Error{Code: routing.CodeInvalid, Op: op, Address: a.Name, Reason: err.Error()}
	}
	if s.e.opts.Authorizer == nil {
		return nil
	}
	return s.e.opts.Authorizer.Authorize(s.opts.Principal, do, a)
}

// Subscribe implements routing.Session.
func (s *session) Subscribe(o routing.SubscribeOptions, sink routing.Sink, c routing.Completer, token uint64) routing.Subscription {
	e := s.e
	id := e.nextSub.Add(1)
	var err error
	if !s.temps[o.Address] {
		err = s.allowed(routing.ActionRead, o.Address, "subscribe")
	}
	if err == nil {
		err = supported(o)
	}
	if err == nil && e.over.Load() {
		err = &routing.Error{Code: routing.CodeClosed, Op: "subscribe", Reason: "the node is shutting down"}
	}
	if err != nil {
		e.hub.complete(c, token, err)
		return closedSubscription{e: e}
	}
	if isTemporary(o.Address.Kind) && !s.temps[o.Address] {
		s.subscribeElsewhere(o.Address, c, token)
		return closedSubscription{e: e}
	}
	var sub routing.Subscription
	if isTopic(o.Address.Kind) {
		sub = e.hub.subscribe(id, o, sink, c, token)
	} else {
		sub = e.portals[e.shardOf(o.Address)].subscribe(id, o, sink, c, token)
	}
	s.subs[id] = sub
	return &ownedSubscription{Subscription: sub, s: s, id: id}
}

func supported(o routing.SubscribeOptions) error {
	var what string
	switch {
	case o.Selector != "":
		what = "selectors are"
	case o.Browse:
		what = "browsing is"
	case o.Durable != "" || o.Shared:
		what = "durable and shared subscriptions are"
	case o.Exclusive:
		what = "exclusive subscriptions are"
	case o.NoLocal:
		what = "no-local is"
	case o.Priority != 0:
		what = "the priority of a consumer is"
	default:
		return nil
	}
	return &routing.Error{
		Code: routing.CodeNotSupported, Op: "subscribe", Address: o.Address.String(), Reason: what + " not supported yet",
	}
}

// Close implements routing.Session.
func (s *session) Close() {
	for t := range s.transactions {
		t.Rollback()
	}
	for u := range s.uploads {
		u.Abort()
	}
	for id, sub := range s.subs {
		sub.Close(nil, 0)
		delete(s.subs, id)
	}
	for a := range s.temps {
		delete(s.temps, a)
		s.e.deleteTemporary(a, &temporaryEnd{e: s.e, op: "delete", addr: a})
	}
}

// ownedSubscription forgets itself in its session when it is closed.
type ownedSubscription struct {
	routing.Subscription
	s  *session
	id uint64
}

// Close implements routing.Subscription.
func (o *ownedSubscription) Close(c routing.Completer, token uint64) {
	delete(o.s.subs, o.id)
	o.Subscription.Close(c, token)
}

// closedSubscription is what a refused Subscribe returns.
type closedSubscription struct{ e *Engine }

func (closedSubscription) Grant(int32) {}
func (closedSubscription) Drain()      {}

func (s closedSubscription) Read(_ routing.Tag, offset int64, _ int, to routing.PieceSink, token uint64) {
	s.e.hub.answer(to, routing.Piece{Token: token, Offset: offset, Err: &routing.Error{Code: routing.CodeClosed, Op: "read"}})
}

func (s closedSubscription) Settle(_ routing.Tag, _ routing.Outcome, c routing.Completer, token uint64) {
	s.e.hub.complete(c, token, &routing.Error{Code: routing.CodeClosed, Op: "settle"})
}

func (s closedSubscription) Close(c routing.Completer, token uint64) {
	s.e.hub.complete(c, token, nil)
}

// queueSub is a subscription to a queue, as the portal of its shard knows it.
// Everything but the counters for metrics is owned by the portal's goroutine.
type queueSub struct {
	p    *portal
	id   uint64
	opts routing.SubscribeOptions
	sink routing.Sink

	credit    uint32
	owed      int32 // granted and not told to the leader
	draining  bool
	inFlight  map[uint64]unsettled // what was delivered and is not known to be settled, by key
	delivered uint64               // deliveries so far
	settles   int                  // settlements not confirmed, those of parts that wait aside
	large     map[uint64]extent    // large ones of these, by key
	reading   map[uint64]*reading  // reads of these that were not answered, by number
	seen      uint64               // deliveries that came since the leader was told of the subscription
	opened    *call                // waits for the subscription to be in force
	closing   bool                 // it ends as soon as its settlements are confirmed
	closer    *call                // waits for its end
	closeSent bool
	gone      atomic.Bool // no more deliveries
}

func (q *queueSub) reads(a routing.Address) bool { return q.opts.Address == a && !q.gone.Load() }

// call is a request that somebody waits for.
type call struct {
	c     routing.Completer
	token uint64
	since time.Time
}

// over reports whether the call has waited longer than the limit; no call never has.
func (c *call) over(now time.Time, limit time.Duration) bool {
	return c != nil && now.Sub(c.since) >= limit
}

// Grant implements routing.Subscription.
func (q *queueSub) Grant(n int32) { q.p.box.Put(func() { q.p.grant(q, n) }) }

// Drain implements routing.Subscription.
func (q *queueSub) Drain() { q.p.box.Put(func() { q.p.drain(q) }) }

// Settle implements routing.Subscription.
func (q *queueSub) Settle(t routing.Tag, o routing.Outcome, c routing.Completer, token uint64) {
	q.p.settle.put(settleRequest{sub: q, key: t.Key, outcome: o, c: c, token: token})
}

// Close implements routing.Subscription.
func (q *queueSub) Close(c routing.Completer, token uint64) {
	q.gone.Store(true)
	q.p.box.Put(func() { q.p.closeSub(q, call{c, token, time.Now()}) })
}

func nowMilli() int64 { return time.Now().UnixMilli() }
