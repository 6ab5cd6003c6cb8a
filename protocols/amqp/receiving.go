package amqp

import (
	"github.com/selvedge-mq/selvedge/protocols/amqp/frames"
	"github.com/selvedge-mq/selvedge/protocols/amqp/wire"
	"github.com/selvedge-mq/selvedge/routing"
)

// naming says where the address of a message stands.
type naming uint8

const (
	byTarget  naming = iota
	byTo             // in properties.to: the anonymous terminus (OASIS anonterm 2.2)
	bySubject        // in properties.subject: a topic exchange of RabbitMQ
)

// receiving is our end of a link from the client: its transfers become sends,
// or, when the target is the coordinator, commands.
type receiving struct {
	link
	to         routing.Address
	naming     naming
	control    bool // the target is the coordinator
	reject     bool // the client can be told of a rejection
	second     bool // the client settles after us
	incomplete bool // the client has yet to tell what is unsettled
	mode       frames.SenderSettleMode

	count   uint32 // delivery-count
	credit  uint32 // link-credit that the client has left
	flowDue bool   // the link is in session.flows
	sends   int    // that the engine has not judged
	partial partial
	tags    tags    // of deliveries that are unsettled
	ledger  *ledger // what of them a link after this one is told; nil without

	lastName string // the last address of a message that named its own, as it was spelled
	lastKind []wire.Symbol
	lastTo   routing.Address
}

// read reads what the client asks for. [transport 2.7.3]
func (l *receiving) read() *frames.Error {
	a := l.attach
	l.control = a.Coordinator != nil
	l.second = a.RcvSettleMode.Set && a.RcvSettleMode.Value == frames.ReceiverSecond
	l.mode = a.SndSettleMode.Or(frames.SenderMixed)
	l.count = a.InitialDeliveryCount.Value
	l.incomplete = a.IncompleteUnsettled
	if a.Source != nil {
		l.reject = mayReject(a.Source)
	}
	var bad *frames.Error
	l.to, l.naming, bad = l.s.c.f.destination(a)
	if t := a.Target; t != nil && !t.Dynamic {
		l.retain(t.ExpiryPolicy, t.Timeout)
	}
	return bad
}

// entitled returns why the client may not send to the target, if it has one that is
// there already.
func (l *receiving) entitled() error {
	return l.may(routing.ActionWrite, l.to)
}

// open answers the attach, and grants credit: clients wait for it. Who may not send to
// the target learns it here, since nobody is told of a settled message that fails.
// [transport 2.8.15]
func (l *receiving) open() {
	a := l.attach
	if err := l.entitled(); err != nil {
		l.fail(wireError(err))
		return
	}
	switch {
	case l.control:
		l.answer(&frames.Attach{Coordinator: &frames.Coordinator{Capabilities: coordinatorCapabilities}})
	case a.Target.Dynamic:
		if bad := l.makeNode(a.Target.Address, a.Target.DynamicProperties, a.Target.Capabilities, l.openNode); bad != nil {
			l.fail(bad)
		}
	default:
		l.joinNode(l.to)
		l.remember()
	}
}

// openNode answers the attach of a dynamic target, when its node is there.
func (l *receiving) openNode(n *dynamicNode) {
	l.to = n.address
	t := answerTarget(l.attach.Target, retention{})
	t.Dynamic, t.Address, t.DynamicProperties = true, wire.Some(n.address.String()), n.properties()
	t.ExpiryPolicy = l.attach.Target.ExpiryPolicy
	l.answer(&frames.Attach{Target: t})
}

// answer writes our attach and the first credit.
func (l *receiving) answer(a *frames.Attach) {
	a.Source = l.attach.Source
	a.MaxMessageSize = uint64(l.limit()) //nolint:gosec // a positive limit
	l.answerAttach(a, frames.SenderMixed)
	l.phase = linkAttached
	if l.gone {
		l.phase = linkDetaching
		l.onDetach()
		return
	}
	l.owe()
}

// refuse answers the attach with a null target. [transport 2.6.3]
func (l *receiving) refuse() {
	l.answerAttach(&frames.Attach{Source: l.attach.Source}, frames.SenderMixed)
}

// onFlow answers an echo; what a sender tells of itself is of no use to us.
// [transport 2.6.7]
func (l *receiving) onFlow(f *frames.Flow) *breach {
	if f.Echo && l.phase == linkAttached {
		l.sendFlow()
	}
	return nil
}

// owe says that the link may owe the client credit at the end of the turn.
func (l *receiving) owe() {
	if !l.flowDue {
		l.flowDue = true
		l.s.flows = append(l.s.flows, l)
		l.s.mark()
	}
}

// topUp grants credit again when half of it is used, unless the engine has
// enough to do or the node goes away: then the credit waits. [transport 2.6.7]
func (l *receiving) topUp() {
	c := l.s.c
	l.flowDue = false
	if l.phase != linkAttached || l.s.phase != sessionLive || c.state != opened || l.credit > c.f.o.Credit/2 || c.draining {
		return
	}
	if c.load.full(c.f.o.Env.Limits) && !l.control {
		c.load.wait(l)
		return
	}
	l.credit = c.f.o.Credit
	l.sendFlow()
}

// sendFlow writes the link's state. Clients need count and credit in each.
func (l *receiving) sendFlow() {
	l.s.sendFlow(func(f *frames.Flow) {
		f.Handle = wire.Some(l.out)
		f.DeliveryCount = wire.Some(l.count)
		f.LinkCredit = wire.Some(l.credit)
	})
}

