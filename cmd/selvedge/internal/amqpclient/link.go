package amqpclient

import (
	"context"
	"fmt"
)

// link is one end of a link; its fields belong to Conn.mu, but those of a
// receiver's deliveries to Serve.
type link struct {
	conn     *Conn
	handle   uint32
	name     string
	receiver *Receiver     // nil for senders
	attached chan struct{} // closed when the broker has attached with a terminus

	credit uint32 // of senders
	count  uint32 // delivery-count
}

// Sender sends to one address.
type Sender struct {
	link

	template *Template
	settled  bool
}

// Receiver receives from one address.
type Receiver struct {
	link

	// Tag is the owner's.
	Tag int

	most      uint32 // credit
	ackEvery  uint32 // deliveries settled by one disposition
	settled   bool
	unsettled uint32 // deliveries since the last disposition; belongs to Conn.mu
	used      uint32 // deliveries since the last flow
	current   uint32 // delivery-id of the delivery under way
	partial   []byte // of a delivery in several transfers
	joined    []byte // of a body in several sections
}

// AttachSender attaches a sending link and waits for the broker's attach. Kind
// is the capability "queue" or "topic". Settled messages are not confirmed.
func (c *Conn) AttachSender(ctx context.Context, address, kind string, t *Template, settled bool) (*Sender, error) {
	s := &Sender{template: t, settled: settled}
	if err := c.attach(ctx, &s.link, address, kind, settled); err != nil {
		return nil, fmt.Errorf("attach to %s: %w", address, err)
	}
	return s, nil
}

// ReceiverOptions say how a receiver receives.
type ReceiverOptions struct {
	Address  string
	Kind     string // the capability "queue" or "topic"
	Credit   int    // unsettled deliveries
	AckEvery int    // deliveries that are settled together, at most half of the credit; 0: the broker settles
	Tag      int    // for the owner
}

// AttachReceiver attaches a receiving link, waits for the broker's attach and
// gives credit.
func (c *Conn) AttachReceiver(ctx context.Context, o ReceiverOptions) (*Receiver, error) {
	r := &Receiver{Tag: o.Tag, most: uint32(o.Credit), settled: o.AckEvery == 0}
	r.ackEvery = uint32(max(1, min(o.AckEvery, o.Credit/2)))
	r.receiver = r
	if err := c.attach(ctx, &r.link, o.Address, o.Kind, r.settled); err != nil {
		return nil, fmt.Errorf("attach to %s: %w", o.Address, err)
	}
	return r, c.flow(r)
}

// attach attaches a link. [transport 2.7.3]
func (c *Conn) attach(ctx context.Context, l *link, address, kind string, settled bool) error {
	c.mu.Lock()
	l.conn, l.handle, l.attached = c, uint32(len(c.links)), make(chan struct{})
	l.name = fmt.Sprintf("%s-%d", address, l.handle)
	c.links = append(c.links, l)
	c.mu.Unlock()
	settleMode := byte(0) // unsettled
	if settled {
		settleMode = 1
	}
	err := c.out.Append(func(b []byte) []byte {
		e := frame(b, typeAMQP, descAttach)
		e.string(l.name)
		e.uint(l.handle)
		e.bool(l.receiver != nil)
		e.ubyte(settleMode)
		e.ubyte(0) // the receiver settles first
		if l.receiver != nil {
			e.source(address, kind)
			e.target("", "")
		} else {
			e.source("", "")
			e.target(address, kind)
		}
		e.null()  // unsettled
		e.null()  // incomplete-unsettled
		e.uint(0) // initial-delivery-count
		return e.done(10)
	})
	if err != nil {
		return err
	}
	select {
	case <-l.attached:
		return nil
	case <-c.served:
		return c.out.Append(func(b []byte) []byte { return b }) // tells why
	case <-ctx.Done():
		return ctx.Err()
	}
}

// source writes a source. [messaging 3.5.3]
func (e *encoder) source(address, capability string) {
	e.open(descSource)
	if address == "" {
		e.shut(0)
		return
	}
	e.string(address)
	for range 9 { // durable … outcomes
		e.null()
	}
	e.symbols(capability)
	e.shut(11)
}

// target writes a target. [messaging 3.5.4]
func (e *encoder) target(address, capability string) {
	e.open(descTarget)
	if address == "" {
		e.shut(0)
		return
	}
	e.string(address)
	for range 5 { // durable … dynamic-node-properties
		e.null()
	}
	e.symbols(capability)
	e.shut(7)
}

// onAttach takes the broker's handle. Without a terminus the broker refuses
// and says why in the detach that follows. [transport 2.6.3]
func (c *Conn) onAttach(v value) error {
	const fieldName, fieldHandle, fieldRole, fieldSource, fieldTarget, fieldCount = 0, 1, 2, 5, 6, 9
	var f [10]value
	if err := v.fields(f[:]); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, l := range c.links {
		if l.name != f[fieldName].text() || (l.receiver == nil) != f[fieldRole].truth() {
			continue
		}
		c.remote[uint32(f[fieldHandle].num)] = l
		terminus := f[fieldTarget]
		if l.receiver != nil {
			terminus = f[fieldSource]
			l.count = uint32(f[fieldCount].num)
		}
		if !terminus.null() && l.attached != nil {
			close(l.attached)
			l.name = "" // a second attach finds nothing
		}
		return nil
	}
	return fmt.Errorf("%w: attach of a link that was not asked for: %q", ErrMalformed, f[fieldName].text())
}

// onFlow takes the session's window and the link's credit.
// [transport 2.5.6, 2.6.7]
func (c *Conn) onFlow(v value) error {
	const fieldNextIn, fieldWindow, fieldHandle, fieldCount, fieldCredit, fieldEcho = 0, 1, 4, 5, 6, 9
	var f [10]value
	if err := v.fields(f[:]); err != nil {
		return err
	}
	c.mu.Lock()
	c.windowOut = uint32(f[fieldNextIn].number(0)) + uint32(f[fieldWindow].num) - c.nextOut
	var echo *Receiver
	if l := c.remote[uint32(f[fieldHandle].num)]; l != nil && !f[fieldHandle].null() {
		if l.receiver == nil {
			l.credit = uint32(f[fieldCount].number(0)) + uint32(f[fieldCredit].num) - l.count
		} else if f[fieldEcho].truth() {
			echo = l.receiver
		}
	}
	c.mu.Unlock()
	select {
	case c.room <- struct{}{}:
	default:
	}
	if echo != nil {
		return c.flow(echo)
	}
	return nil
}
