package prototest

import (
	"slices"

	"github.com/selvedge-mq/selvedge/routing"
)

type session struct {
	b            *Broker
	subs         []*subscription
	transactions []*transaction
	temporary    []routing.Address
	uploads      []*upload
}

// Send takes an envelope in, or holds or fails it as the test asked.
func (s *session) Send(e *routing.Envelope, c routing.Completer, token uint64) bool {
	room := true
	own := *e
	own.Payload = append([]byte(nil), e.Payload...)
	b := s.b
	b.locked(func() {
		room = !b.full
		switch err := b.fail[failKey{"send", e.Address}]; {
		case err != nil:
			b.complete(c, token, err)
		case b.missing(e.Address):
			b.complete(c, token, &routing.Error{Code: routing.CodeNotFound, Op: "send", Address: e.Address.String()})
		case b.held:
			b.heldOps = append(b.heldOps, heldOp{effect: func() { b.take(own) }, c: c, token: token})
			b.record.Held++
		default:
			b.confirm(c, token, func() { b.take(own) })
		}
	})
	return room
}

// Subscribe starts a subscription; features beyond plain queues and topics are
// answered with CodeNotSupported.
func (s *session) Subscribe(o routing.SubscribeOptions, sink routing.Sink, c routing.Completer, token uint64) routing.Subscription {
	sub := &subscription{b: s.b, o: o, sink: sink, unsettled: make(map[uint64]*message)}
	b := s.b
	b.locked(func() {
		b.record.Subscribed = append(b.record.Subscribed, o)
		err := b.fail[failKey{"subscribe", o.Address}]
		if err == nil && (o.Selector != "" || o.Browse || o.Durable != "" || o.Shared || o.Exclusive || o.NoLocal) {
			err = &routing.Error{Code: routing.CodeNotSupported, Op: "subscribe", Address: o.Address.String()}
		}
		if err == nil && temporary(o.Address.Kind) && !slices.Contains(s.temporary, o.Address) {
			err = &routing.Error{Code: routing.CodeNotFound, Op: "subscribe", Address: o.Address.String()}
			if !b.missing(o.Address) {
				err.Code = routing.CodeLocked
			}
		}
		if err != nil {
			sub.closed = true
			b.complete(c, token, err)
			return
		}
		if topic(o.Address.Kind) {
			sub.q = &queue{}
			b.topics[o.Address] = append(b.topics[o.Address], sub)
		} else {
			sub.q = b.queue(o.Address)
		}
		sub.q.subs = append(sub.q.subs, sub)
		s.subs = append(s.subs, sub)
		b.record.Subscriptions++
		b.complete(c, token, nil)
	})
	return sub
}

// Close ends what the session has.
func (s *session) Close() {
	for _, t := range s.transactions {
		t.Rollback()
	}
	for _, u := range s.uploads {
		u.Abort()
	}
	s.b.locked(func() {
		for _, sub := range s.subs {
			sub.end()
		}
		for _, a := range s.temporary {
			s.b.remove(a)
		}
		s.b.record.Sessions--
	})
}

type subscription struct {
	b         *Broker
	o         routing.SubscribeOptions
	sink      routing.Sink
	q         *queue
	credit    int64
	unsettled map[uint64]*message
	closed    bool
}

// Grant adds credit, or takes back what is not used.
func (s *subscription) Grant(n int32) {
	s.b.locked(func() {
		if s.closed {
			return
		}
		s.b.record.Granted += int64(n)
		s.credit = max(0, s.credit+int64(n))
		s.b.dispatch(s.q)
	})
}

// Drain gives the unused credit back.
func (s *subscription) Drain() {
	s.b.locked(func() {
		if s.closed {
			return
		}
		left := uint32(s.credit) //nolint:gosec // tests grant far less than 2^32
		s.credit = 0
		s.b.effects = append(s.b.effects, func() { s.sink.Drained(left) })
	})
}

// Settle ends a delivery.
func (s *subscription) Settle(t routing.Tag, o routing.Outcome, c routing.Completer, token uint64) {
	b := s.b
	b.locked(func() {
		if err := s.settleable(t, o); err != nil {
			b.complete(c, token, err)
			return
		}
		b.confirm(c, token, func() { s.settle(t, o) })
	})
}

// settleable says why a delivery cannot be settled.
func (s *subscription) settleable(t routing.Tag, o routing.Outcome) error {
	if err := s.b.fail[failKey{"settle", s.o.Address}]; err != nil {
		return err
	}
	if s.unsettled[t.Key] == nil && (o.Kind != routing.Accepted || !s.q.isReady(t.Key)) {
		return &routing.Error{Code: routing.CodeStale, Op: "settle", Address: s.o.Address.String()}
	}
	return nil
}

// settle ends a delivery that is unsettled, or accepts late one that is back.
func (s *subscription) settle(t routing.Tag, o routing.Outcome) {
	b, m := s.b, s.unsettled[t.Key]
	if m == nil {
		s.q.ready = slices.DeleteFunc(s.q.ready, func(m *message) bool { return m.tag.Key == t.Key })
	}
	delete(s.unsettled, t.Key)
	b.record.Settled = append(b.record.Settled, Settlement{t, o})
	switch o.Kind {
	case routing.Accepted:
	case routing.Rejected:
		if s.o.Address.Kind == routing.KindQueue {
			q := b.queue(DeadLetters)
			m.e.Address = DeadLetters
			q.putBack(&message{tag: m.tag, e: m.e, head: m.head})
			b.dispatch(q)
		}
	case routing.Released, routing.Modified:
		m.handed = m.handed && o.Kind != routing.Released
		if o.DeliveryFailed {
			m.failed++
		}
		s.q.putBack(m)
		b.dispatch(s.q)
	}
}

// Close ends the subscription and requeues what is unsettled.
func (s *subscription) Close(c routing.Completer, token uint64) {
	s.b.locked(func() {
		s.end()
		s.b.complete(c, token, nil)
	})
}

func (s *subscription) end() {
	if s.closed {
		return
	}
	s.closed = true
	s.b.record.Subscriptions--
	s.q.subs = slices.DeleteFunc(s.q.subs, func(o *subscription) bool { return o == s })
	if ts := s.b.topics[s.o.Address]; ts != nil {
		s.b.topics[s.o.Address] = slices.DeleteFunc(ts, func(o *subscription) bool { return o == s })
		return
	}
	for _, m := range s.unsettled {
		s.q.putBack(m)
	}
	clear(s.unsettled) // their settlement comes too late
	s.b.dispatch(s.q)
}
