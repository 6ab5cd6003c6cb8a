package engine

import (
	"context"
	"errors"
	"time"

	"github.com/selvedge-mq/selvedge/internal/mailbox"
	"github.com/selvedge-mq/selvedge/routing/shard"
)

// outlet brings a leader's deliveries to one node: it finds the bodies and waits
// for the node's window, so that a slow node or a cold body holds up no other.
type outlet struct {
	l    *leader
	node string
	to   hearer // as of whose report the deliveries are
	box  *mailbox.Mailbox[parcel]
	stop context.CancelFunc
	done chan struct{}
}

// parcel is a delivery, or the word that a subscription is drained, which comes
// behind the deliveries before it, or a read.
type parcel struct {
	shard.Delivery
	drained bool
	credit  uint32
	asked   *pieceAsked // or a read
}

// outletTo returns the outlet to a node that has reported, and starts it at the first delivery.
func (l *leader) outletTo(ctx context.Context, node string) *outlet {
	o := l.outlets[node]
	if o != nil {
		return o
	}
	ctx, stop := context.WithCancel(ctx)
	o = &outlet{l: l, node: node, to: l.hearers[node], box: mailbox.New[parcel](), stop: stop, done: make(chan struct{})}
	l.outlets[node] = o
	epoch := l.epoch
	l.e.wg.Go(func() {
		defer close(o.done)
		o.run(ctx, epoch)
	})
	return o
}

// deliverBytes is about how many bytes of deliveries travel together.
const deliverBytes = 256 << 10

func (o *outlet) run(ctx context.Context, epoch uint32) {
	var batch []parcel
	for {
		select {
		case <-ctx.Done():
			return
		case <-o.box.Ready():
		}
		batch = o.box.Take(batch)
		for rest := batch; len(rest) > 0 && ctx.Err() == nil; {
			if !rest[0].delivers() {
				if !o.leaseHeld(ctx) {
					return
				}
				o.tell(ctx, epoch, &rest[0])
				rest = rest[1:]
				continue
			}
			var out []handed
			out, rest = o.fill(ctx, rest)
			if !o.leaseHeld(ctx) {
				return
			}
			o.send(ctx, epoch, out)
		}
	}
}

// fill finds the bodies of the next deliveries, up to a batch's size.
func (o *outlet) fill(ctx context.Context, ps []parcel) ([]handed, []parcel) {
	out := make([]handed, 0, min(len(ps), 512))
	size := 0
	for len(ps) > 0 && ps[0].delivers() && size < deliverBytes {
		d := &ps[0].Delivery
		body, err := o.l.body(ctx, d.Key, d.Body)
		switch {
		case err == nil:
			out = append(out, handed{sub: d.Sub.Sub, key: d.Key, failed: d.Failed, redelivered: d.Redelivered, kept: d.Body.Kept, parts: d.Body.Parts, body: body})
			size += len(body)
		case errors.Is(err, ErrPurged) || ctx.Err() != nil:
			// Settled in the meantime, or no time left.
		default:
			// The body cannot be read now: the epoch ends, and with it every
			// delivery that was not made.
			o.l.box.Put(func() { o.l.fail(err) })
			return out, nil
		}
		ps = ps[1:]
	}
	return out, ps
}

// delivers reports whether the parcel is a delivery.
func (p *parcel) delivers() bool { return !p.drained && p.asked == nil }

// tell sends what is not a delivery.
func (o *outlet) tell(ctx context.Context, epoch uint32, p *parcel) {
	if p.drained {
		o.sendDrained(ctx, epoch, p)
		return
	}
	a, err := o.answer(ctx, p.asked)
	switch {
	case err == nil:
		o.sendPiece(ctx, epoch, a)
	case ctx.Err() == nil: // it cannot be read now: the next leader is asked again
		o.l.box.Put(func() { o.l.fail(err) })
	}
}

