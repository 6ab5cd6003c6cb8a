package amqp

import (
	"github.com/selvedge-mq/selvedge/protocols/amqp/frames"
	"github.com/selvedge-mq/selvedge/protocols/amqp/wire"
	"github.com/selvedge-mq/selvedge/routing"
)

// sending is our end of a link towards the client: a subscription whose
// deliveries become transfers.
type sending struct {
	link
	from       routing.Address
	sub        routing.Subscription
	byDefault  routing.Outcome // of what is unsettled when the link ends
	presettled bool            // transfers go out settled
	settles    bool            // and are settled when they are written
	returns    bool            // what is released comes again
	incomplete bool            // the client has yet to tell what is unsettled
	maxSize    uint64          // greatest message that the client takes; 0 means any
	over       bool            // the engine's part has ended

	credit   credit
	held     int                   // octets of the queue and of the transfer under way
	size     int                   // about how many octets a message has
	recalled bool                  // the engine gives its credit back for want of room
	queue    []*[]routing.Delivery // from the engine, not begun
	pos      int                   // how much of the first batch is begun
	cut      cut                   // the transfer under way
	queued   bool                  // the link is in session.ready
	writing  bool                  // it writes a large message: it is in conn.large
	starved  bool                  // it waits for that: its delivery is a large one
	stuck    bool                  // it writes one, and the session's window was used up at the last look
	early    *frames.Flow          // what came before the subscription was judged
	left     *leftover             // at the detach; nil when there is nothing
}

// read reads what the client asks for. [messaging 3.5.3]
func (l *sending) read() *frames.Error {
	a := l.attach
	l.maxSize = a.MaxMessageSize
	bad := checkReceiver(a)
	if bad != nil || a.Source.Dynamic {
		return bad
	}
	l.retain(a.Source.ExpiryPolicy, a.Source.Timeout)
	l.incomplete = a.IncompleteUnsettled
	if l.from, bad = l.s.c.f.speller.parse(a.Source.Address.Value, a.Source.Capabilities); bad != nil {
		return bad
	}
	_, bad = subscription(a, l.from)
	return bad
}

// entitled returns why the client may not receive from the source, if it is there
// already.
func (l *sending) entitled() error {
	return l.may(routing.ActionRead, l.from)
}

// open asks the engine for the subscription, or for the node in front of it; the
// attach is answered with its result.
func (l *sending) open() {
	src := l.attach.Source
	if !src.Dynamic {
		l.subscribe()
		return
	}
	if bad := l.makeNode(src.Address, src.DynamicProperties, src.Capabilities, l.openNode); bad != nil {
		l.fail(bad)
	}
}

// openNode goes on with a source that is dynamic, when its node is there.
func (l *sending) openNode(n *dynamicNode) {
	src := l.attach.Source
	src.Address, src.DynamicProperties = wire.Some(n.address.String()), n.properties()
	l.from = n.address
	l.subscribe()
}

func (l *sending) subscribe() {
	o, bad := subscription(l.attach, l.from)
	if bad != nil {
		l.fail(bad)
		return
	}
	l.joinNode(l.from)
	l.byDefault = defaultOutcome(l.attach.Source)
	l.presettled = o.Settled
	lost := o.Address.Kind == routing.KindTopic || o.Address.Kind == routing.KindTempTopic
	l.returns = !o.Browse && (!lost || o.Durable != "")
	l.settles = l.presettled && l.returns
	o.Settled = l.presettled && !l.returns
	l.attach.Source = answerSource(l.attach.Source, &o, l.retention)
	l.sub = l.s.c.routing.Subscribe(o, (*sink)(l), (*subscribeResults)(l), tokenSubscribed)
}

// subscribed answers the attach.
func (l *sending) subscribed(err error) {
	if l.phase != linkAttaching || l.over {
		return
	}
	if err != nil {
		l.over = true // with an error it is closed already
		l.fail(wireError(err))
		return
	}
	if !l.resume() {
		l.answerSubscribed()
	}
}

func (l *sending) answerSubscribed() {
	l.answerAttach(&frames.Attach{
		Source: l.attach.Source, Target: l.attach.Target, InitialDeliveryCount: wire.Some(uint32(0)),
	}, frames.SenderUnsettled)
	l.phase = linkAttached
	if l.gone {
		l.phase = linkDetaching
		l.onDetach()
		return
	}
	if l.early != nil {
		f := l.early
		l.early = nil
		l.flow(f)
	}
}

