package engine

import (
	"fmt"

	"github.com/selvedge-mq/selvedge/routing"
	"github.com/selvedge-mq/selvedge/routing/envelope"
	"github.com/selvedge-mq/selvedge/routing/shard"
)

// transaction implements routing.Transaction. Until the commit it is nothing but
// memory of this node; then its parts go to the shards: one part as one request,
// several by the committer.
type transaction struct {
	s      *session
	parts  map[int]*txPart // by shard
	topics [][]byte        // envelopes, handed on when the rest has committed
	size   int64           // of its requests to the shards, about
	memory int64           // of all that it holds
	err    error           // why it cannot commit
	ended  bool
}

// txPart is what a transaction does in one shard.
type txPart struct {
	shard   int
	settles []settleRequest
	sends   [][]byte // envelopes
}

// settleCost is about what a settlement takes on its way, settleMemory what it
// takes here, the notes of the front-end included.
const (
	settleCost   = 32
	settleMemory = 160
)

// Begin implements routing.Session.
func (s *session) Begin() routing.Transaction {
	t := &transaction{s: s, parts: map[int]*txPart{}}
	if len(s.transactions) >= s.e.opts.Transactions {
		s.e.metrics.limits.transactions.Inc()
		t.fail(routing.CodeFull, fmt.Sprintf("the session has %d open transactions, that is the limit", len(s.transactions)))
		return t
	}
	s.transactions[t] = struct{}{}
	return t
}

func (t *transaction) fail(code routing.Code, reason string) {
	if t.err == nil {
		t.err = &routing.Error{Code: code, Op: "commit", Reason: reason}
	}
}

// Send implements routing.Transaction.
func (t *transaction) Send(env *routing.Envelope, c routing.Completer, token uint64) bool {
	e := t.s.e
	p := t.s.permission(env.Address)
	err := p.err
	if err == nil && e.opts.Admit != nil {
		err = e.opts.Admit()
	}
	if err == nil && !isTopic(env.Address.Kind) && !e.portals[p.shard].takes() {
		err = errFull(env)
	}
	if err == nil {
		err = e.check(env)
	}
	if err == nil {
		size := int64(envelope.Size(env))
		err = t.hold(size, size, "send", env.Address.String())
	}
	if err == nil {
		raw := envelope.Append(make([]byte, 0, envelope.Size(env)), env)
		if isTopic(env.Address.Kind) {
			t.topics = append(t.topics, raw)
		} else {
			part := t.part(p.shard)
			part.sends = append(part.sends, raw)
		}
		e.sends.Add(1)
	}
	e.hub.complete(c, token, err)
	return e.held.Load() < e.opts.HeldBytes
}

// hold takes room for something that the transaction gathers: on its way, and in
// memory until the commit. A session may hold as much as is still free on the
// node: one alone takes half of what there is, and n of them leave as much as
// each has. So none can keep the others from their work.
func (t *transaction) hold(size, memory int64, op, addr string) error {
	e := t.s.e
	refuse := func(code routing.Code, reason string) error {
		return &routing.Error{Code: code, Op: op, Address: addr, Reason: reason}
	}
	switch {
	case t.ended:
		return refuse(routing.CodeInvalid, "the transaction has ended")
	case t.err != nil:
		return t.err
	case e.over.Load():
		return refuse(routing.CodeClosed, "the node is shutting down")
	case t.size+size > e.opts.TxBytes:
		e.metrics.limits.txBytes.Inc()
		return refuse(routing.CodeFull, fmt.Sprintf("a transaction holds at most %d bytes (transaction-bytes)", e.opts.TxBytes))
	}
	if free := e.opts.HeldBytes - e.pending.Add(memory); t.s.pending > free {
		e.pending.Add(-memory)
		e.metrics.limits.pending.Inc()
		return refuse(routing.CodeFull, fmt.Sprintf(
			"the open transactions of the session hold %d bytes, and may hold no more than is free: those of the node hold at most %d (node-in-flight-bytes)",
			t.s.pending, e.opts.HeldBytes))
	}
	t.size += size
	t.memory += memory
	t.s.pending += memory
	return nil
}

