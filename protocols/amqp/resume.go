package amqp

import (
	"encoding/binary"
	"sync"

	"github.com/selvedge-mq/selvedge/protocols/amqp/frames"
	"github.com/selvedge-mq/selvedge/protocols/amqp/wire"
	"github.com/selvedge-mq/selvedge/routing"
)

// remember begins or goes on with the unsettled map of a link from the client, and
// answers the attach when what was under way when the former link ended is judged.
// [transport 2.6.13]
func (l *receiving) remember() {
	if x := l.recall(l.to); x != nil {
		l.ledger = x.sends
		c := l.s.c
		if l.ledger.whenJudged(func() { c.box.Put(event{kind: rareCame, rare: l.remembered}) }) {
			return
		}
	} else if l.lasting() || l.second && l.retention.outlives(linkEnded) {
		l.ledger = newLedger()
	}
	l.remembered()
}

// lasting reports whether the unsettled map outlives the session. The client that
// asks for that settles what it wants us to remember until it does.
func (l *receiving) lasting() bool { return l.retention.outlives(sessionEnded) }

// remembered answers the attach with our unsettled map.
func (l *receiving) remembered() {
	if !l.awaited() {
		return
	}
	a := &frames.Attach{Target: answerTarget(l.attach.Target, l.retention)}
	if l.ledger != nil {
		l.ledger.adopt(l.attach)
		rest := frames.Attach{Name: l.key.name, Source: l.attach.Source, Target: a.Target}
		room := int(l.s.c.peer.maxFrame) - len(rest.Append(nil)) - attachMax
		a.Unsettled, a.IncompleteUnsettled = l.ledger.unsettled(room)
		l.incomplete = l.incomplete || a.IncompleteUnsettled
	}
	l.answer(a)
}

// attachMax is what an attach of ours has beside its name, termini and unsettled
// map, and the frame's header.
const attachMax = 64

// resumeDelivery answers a delivery that the client resumed and that is known.
// [transport 2.6.13]
func (l *receiving) resumeDelivery() {
	p := &l.partial
	if l.ledger == nil {
		return
	}
	state, known := l.ledger.resume(p.id, p.tag, p.settled)
	if !known || p.settled {
		return
	}
	if !l.second {
		l.ledger.settled(p.id)
	}
	l.s.answers.tell(answer{id: p.id, settled: !l.second, role: frames.RoleReceiver, state: state, kept: l.lasting()})
	l.s.mark()
}

// leaveLedger keeps the unsettled map beyond the link, or ends it with the link.
func (l *receiving) leaveLedger(o occasion) {
	m := l.ledger
	if m == nil {
		return
	}
	l.ledger = nil
	if l.doomed {
		return
	}
	for _, id := range m.present() { // the client settles them by another link
		l.s.unconfirm(id, id)
	}
	l.suspend(&suspension{address: l.to, sends: m, size: m.leave(l.second)}, o)
}

// keptSends receives the engine's results of sends that are remembered.
type keptSends struct {
	link   *receiving
	ledger *ledger
}

// Complete notes the results and passes them to the owner.
func (k *keptSends) Complete(rs []routing.Result) {
	k.ledger.judge(rs)
	(*sendResults)(k.link).Complete(rs)
}

// leftover is what a link to the client left behind: the deliveries that were not
// settled. They are back in their queue, or on their way there; one that the
// client says it had accepted is taken from there if nobody has it yet. It is safe
// for concurrent use.
type leftover struct {
	tags map[tagKey]routing.Tag

	mu    sync.Mutex
	ended bool
	then  func() // called once when the subscription has ended, if set
}

// Complete takes the end of the link's subscription.
func (f *leftover) Complete([]routing.Result) {
	f.mu.Lock()
	then := f.then
	f.ended, f.then = true, nil
	f.mu.Unlock()
	if then != nil {
		then()
	}
}

// whenEnded has f called when the subscription has ended. It reports false, and
// calls nothing, when that is so already.
func (f *leftover) whenEnded(then func()) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ended {
		return false
	}
	f.then = then
	return true
}

// gather returns the deliveries that the link leaves unsettled, nil when there are
// none or they are not remembered.
func (l *sending) gather(o occasion) *leftover {
	if l.over || l.sub == nil || l.doomed || l.node != nil || !l.retention.outlives(o) {
		return nil
	}
	f := &leftover{tags: make(map[tagKey]routing.Tag)}
	l.s.unsettled.all(func(id uint32, it sent) {
		if it.link == l && it.told == 0 && it.txn == nil && len(f.tags) < maxKept {
			f.tags[keyOf(binary.BigEndian.AppendUint32(nil, id))] = it.tag
		}
	})
	if len(f.tags) == 0 {
		return nil
	}
	return f
}

// leave keeps what the link left behind.
func (l *sending) leave(f *leftover, o occasion) {
	if f != nil {
		l.suspend(&suspension{address: l.from, deliveries: f, size: len(f.tags) * keptSize}, o)
	}
}

// resume settles what the client accepted before the former link ended, if nobody
// else has it by now. It reports whether there is such; the attach is answered
// when that is judged, so that none of it comes again meanwhile.
// [transport 2.6.13]
func (l *sending) resume() bool {
	x := l.recall(l.from)
	if x == nil || len(l.attach.Unsettled) == 0 {
		return false
	}
	f := x.deliveries
	var accepted []routing.Tag
	for key, state := range unsettledTags(l.attach.Unsettled) {
		if tag, ok := f.tags[key]; ok && isAccepted(state) {
			accepted = append(accepted, tag)
		}
	}
	if len(accepted) == 0 {
		return false
	}
	c := l.s.c
	if !f.whenEnded(func() {
		c.box.Put(event{kind: rareCame, rare: func() { l.settleResumed(accepted) }})
	}) {
		l.settleResumed(accepted)
	}
	return true
}

// settleResumed passes what the client accepted to the engine.
func (l *sending) settleResumed(accepted []routing.Tag) {
	if l.over || !l.awaited() {
		return
	}
	c, left := l.s.c, len(accepted)
	judged := &judge{func(err error) {
		c.box.Put(event{kind: rareCame, rare: func() {
			c.debug().AnErr("stale", err).Msg("resumed delivery settled")
			if left--; left == 0 && !l.over && l.awaited() {
				l.answerSubscribed()
			}
		}})
	}}
	for _, tag := range accepted {
		l.sub.Settle(tag, routing.Outcome{Kind: routing.Accepted}, judged, 0)
	}
}

// isAccepted reports whether a state of an unsettled map is accepted.
func isAccepted(state any) bool {
	d, ok := state.(wire.Described)
	return ok && (d.Descriptor == any(frames.CodeAccepted) || d.Descriptor == any(frames.OutcomeAccepted))
}
