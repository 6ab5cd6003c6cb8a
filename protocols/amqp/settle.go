package amqp

import (
	"github.com/selvedge-mq/selvedge/protocols/amqp/frames"
	"github.com/selvedge-mq/selvedge/routing"
)

// answer is a disposition of one delivery that is like no other.
type answer struct {
	id      uint32
	settled bool
	role    frames.Role
	state   frames.State
	kept    bool // the client settles it whenever it likes
}

// posted is a range of transfers from the peer that a transaction holds.
type posted struct {
	span
	second bool
	txn    *txn
}

// answers are the dispositions that a session owes.
type answers struct {
	accepted  spans // transfers from the peer that are safe, settled with it
	confirmed spans // the same where the peer settles second
	kept      spans // the same where it is remembered until the peer does
	posted    []posted
	settled   [routing.Modified + 1]spans
	others    []answer
}

// settling says how deliveries of a link from the peer are settled.
type settling uint8

const (
	settledFirst  settling = iota // by us, when we state the outcome
	settledSecond                 // by the peer behind us, or by us when it takes too long
	settledLater                  // by the peer, and remembered until then
)

// settling returns how the deliveries of the link are settled.
func (l *receiving) settling() settling {
	switch {
	case !l.second:
		return settledFirst
	case l.ledger != nil && l.lasting():
		return settledLater
	}
	return settledSecond
}

// accept notes that a transfer from the peer is safe.
func (a *answers) accept(id uint32, by settling) {
	switch by {
	case settledFirst:
		a.accepted.add(id)
	case settledSecond:
		a.confirmed.add(id)
	case settledLater:
		a.kept.add(id)
	}
}

// post notes that a transaction holds a transfer from the peer.
func (a *answers) post(id uint32, second bool, t *txn) {
	if n := len(a.posted); n > 0 && id != 0 {
		if last := &a.posted[n-1]; last.txn == t && last.second == second && last.last+1 == id {
			last.last = id
			return
		}
	}
	a.posted = append(a.posted, posted{span{id, id}, second, t})
}

// tell notes a disposition of one delivery.
func (a *answers) tell(one answer) { a.others = append(a.others, one) }

// write encodes what is owed, in as few frames as possible, and forgets it.
// [transport 2.7.6]
func (a *answers) write(s *session) {
	d := frames.Disposition{Role: frames.RoleReceiver, Settled: true, State: frames.State{Kind: frames.StateAccepted}}
	s.dispositions(&d, a.accepted.take())
	d.Settled = false
	s.dispositions(&d, a.kept.take())
	ids := a.confirmed.take()
	s.dispositions(&d, ids)
	s.awaitSettled(d.State, ids)
	d.Role, d.Settled = frames.RoleSender, true
	for kind := range a.settled {
		d.State.Kind = stateKinds[kind]
		s.dispositions(&d, a.settled[kind].take())
	}
	d.Role = frames.RoleReceiver
	for _, p := range a.posted { // [transactions 4.4.1]
		d.Settled = !p.second
		d.State = frames.State{Kind: frames.StateTransactional, Outcome: frames.StateAccepted, TxnID: p.txn.id[:]}
		s.dispositions(&d, []span{p.span})
		if p.second {
			s.awaitSettled(d.State, []span{p.span})
		}
	}
	clear(a.posted)
	a.posted = a.posted[:0]
	for _, o := range a.others {
		d.Role, d.Settled, d.State = o.role, o.settled, o.state
		s.dispositions(&d, []span{{o.id, o.id}})
		if o.role == frames.RoleReceiver && !o.settled && !o.kept {
			s.awaitSettled(o.state, []span{{o.id, o.id}})
		}
	}
	clear(a.others)
	a.others = a.others[:0]
}

// dispositions writes d for each range.
func (s *session) dispositions(d *frames.Disposition, ids []span) {
	for _, r := range ids {
		d.First, d.Last = r.first, r.last
		own := &s.c.scratch().disposition
		*own = *d
		s.c.send(s.channel, own)
	}
}

func (a *answers) trim() {
	a.accepted.trim()
	a.confirmed.trim()
	a.kept.trim()
	for i := range a.settled {
		a.settled[i].trim()
	}
}