// refuse answers the attach with a null source. [transport 2.6.3]
func (l *sending) refuse() {
	l.answerAttach(&frames.Attach{Target: l.attach.Target, InitialDeliveryCount: wire.Some(uint32(0))},
		frames.SenderUnsettled)
}

// onTransfer refuses a transfer in the wrong direction. [transport 2.6.12]
func (l *sending) onTransfer(*frames.Transfer, []byte) *breach {
	return linkError(frames.NotAllowed, "a transfer to the sender of a link")
}

// onFlow takes the client's credit. [transport 2.6.7]
func (l *sending) onFlow(f *frames.Flow) *breach {
	if _, acquires := f.Properties.Get("txn-id"); acquires { // [transactions 4.4.3]
		return linkError(frames.NotImplemented, "acquisition in a transaction is not supported")
	}
	if l.phase == linkAttaching {
		early := *f
		l.early = &early
		return nil
	}
	l.flow(f)
	return nil
}

func (l *sending) flow(f *frames.Flow) {
	if f.LinkCredit.Set {
		n := f.LinkCredit.Value
		if l.incomplete { // [transport 2.7.3] nothing new until all that is unsettled is told
			n = 0
		}
		l.credit.set(f.DeliveryCount.Value, n)
		l.releaseExcess()
	}
	l.credit.drain, l.credit.owed = f.Drain, f.Drain
	l.align(true)
	l.enqueue()
	if f.Drain { // its answer is an echo too
		if l.credit.left > 0 {
			l.drain()
		}
		l.finishDrain()
		return
	}
	if f.Echo {
		l.sendFlow(false)
	}
}

// sendFlow writes the link's state. The answer to a drain says so, or clients
// wait on. An answer never asks for an echo. [transport 2.6.7]
func (l *sending) sendFlow(drained bool) {
	l.s.sendFlow(func(f *frames.Flow) {
		f.Handle = wire.Some(l.out)
		f.DeliveryCount = wire.Some(l.credit.count)
		f.LinkCredit = wire.Some(l.credit.left)
		f.Available = wire.Some(l.credit.waiting)
		f.Drain = drained
	})
}

// delivered takes deliveries from the engine. Those beyond the credit were under
// way when the client lowered it, and go back.
func (l *sending) delivered(ds *[]routing.Delivery) {
	if l.over || l.phase != linkAttached {
		l.s.c.f.pools.putDeliveries(ds) // the end of the subscription returns them
		return
	}
	l.credit.delivered(uint32(len(*ds))) //nolint:gosec // never more than the credit
	l.queue = append(l.queue, ds)
	l.admit(ds)
	l.releaseExcess()
	l.enqueue()
}

// releaseExcess gives waiting deliveries back that the credit does not cover.
func (l *sending) releaseExcess() {
	if l.returns && l.credit.waiting > l.credit.left {
		l.giveBack(int(l.credit.waiting - l.credit.left))
	}
}

// next takes the next waiting delivery.
func (l *sending) next() routing.Delivery {
	first := l.queue[0]
	d := (*first)[l.pos]
	l.pos++
	l.credit.waiting--
	if l.pos == len(*first) {
		l.s.c.f.pools.putDeliveries(first)
		n := copy(l.queue, l.queue[1:])
		l.queue[n] = nil
		l.queue = l.queue[:n]
		l.pos = 0
	}
	return d
}

// more reports whether there is something to write.
func (l *sending) more() bool {
	switch {
	case !l.cut.active:
		return l.credit.waiting > 0 && l.credit.left > 0 && !l.starved
	case l.cut.pieces != nil && !l.writing: // it has given its turn away
		return !l.starved
	}
	return l.cut.ready(l.frameRoom())
}

// enqueue puts the link in line if it has something to write.
func (l *sending) enqueue() {
	if l.queued || l.phase != linkAttached || !l.more() {
		return
	}
	l.queued = true
	l.s.ready = append(l.s.ready, l)
	l.s.queue()
}

// onDetach ends the subscription; its result answers the detach, so that what
// was unsettled is back in its queue when the client knows. [transport 2.6.5]
func (l *sending) onDetach() {
	if l.over {
		l.answerDetach()
		return
	}
	l.doomed = l.closed
	l.left = l.gather(linkEnded)
	l.end((*subscribeResults)(l), tokenEnded)
}