// onTransfer takes a frame of a delivery. A transaction that lacks it can only roll back.
// [transport 2.6.12-14] [transactions 4.4.1]
func (l *receiving) onTransfer(t *frames.Transfer, payload []byte) *breach {
	of := l.partial.txn
	b := l.take(t, payload)
	if b == nil {
		return nil
	}
	l.s.c.miss(&t.State, b.wire)
	if of != nil {
		of.fail(b.wire)
	}
	return b
}

// take takes the frame, or says what is wrong with it.
func (l *receiving) take(t *frames.Transfer, payload []byte) *breach {
	p := &l.partial
	if !p.active {
		if b := l.beginDelivery(t); b != nil {
			return b
		}
	}
	if b := p.check(t, l); b != nil {
		return b
	}
	switch {
	case t.Aborted:
		p.settled = true
		l.endResumed()
		return nil
	case p.resumed:
		if !t.More {
			l.endResumed()
		}
		return nil
	}
	if b := l.room(len(payload)); b != nil {
		l.dropPartial()
		return b
	}
	if t.More || p.buf != nil || p.upload != nil || len(payload) > l.s.c.f.o.Env.Limits.MessageSize {
		l.join(payload)
		payload = p.buf
		if b := l.stream(!t.More); b != nil {
			l.dropPartial()
			return b
		}
	}
	if t.More {
		return nil
	}
	if p.settled && l.mode == frames.SenderUnsettled || !p.settled && l.mode == frames.SenderSettled {
		l.dropPartial()
		return linkError(frames.InvalidField, "settled of a delivery is not what snd-settle-mode promised")
	}
	var b *breach
	switch {
	case l.control:
		b = l.command(payload)
	case p.upload != nil:
		b = l.endUpload()
	default:
		b = l.send(payload)
	}
	l.dropPartial()
	return b
}

// endResumed ends a delivery of which no byte counts: it resumes one that is known
// or is ignored, or it is aborted, which settles it.
func (l *receiving) endResumed() {
	if l.partial.resumed {
		l.resumeDelivery()
	}
	l.dropPartial()
}

// beginDelivery takes the first frame of a delivery: it uses a credit.
func (l *receiving) beginDelivery(t *frames.Transfer) *breach {
	switch {
	case l.credit == 0:
		return linkError(frames.TransferLimitExceeded, "a transfer without credit")
	case l.incomplete && !t.Resume: // [transport 2.7.3] nothing new until all that is unsettled is told
		return linkError(frames.IllegalState, "a new delivery on a link whose unsettled deliveries are told incompletely")
	}
	if b := l.partial.begin(t); b != nil {
		return b
	}
	l.credit--
	l.count++
	if l.credit <= l.s.c.f.o.Credit/2 {
		l.owe()
	}
	return nil
}

// room reports whether n more bytes of the delivery are too many: for a message,
// or for what the connection may have in parts. [transport 2.7.3]
func (l *receiving) room(n int) *breach {
	c, limits := l.s.c, &l.s.c.f.o.Env.Limits
	most := limits.Whole()
	if l.streams() {
		most = l.limit()
	}
	switch {
	case l.partial.size()+n > most:
		return l.tooLarge(most)
	case c.parts+n > limits.MessageSize+limits.InFlightBytes:
		return linkError(frames.ResourceLimitExceeded, "incomplete messages hold %d bytes of the connection", c.parts)
	}
	return nil
}

// join keeps a frame's payload until the rest has come.
func (l *receiving) join(payload []byte) {
	l.s.c.parts -= l.partial.memory()
	l.partial.join(payload)
	l.s.c.parts += l.partial.memory()
	if u := l.partial.upload; u != nil {
		u.follow(payload)
	}
}

// tooLarge ends the link because of a message that has more bytes than may be.
func (l *receiving) tooLarge(most int) *breach {
	why := ""
	switch {
	case most == l.limit():
	case l.partial.txn != nil:
		why = " (in a transaction)"
	default:
		why = " (to a topic, or with too much in front of its body)"
	}
	return linkError(frames.MessageSizeExceeded, "a message is larger than %d bytes%s", most, why)
}

// dropPartial forgets the delivery that is under way.
func (l *receiving) dropPartial() {
	if u := l.partial.upload; u != nil {
		u.abort()
	}
	l.s.c.parts -= l.partial.memory()
	l.partial.reset()
}

// onDetach ends the link for the client, when what it sent is confirmed: clients
// detach right behind their last transfer. [transport 2.6.5]
func (l *receiving) onDetach() {
	l.dropPartial()
	if l.sends == 0 {
		l.answerDetach()
	}
}

// answerDetach answers the peer's detach. A dynamic node ends with its maker, a
// transaction with its coordinator.
func (l *receiving) answerDetach() {
	l.endTransactions()
	l.leaveNode(l.closed)
	l.doomed = l.doomed || l.closed
	l.s.flush() // what is told is not left behind
	l.leaveLedger(linkEnded)
	l.link.answerDetach()
}

// abandon drops a delivery of which not all came. Sends under way go on.
func (l *receiving) abandon() {
	if t := l.partial.txn; t != nil {
		t.fail(missed())
	}
	l.dropPartial()
	l.endTransactions()
	l.leaveNode(true)
	l.leaveLedger(l.ending())
}