var stateKinds = [...]frames.StateKind{
	0:                frames.StateReleased,
	routing.Accepted: frames.StateAccepted, routing.Rejected: frames.StateRejected,
	routing.Released: frames.StateReleased, routing.Modified: frames.StateModified,
}

// outcomeOf returns the outcome that a state says; ok is false when it says
// none. [messaging 3.4]
func outcomeOf(s *frames.State) (o routing.Outcome, ok bool) {
	switch s.Result() {
	case frames.StateAccepted:
		return routing.Outcome{Kind: routing.Accepted}, true
	case frames.StateRejected:
		return routing.Outcome{Kind: routing.Rejected}, true
	case frames.StateReleased:
		return routing.Outcome{Kind: routing.Released}, true
	case frames.StateModified:
		return routing.Outcome{
			Kind: routing.Modified, DeliveryFailed: s.DeliveryFailed, UndeliverableHere: s.UndeliverableHere,
		}, true
	case frames.StateNone, frames.StateReceived, frames.StateDeclared, frames.StateTransactional:
	}
	return routing.Outcome{}, false
}

// onDisposition takes what a client says about deliveries. What it says about
// its own transfers is only that it forgets them, as we have done already.
// [transport 2.7.6]
func (s *session) onDisposition(d *frames.Disposition) *breach {
	if d.Role == frames.RoleSender {
		if d.Settled {
			s.peerSettled(d.First, d.Last)
		}
		return nil
	}
	var t *txn
	switch d.State.Kind {
	case frames.StateTransactional:
		if t = s.c.transaction(d.State.TxnID); t == nil {
			return &breach{onSession, unknownTransaction(d.State.TxnID)}
		}
	case frames.StateDeclared:
		return sessionError(frames.InvalidField, "declared is no outcome of a message")
	case frames.StateNone, frames.StateReceived, frames.StateAccepted, frames.StateRejected,
		frames.StateReleased, frames.StateModified:
	}
	o, terminal := outcomeOf(&d.State)
	if !terminal && !d.Settled {
		return nil // [messaging 3.4.1] progress
	}
	found := false
	s.unsettled.each(d.First, d.Last, func(id uint32, it sent) {
		found = true
		outcome := o
		if !terminal {
			outcome = it.link.byDefault
		}
		switch k := it.link.cut.reading(id); {
		case k != nil:
			k.say(early{outcome: outcome, settled: d.Settled, txn: t})
		case t != nil:
			s.retire(id, it, t, outcome, d.Settled)
		default:
			s.settle(id, it, outcome, d.Settled)
		}
	})
	if !found && t != nil {
		s.settlesNothing(t, d.First, d.Last)
	}
	return nil
}

// settle passes an outcome to the engine. A client that settled has forgotten
// the delivery; one that did not is answered when the engine has judged.
// [transport 2.6.12]
func (s *session) settle(id uint32, it sent, o routing.Outcome, settled bool) {
	switch {
	case it.txn != nil: // its transaction says what it ends as
		if settled {
			s.unsettled.remove(id)
		}
	case settled:
		s.unsettled.remove(id)
		if it.told == 0 {
			it.link.sub.Settle(it.tag, o, nil, 0)
		}
	case it.told == 0:
		s.unsettled.tell(id, o.Kind)
		it.link.sub.Settle(it.tag, o, (*settleResults)(it.link), uint64(id))
	}
}

// settleResults receives the engine's judgment of settlements that the client
// waits for.
type settleResults sending

// Complete passes the results to the owner.
func (r *settleResults) Complete(rs []routing.Result) {
	l := (*sending)(r)
	c := l.s.c
	c.box.Put(event{kind: settlementsJudged, sending: l, results: c.f.pools.copyResults(rs)})
}

// judged answers settlements: the delivery is settled on both sides now.
func (l *sending) judged(rs []routing.Result) {
	s := l.s
	if s.phase == sessionDiscarded {
		return
	}
	for _, r := range rs {
		id := uint32(r.Token) //nolint:gosec // the token is a delivery-id
		it := s.unsettled.get(id)
		if it == nil || it.link != l {
			continue
		}
		if r.Err != nil {
			s.answers.tell(answer{
				id: id, settled: true, role: frames.RoleSender,
				state: frames.State{Kind: frames.StateRejected, Error: wireError(r.Err)},
			})
		} else {
			s.answers.settled[it.told].add(id)
		}
		s.unsettled.remove(id)
	}
	s.mark()
}