func (o *outlet) sendDrained(ctx context.Context, epoch uint32, p *parcel) {
	e, sub, credit := o.l.e, p.Sub.Sub, p.credit
	if o.node == e.node {
		at := e.portals[o.l.shard]
		at.heed(o.to.report, func() { at.drained(sub, credit) })
		return
	}
	msg := o.to.append(head{verb: verbDrained, shard: o.l.shard, epoch: epoch}.append(nil))
	e.sendWhenWritable(ctx, o.node, o.to.session, LaneDeliver, appendGrant(msg, sub, int32(credit)), o.leaseHeld)
}

// leaseHeld waits until the leader holds its lease: nothing is handed out
// without, however long this goroutine was stopped or waited for a window.
func (o *outlet) leaseHeld(ctx context.Context) bool {
	for !o.l.lease.held(time.Now()) {
		wait(ctx, o.l.e.opts.Heartbeat/4)
		if ctx.Err() != nil {
			return false
		}
	}
	return true
}

func (o *outlet) send(ctx context.Context, epoch uint32, out []handed) {
	if len(out) == 0 {
		return
	}
	e := o.l.e
	if o.node == e.node {
		p := e.portals[o.l.shard]
		p.box.Put(func() { p.deliver(o.to.report, out) })
		return
	}
	msg := o.to.append(head{verb: verbDeliver, shard: o.l.shard, epoch: epoch}.append(nil))
	for i := range out {
		msg = appendHanded(msg, &out[i])
	}
	e.sendWhenWritable(ctx, o.node, o.to.session, LaneDeliver, msg, o.leaseHeld)
}

// emit carries out what the machine asks for.
func (l *leader) emit(ctx context.Context) {
	fx := l.s.Effects()
	for i := range fx.Deliveries {
		d := &fx.Deliveries[i]
		if node, ok := l.nodes[d.Sub.Session]; ok {
			l.outletTo(ctx, node).box.Put(parcel{Delivery: *d})
		}
	}
	for i := range fx.Confirms {
		l.confirm(&fx.Confirms[i])
	}
	for _, d := range fx.Drained {
		if node, ok := l.nodes[d.Sub.Session]; ok {
			l.outletTo(ctx, node).box.Put(parcel{Delivery: shard.Delivery{Sub: d.Sub}, drained: true, credit: d.Credit})
		}
	}
	for i := range l.pieces {
		if node, ok := l.nodes[l.pieces[i].sub.Session]; ok { // else it reports first, and asks again
			l.outletTo(ctx, node).box.Put(parcel{asked: &l.pieces[i]})
		}
	}
	l.pieces = nil
	for i := range fx.DeadLetters {
		l.bury(ctx, &fx.DeadLetters[i])
	}
	l.purge(ctx)
	fx.Reset()
}

func (l *leader) confirm(c *shard.Confirm) {
	if c.Lane.Lane == laneDead {
		l.confirmGuest(c)
		return
	}
	node, ok := l.nodes[c.Lane.Session]
	if !ok {
		return
	}
	lane, next, answers := c.Lane.Lane, c.Next, c.Answers
	l.toNode(node, verbConfirm, appendConfirm(nil, c), func(p *portal) { p.confirm(lane, next, answers) })
}

// toNode sends a control message to a node's portal of this shard.
func (l *leader) toNode(node string, v verb, payload []byte, local func(p *portal)) {
	to := l.hearers[node]
	if node == l.e.node {
		p := l.e.portals[l.shard]
		p.heed(to.report, func() { local(p) })
		return
	}
	msg := to.append(head{verb: v, shard: l.shard, epoch: l.epoch}.append(nil))
	l.e.control(node, append(msg, payload...))
}

func (l *leader) welcome(node string, expects [2]uint64) {
	payload := appendSub(appendSub(nil, expects[0]), expects[1])
	l.toNode(node, verbWelcome, payload, func(p *portal) { p.welcome(expects) })
}

// fail ends the epoch. The leader may have to wait for the answers to its appends; nothing
// is handed out meanwhile. [invariant 2]
func (l *leader) fail(err error) {
	if l.failed != nil {
		return
	}
	l.failed = err
	for _, o := range l.outlets {
		o.stop()
	}
}
