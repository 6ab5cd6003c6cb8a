package engine

import (
	"errors"
	"fmt"
	"sync"

	"github.com/selvedge-mq/selvedge/internal/cursor"
	"github.com/selvedge-mq/selvedge/routing"
	"github.com/selvedge-mq/selvedge/routing/shard"
)

// temporaries are the temporary addresses of this node's sessions. What exists in
// the cluster is known elsewhere: queues by their shards, topics by the hubs.
type temporaries struct {
	mu     sync.Mutex
	owners map[routing.Address]*session
	last   uint64
}

// add gives a session an address with a new name.
func (t *temporaries) add(e *Engine, s *session, k routing.Kind) routing.Address {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.last++
	a := routing.Address{Kind: k, Name: fmt.Sprintf("%s-%x-%d", e.node, e.session, t.last)}
	t.owners[a] = s
	return a
}

func (t *temporaries) remove(a routing.Address) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.owners, a)
}

func (t *temporaries) owner(a routing.Address) *session {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.owners[a]
}

func isTemporary(k routing.Kind) bool {
	return k == routing.KindTempQueue || k == routing.KindTempTopic
}

// isTopic reports whether the hub hands the messages out.
func isTopic(k routing.Kind) bool { return k == routing.KindTopic || k == routing.KindTempTopic }

// CreateTemporary implements routing.Session.
func (s *session) CreateTemporary(k routing.Kind, c routing.Completer, token uint64) routing.Address {
	e := s.e
	a := e.temps.add(e, s, k)
	end := &temporaryEnd{e: e, op: "create", addr: a, c: c, token: token}
	switch {
	case !isTemporary(k):
		end.fail(routing.CodeInvalid, "only queues and topics can be temporary")
	case e.over.Load():
		end.fail(routing.CodeClosed, "the node is shutting down")
	case len(s.temps) >= e.opts.Temporaries:
		e.metrics.limits.temporaries.Inc()
		end.fail(routing.CodeFull, fmt.Sprintf("the session has %d temporary addresses, that is the limit", len(s.temps)))
	case k == routing.KindTempTopic:
		s.temps[a] = true
		e.hub.create(a, end)
	default:
		s.temps[a] = true
		p := e.portals[e.shardOf(a)]
		p.box.Put(func() { p.creating[a] = []func(error){} })
		p.putStep(&txStep{verb: stepCreate, addr: a, c: end})
	}
	return a
}

// DeleteTemporary implements routing.Session.
func (s *session) DeleteTemporary(a routing.Address, c routing.Completer, token uint64) {
	end := &temporaryEnd{e: s.e, op: "delete", addr: a, c: c, token: token}
	if !s.temps[a] {
		end.fail(routing.CodeNotFound, reasons[routing.CodeNotFound])
		return
	}
	for _, sub := range s.subs {
		if u, ok := sub.(interface{ reads(a routing.Address) bool }); ok && u.reads(a) {
			end.fail(routing.CodeLocked, "the address has subscriptions: end them first")
			return
		}
	}
	delete(s.temps, a)
	s.e.deleteTemporary(a, end)
}

func (e *Engine) deleteTemporary(a routing.Address, end *temporaryEnd) {
	e.temps.remove(a)
	if a.Kind == routing.KindTempTopic {
		e.hub.remove(a, end)
		return
	}
	e.portals[e.shardOf(a)].putStep(&txStep{verb: stepDelete, addr: a, c: end})
}

// subscribeElsewhere refuses a subscription to a temporary address of somebody
// else: what it says depends on whether the address exists.
func (s *session) subscribeElsewhere(a routing.Address, c routing.Completer, token uint64) {
	e := s.e
	end := &temporaryEnd{e: e, op: "subscribe", addr: a, c: c, token: token}
	switch {
	case e.temps.owner(a) != nil:
		end.fail(routing.CodeLocked, reasons[routing.CodeLocked])
	case a.Kind == routing.KindTempTopic:
		e.hub.box.Put(func() {
			code := routing.CodeNotFound
			if e.hub.exists(hubKey(a.Kind, a.Name)) {
				code = routing.CodeLocked
			}
			e.hub.done.add(c, token, end.error(code, reasons[code]))
		})
	default:
		e.portals[e.shardOf(a)].putStep(&txStep{verb: stepWhose, addr: a, c: end})
	}
}

// temporaryEnd is the Completer of a request about a temporary address.
type temporaryEnd struct {
	e     *Engine
	op    string
	addr  routing.Address
	c     routing.Completer
	token uint64
}

func (t *temporaryEnd) error(code routing.Code, reason string) error {
	return &routing.Error{Code: code, Op: t.op, Address: t.addr.String(), Reason: reason}
}

// fail ends a request that goes nowhere.
func (t *temporaryEnd) fail(code routing.Code, reason string) {
	if t.op == "create" {
		t.e.temps.remove(t.addr)
	}
	t.e.hub.complete(t.c, t.token, t.error(code, reason))
}

// Complete implements routing.Completer. An address that was not made in time must
// not come to life later: its end follows it.
func (t *temporaryEnd) Complete(results []routing.Result) {
	for _, r := range results {
		err := r.Err
		if code := routing.CodeOf(err); code != routing.CodeOK {
			reason := reasons[code]
			if code == routing.CodeFull {
				reason = "there are as many queues as there may be"
			}
			if e, ok := errors.AsType[*routing.Error](err); ok && reason == "" {
				reason = e.Reason
			}
			err = t.error(code, reason)
			if t.op == "create" && !t.e.over.Load() {
				t.e.deleteTemporary(t.addr, &temporaryEnd{e: t.e, op: "delete", addr: t.addr})
			}
		}
		if t.c != nil {
			t.c.Complete([]routing.Result{{Token: t.token, Err: err}})
		}
	}
}

// created ends the wait of the subscriptions to a temporary queue that is being made.
func (p *portal) created(a routing.Address, err error) {
	waiting := p.creating[a]
	delete(p.creating, a)
	for _, f := range waiting {
		f(err)
	}
}

// takeTemporary composes a request about a temporary queue.
func (l *leader) takeTemporary(verb stepVerb, id shard.LaneID, number uint64, c *cursor.Cursor) {
	a := routing.Address{Kind: routing.Kind(c.Octet()), Name: string(c.Rest)}
	switch verb {
	case stepCreate:
		l.s.Create(id, number, a)
	case stepDelete:
		l.s.Delete(id, number, a)
	default:
		l.s.Whose(id, number, a)
	}
}

// refuse tells a node that a subscription cannot be.
func (l *leader) refuse(node string, sub uint64) {
	l.toNode(node, verbRefuse, appendSub(nil, sub), func(p *portal) { p.refusedAt(sub) })
}

// refusedAt takes the leader's word that a subscription cannot be: its queue is
// gone, or there are too many.
func (p *portal) refusedAt(sub uint64) {
	q := p.subs[sub]
	if q == nil {
		return
	}
	if q.closing {
		p.endSub(q, nil)
		return
	}
	code := routing.CodeFull
	if isTemporary(q.opts.Address.Kind) {
		code = routing.CodeNotFound
	}
	if q.opened == nil {
		code = routing.CodeDeleted
		defer q.sink.Closed(&routing.Error{Code: code, Op: "deliver", Address: q.opts.Address.String()})
	}
	p.endSub(q, &routing.Error{Code: code, Op: "subscribe", Address: q.opts.Address.String(), Reason: reasons[code]})
}
