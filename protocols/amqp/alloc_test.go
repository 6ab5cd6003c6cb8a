package amqp

import (
	"testing"

	"github.com/selvedge-mq/selvedge/protocols/amqp/frames"
	"github.com/selvedge-mq/selvedge/protocols/amqp/wire"
	"github.com/selvedge-mq/selvedge/routing"
)

// TestDeliveriesAreNotAllocated holds the way of a delivery to the client, from the
// engine's batch to the writer's bytes, free of allocations.
func TestDeliveriesAreNotAllocated(t *testing.T) {
	c := owned(t)
	s := &session{c: c, out: outgoing{left: 1 << 30}}
	l := &sending{link: link{s: s, phase: linkAttached, key: linkKey{role: frames.RoleSender}}}
	l.self, l.sub = l, &engineModel{link: l}
	l.credit.left = 1 << 30
	ds := make([]routing.Delivery, 100)
	for i := range ds {
		ds[i].Envelope = routing.Envelope{Encoding: routing.EncodingAMQP, Payload: benchMessage()}
	}
	got := testing.AllocsPerRun(200, func() {
		l.delivered(c.f.pools.copyDeliveries(ds))
		c.pump()
		c.buf = c.buf[:0]
		s.unsettled.each(s.nextDelivery-100, s.nextDelivery-1, func(id uint32, _ sent) { s.unsettled.remove(id) })
	})
	if got /= float64(len(ds)); got > 0.1 {
		t.Errorf("got %.2f allocations a delivery, want none", got)
	}
}

// TestSendsHardlyAllocate holds the way of a message from the client, from its
// frame to the disposition that answers it, to three allocations, of which the test double has one.
func TestSendsHardlyAllocate(t *testing.T) {
	c := owned(t)
	c.routing = &forgetful{}
	s := &session{c: c, in: incoming{size: 1 << 30, left: 1 << 30}}
	c.sessions.put(0, s)
	l := &receiving{link: link{s: s, phase: linkAttached}, to: routing.Queue("q"), credit: 1 << 30, mode: frames.SenderMixed}
	l.self = l
	s.links.put(0, l)
	payload, id := benchMessage(), uint32(0)
	tr := frames.Transfer{DeliveryTag: []byte{1, 2, 3, 4}, MessageFormat: wire.Some(uint32(0))}
	var frame []byte
	const batch = 100
	got := testing.AllocsPerRun(200, func() {
		for range batch {
			id++
			tr.DeliveryID = wire.Some(id)
			tr.DeliveryTag[0], tr.DeliveryTag[1] = byte(id), byte(id>>8)
			frame = append(frames.AppendTransfer(frame[:0], 0, &tr, len(payload)), payload...)
			in := inbound{body: frame[frames.HeaderSize:]}
			c.dispatch(t.Context(), &in)
		}
		c.takeEvents()
		c.flush()
		c.buf = c.buf[:0]
		c.giveBack()
	})
	if c.state != opened || l.credit >= 1<<30-batch {
		t.Fatalf("the sends were not taken: state %v, credit %d", c.state, l.credit)
	}
	if got /= batch; got > 3 {
		t.Errorf("got %.2f allocations a message, want at most 3", got)
	}
}