// unsubscribed answers the peer's detach.
func (l *sending) unsubscribed() {
	l.leaveNode(l.phase != linkDetaching || l.closed)
	if l.phase == linkDetaching && l.s.phase == sessionLive {
		if l.left != nil {
			l.left.ended = true
			l.leave(l.left, linkEnded)
		}
		l.answerDetach()
	}
}

// closedByEngine detaches the link because its subscription ended.
func (l *sending) closedByEngine(err error) {
	if l.over || l.phase == linkDetached || l.s.phase == sessionDiscarded {
		return
	}
	if l.phase == linkDetaching { // the result of Close answers
		return
	}
	l.fail(wireError(err))
}

// abandon ends the subscription without waiting for its result.
func (l *sending) abandon() {
	f := l.gather(l.ending())
	switch {
	case l.node != nil && l.sub != nil && !l.over: // the node is deleted behind it
		l.end((*subscribeResults)(l), tokenEnded)
	case f != nil:
		l.end(f, 0)
		l.leave(f, l.ending())
	default:
		l.end(nil, 0)
		l.leaveNode(true)
	}
}

// end gives the deliveries that are unsettled their default outcome, returns
// those that did not go out, and closes the subscription. [messaging 3.5.3]
func (l *sending) end(c routing.Completer, token uint64) {
	if !l.over && l.sub != nil {
		l.over = true
		l.endEarly()
		l.s.unsettled.all(func(id uint32, it sent) {
			if it.link != l {
				return
			}
			l.s.unsettled.remove(id)
			if it.told == 0 && it.txn == nil && l.judgesItself() {
				l.sub.Settle(it.tag, l.byDefault, nil, 0)
			}
		})
		l.returnQueue()
		l.sub.Close(c, token)
	}
	for _, ds := range l.queue {
		l.s.c.f.pools.putDeliveries(ds)
	}
	l.s.c.large.leave(l)
	l.dropCut()
	l.leaveRoom()
	l.queue, l.pos, l.credit, l.early = nil, 0, credit{}, nil
}

// judgesItself reports whether the default outcome is ours to state. When the
// connection was lost, or closed by us, the client has not said how far it was:
// the engine marks what comes again, and counts an attempt for the delivery at
// which the client was.
func (l *sending) judgesItself() bool {
	c := l.s.c
	return l.byDefault.Kind != routing.Released || !c.broken && c.state != closeSent
}

// returnQueue releases the deliveries of which the client saw nothing.
func (l *sending) returnQueue() {
	if !l.returns {
		return
	}
	pos := l.pos
	for _, ds := range l.queue {
		for i := pos; i < len(*ds); i++ {
			l.sub.Settle((*ds)[i].Tag, routing.Outcome{Kind: routing.Released}, nil, 0)
		}
		pos = 0
	}
}

// sink receives the engine's deliveries.
type sink sending

// Deliver passes deliveries to the owner.
func (k *sink) Deliver(ds []routing.Delivery) {
	l := (*sending)(k)
	c := l.s.c
	c.box.Put(event{kind: deliveriesCame, sending: l, deliveries: c.f.pools.copyDeliveries(ds)})
}

// Drained passes the end of a drain to the owner.
func (k *sink) Drained(n uint32) {
	l := (*sending)(k)
	l.s.c.box.Put(event{kind: creditDrained, sending: l, n: n})
}

// Closed passes the end of the subscription to the owner.
func (k *sink) Closed(err error) {
	l := (*sending)(k)
	l.s.c.box.Put(event{kind: subscriptionClosed, sending: l, err: err})
}

// The tokens of a subscription's results.
const (
	tokenSubscribed uint64 = iota
	tokenEnded
)

// subscribeResults receives the ends of Subscribe and Close.
type subscribeResults sending

// Complete passes the results to the owner.
func (r *subscribeResults) Complete(rs []routing.Result) {
	l := (*sending)(r)
	for _, res := range rs {
		kind := subscriptionJudged
		if res.Token == tokenEnded {
			kind = subscriptionEnded
		}
		l.s.c.box.Put(event{kind: kind, sending: l, err: res.Err})
	}
}