func (t *transaction) part(n int) *txPart {
	p := t.parts[n]
	if p == nil {
		p = &txPart{shard: n}
		t.parts[n] = p
	}
	return p
}

// Settle implements routing.Transaction. Deliveries of topics have no end to wait
// for, but who settles them has notes to keep.
func (t *transaction) Settle(sub routing.Subscription, tag routing.Tag, o routing.Outcome) bool {
	if own, ok := sub.(*ownedSubscription); ok {
		sub = own.Subscription
	}
	size, addr := int64(0), ""
	q, ofQueue := sub.(*queueSub)
	if ofQueue {
		size, addr = settleCost, q.opts.Address.String()
	}
	if err := t.hold(size, settleMemory, "settle", addr); err != nil {
		if t.err == nil {
			t.err = err
		}
		return false
	}
	if !ofQueue {
		return true
	}
	part := t.part(q.p.shard)
	part.settles = append(part.settles, settleRequest{sub: q, key: tag.Key, outcome: o})
	return true
}

// Commit implements routing.Transaction.
func (t *transaction) Commit(c routing.Completer, token uint64) {
	e := t.s.e
	err := t.err
	switch {
	case t.ended:
		err = &routing.Error{Code: routing.CodeInvalid, Op: "commit", Reason: "the transaction has ended"}
	case err == nil && e.over.Load():
		err = &routing.Error{Code: routing.CodeClosed, Op: "commit", Reason: "the node is shutting down"}
	case err == nil && e.held.Load() >= e.opts.HeldMost:
		e.metrics.refusedSends.Inc()
		e.metrics.limits.held.Inc()
		err = &routing.Error{Code: routing.CodeFull, Op: "commit", Reason: heldReason}
	}
	t.end()
	switch {
	case err != nil:
		e.metrics.transactions.WithLabelValues(routing.CodeOf(err).String()).Inc()
		e.hub.complete(c, token, err)
	case len(t.parts) == 0:
		e.publish(t.topics)
		e.metrics.transactions.WithLabelValues(routing.CodeOK.String()).Inc()
		e.hub.complete(c, token, nil)
	case len(t.parts) == 1:
		for n, part := range t.parts {
			end := &txEnd{e: e, c: c, token: token}
			e.portals[n].putStep(&txStep{verb: stepTransact, part: part, topics: t.topics, c: end})
		}
	default:
		e.commits.begin(t.parts, t.topics, c, token)
	}
}

// Rollback implements routing.Transaction.
func (t *transaction) Rollback() { t.end() }

func (t *transaction) end() {
	if t.ended {
		return
	}
	t.ended = true
	t.s.e.pending.Add(-t.memory)
	t.s.pending -= t.memory
	delete(t.s.transactions, t)
}

// publish hands the topic messages of a transaction on.
func (e *Engine) publish(topics [][]byte) {
	for _, raw := range topics {
		if env, err := envelope.Decode(raw); err == nil {
			e.held.Add(int64(e.hub.in.put(&env, nil, 0)))
		}
	}
}

// txEnd is the Completer of a transaction in one shard.
type txEnd struct {
	e     *Engine
	c     routing.Completer
	token uint64
}

// Complete implements routing.Completer.
func (t *txEnd) Complete(results []routing.Result) {
	for _, r := range results {
		code := routing.CodeOf(r.Err)
		t.e.metrics.transactions.WithLabelValues(code.String()).Inc()
		if code == routing.CodeFull {
			t.e.metrics.limits.soft.Inc()
		}
		if t.c != nil {
			t.c.Complete([]routing.Result{{Token: t.token, Err: r.Err}})
		}
	}
}

// settlements returns what a part settles, for the leader.
func (p *txPart) settlements(session uint64) []shard.Settlement {
	out := make([]shard.Settlement, len(p.settles))
	for i := range out {
		r := &p.settles[i]
		out[i] = shard.Settlement{Sub: shard.SubID{Session: session, Sub: r.sub.id}, Key: r.key, Outcome: r.outcome}
	}
	return out
}
