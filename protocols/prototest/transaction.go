package prototest

import (
	"slices"

	"github.com/selvedge-mq/selvedge/routing"
)

// transaction gathers sends and settlements of a session.
type transaction struct {
	s       *session
	sends   []routing.Envelope
	settles []settlement
	failed  error // why it cannot commit any more
	ended   bool
}

type settlement struct {
	sub *subscription
	tag routing.Tag
	o   routing.Outcome
}

// Begin starts a transaction.
func (s *session) Begin() routing.Transaction {
	t := &transaction{s: s}
	s.transactions = append(s.transactions, t)
	s.b.locked(func() { s.b.record.Transactions++ })
	return t
}

// Send adds an envelope, or fails it as the test asked.
func (t *transaction) Send(e *routing.Envelope, c routing.Completer, token uint64) bool {
	own := *e
	own.Payload = append([]byte(nil), e.Payload...)
	b := t.s.b
	room := true
	b.locked(func() {
		room = !b.full
		err := b.fail[failKey{"send", e.Address}]
		switch {
		case err != nil:
			b.complete(c, token, err)
		case b.missing(e.Address):
			b.complete(c, token, &routing.Error{Code: routing.CodeNotFound, Op: "send", Address: e.Address.String()})
		default:
			t.sends = append(t.sends, own)
			b.complete(c, token, nil)
		}
	})
	return room
}

// Settle adds a settlement, or finds no room for it as the test asked: of "hold".
func (t *transaction) Settle(sub routing.Subscription, tag routing.Tag, o routing.Outcome) bool {
	own, ok := sub.(*subscription)
	if !ok {
		return true
	}
	t.s.b.locked(func() {
		if err := t.s.b.fail[failKey{"hold", own.o.Address}]; err != nil {
			t.failed = err
		}
	})
	if t.failed != nil {
		return false
	}
	t.settles = append(t.settles, settlement{own, tag, o})
	return true
}

// Commit has everything take effect, or nothing: if a delivery cannot be settled,
// or if the test asked for a failure of "commit".
func (t *transaction) Commit(c routing.Completer, token uint64) {
	b := t.s.b
	b.locked(func() {
		err := t.judge()
		t.end()
		if err != nil {
			b.complete(c, token, err)
			return
		}
		b.confirm(c, token, func() {
			for _, s := range t.settles {
				s.sub.settle(s.tag, s.o)
			}
			for _, e := range t.sends {
				b.take(e)
			}
		})
	})
}

func (t *transaction) judge() error {
	if t.ended {
		return &routing.Error{Code: routing.CodeInvalid, Op: "commit", Reason: "the transaction has ended"}
	}
	if err := t.s.b.fail[failKey{"commit", routing.Address{}}]; err != nil {
		return err
	}
	if t.failed != nil {
		return t.failed
	}
	for _, s := range t.settles {
		if err := s.sub.settleable(s.tag, s.o); err != nil {
			return err
		}
	}
	return nil
}

// Rollback ends the transaction.
func (t *transaction) Rollback() { t.s.b.locked(t.end) }

func (t *transaction) end() {
	if t.ended {
		return
	}
	t.ended = true
	t.s.b.record.Transactions--
	t.s.transactions = slices.DeleteFunc(slices.Clone(t.s.transactions), func(o *transaction) bool { return o == t })
}
