package prototest

import (
	"fmt"
	"slices"

	"github.com/selvedge-mq/selvedge/routing"
)

func temporary(k routing.Kind) bool { return k == routing.KindTempQueue || k == routing.KindTempTopic }

func topic(k routing.Kind) bool { return k == routing.KindTopic || k == routing.KindTempTopic }

// missing says whether an address is a temporary one that does not exist.
func (b *Broker) missing(a routing.Address) bool { return temporary(a.Kind) && !b.temporary[a] }

// remove deletes a temporary address and what is in it.
func (b *Broker) remove(a routing.Address) {
	delete(b.temporary, a)
	delete(b.queues, a)
	delete(b.topics, a)
}

// CreateTemporary makes a temporary address.
func (s *session) CreateTemporary(k routing.Kind, c routing.Completer, token uint64) routing.Address {
	a := routing.Address{Kind: k}
	b := s.b
	b.locked(func() {
		b.record.Temporary++
		a.Name = fmt.Sprintf("temporary-%d", b.record.Temporary)
		if err := b.fail[failKey{"create", routing.Address{}}]; err != nil {
			b.complete(c, token, err)
			return
		}
		b.temporary[a] = true
		s.temporary = append(s.temporary, a)
		b.complete(c, token, nil)
	})
	return a
}

// DeleteTemporary removes a temporary address of this session.
func (s *session) DeleteTemporary(a routing.Address, c routing.Completer, token uint64) {
	b := s.b
	b.locked(func() {
		fail := func(code routing.Code) {
			b.complete(c, token, &routing.Error{Code: code, Op: "delete", Address: a.String()})
		}
		switch i := slices.Index(s.temporary, a); {
		case i < 0:
			fail(routing.CodeNotFound)
		case len(b.subscriptions(a)) > 0:
			fail(routing.CodeLocked)
		default:
			s.temporary = slices.Delete(s.temporary, i, i+1)
			b.remove(a)
			b.complete(c, token, nil)
		}
	})
}
