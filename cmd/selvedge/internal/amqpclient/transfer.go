package amqpclient

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"
)

// transferRoom is what a transfer frame needs beside its payload, at most.
const transferRoom = 64

// Send hands a message to the writer; Handler.Settled tells its outcome by the
// token. It waits while the broker grants no credit.
func (c *Conn) Send(ctx context.Context, s *Sender, body []byte, token uint64) error {
	for {
		sent, err := c.trySend(s, body, token)
		if sent || err != nil {
			return err
		}
		if err := c.awaitRoom(ctx); err != nil {
			return err
		}
	}
}

// awaitRoom waits until credit or window came.
func (c *Conn) awaitRoom(ctx context.Context) error {
	t := time.NewTimer(c.patient)
	defer t.Stop()
	select {
	case <-c.room:
		return nil
	case <-c.served:
		return c.out.Append(func(b []byte) []byte { return b }) // tells why
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return fmt.Errorf("no credit for %v", c.patient)
	}
}

// trySend sends if there is credit and window.
func (c *Conn) trySend(s *Sender, body []byte, token uint64) (bool, error) {
	payload := len(s.template.head) + 4 + len(body)
	most := c.largest - transferRoom
	transfers := uint32((payload + most - 1) / most)
	c.mu.Lock()
	if s.credit == 0 || c.windowOut < transfers || int32(s.credit) < 0 || int32(c.windowOut) < 0 {
		c.mu.Unlock()
		return false, nil
	}
	id := c.nextDelivery
	c.nextDelivery++
	c.nextOut += transfers
	c.windowOut -= transfers
	s.credit--
	s.count++
	if !s.settled {
		c.pending[id] = token
	}
	c.mu.Unlock()
	return true, c.out.Append(func(b []byte) []byte {
		if transfers == 1 {
			e := s.transfer(b, id, false)
			b = e.done(6)
			b = s.template.encode(b, body)
			binary.BigEndian.PutUint32(b[e.start:], uint32(len(b)-e.start))
			return b
		}
		whole := s.template.encode(nil, body)
		for len(whole) > 0 {
			n := min(most, len(whole))
			e := s.transfer(b, id, n < len(whole))
			b = e.done(6, whole[:n])
			whole = whole[n:]
		}
		return b
	})
}

// transfer begins a transfer frame with six fields. [transport 2.7.5]
func (s *Sender) transfer(b []byte, id uint32, more bool) encoder {
	e := frame(b, typeAMQP, descTransfer)
	e.uint(s.handle)
	e.uint(id)
	e.b = binary.BigEndian.AppendUint32(append(e.b, codeBin8, 4), id)
	e.uint(0) // message-format
	e.bool(s.settled)
	e.bool(more)
	return e
}

// onDisposition hands outcomes on. [transport 2.7.6]
func (c *Conn) onDisposition(h Handler, v value) error {
	const fieldRole, fieldFirst, fieldLast, fieldSettled, fieldState = 0, 1, 2, 3, 4
	var f [5]value
	if err := v.fields(f[:]); err != nil {
		return err
	}
	if !f[fieldRole].truth() || !f[fieldSettled].truth() {
		return nil // the broker settles what it sent, or will say more
	}
	first := uint32(f[fieldFirst].num)
	last := uint32(f[fieldLast].number(uint64(first)))
	outcome := outcome(f[fieldState])
	for id := first; ; id++ {
		c.mu.Lock()
		token, known := c.pending[id]
		delete(c.pending, id)
		left := len(c.pending)
		c.mu.Unlock()
		if known {
			h.Settled(token, outcome)
		}
		if id == last || left == 0 {
			return nil
		}
	}
}

// outcome returns nil for accepted. [messaging 3.4]
func outcome(state value) error {
	switch state.descriptor {
	case descAccepted:
		return nil
	case descRejected:
		var f [1]value
		if err := state.fields(f[:]); err != nil {
			return err
		}
		if err := protocolError(f[0]); err != nil {
			return err
		}
		return errors.New("rejected without a reason")
	default:
		return fmt.Errorf("the outcome is %#x", state.descriptor)
	}
}

// onTransfer joins a delivery's transfers and hands it over.
func (c *Conn) onTransfer(h Handler, v value, payload []byte) error {
	const fieldHandle, fieldID, fieldMore, fieldAborted = 0, 1, 5, 9
	var f [10]value
	if err := v.fields(f[:]); err != nil {
		return err
	}
	c.mu.Lock()
	c.nextIn++
	l := c.remote[uint32(f[fieldHandle].num)]
	c.mu.Unlock()
	if l == nil || l.receiver == nil {
		return fmt.Errorf("%w: transfer on a link that does not receive", ErrMalformed)
	}
	r := l.receiver
	if !f[fieldID].null() {
		r.current = uint32(f[fieldID].num)
	}
	if f[fieldAborted].truth() {
		r.partial = r.partial[:0]
		return nil
	}
	if len(r.partial)+len(payload) > maxMessage {
		return fmt.Errorf("%w: a message of more than %d bytes", ErrMalformed, maxMessage)
	}
	if more := f[fieldMore].truth(); more || len(r.partial) > 0 {
		r.partial = append(r.partial, payload...)
		if more {
			return nil
		}
		payload, r.partial = r.partial, r.partial[:0]
	}
	body, redelivered, err := parseMessage(payload, r.joined)
	if err != nil {
		return err
	}
	h.Message(r, body, redelivered)
	return c.delivered(r)
}

// delivered settles and renews the credit when it is time.
func (c *Conn) delivered(r *Receiver) error {
	c.mu.Lock()
	r.count++
	due := false
	if !r.settled {
		if c.unsettled == 0 {
			c.firstIn = r.current
		}
		c.lastIn = r.current
		c.unsettled++
		r.unsettled++
		due = c.unsettled >= r.ackEvery
	}
	c.mu.Unlock()
	if due {
		if err := c.accept(); err != nil {
			return err
		}
	}
	if r.used++; r.used >= max(1, r.most/2) {
		return c.flow(r)
	}
	return nil
}

// accept settles the deliveries since the last disposition, those of all
// receivers: delivery-ids belong to the session, and all up to the last one were
// handed over. [transport 2.7.6]
func (c *Conn) accept() error {
	c.mu.Lock()
	first, last, n := c.firstIn, c.lastIn, c.unsettled
	c.unsettled = 0
	for _, l := range c.links {
		if l.receiver != nil {
			l.receiver.unsettled = 0
		}
	}
	c.mu.Unlock()
	if n == 0 {
		return nil
	}
	return c.out.Append(func(b []byte) []byte {
		e := frame(b, typeAMQP, descDisposition)
		e.bool(true) // role: receiver
		e.uint(first)
		e.uint(last)
		e.bool(true)
		e.open(descAccepted)
		e.shut(0)
		return e.done(5)
	})
}

// flow gives credit up to what the receiver may have. [transport 2.7.4]
func (c *Conn) flow(r *Receiver) error {
	r.used = 0
	c.mu.Lock()
	nextIn, nextOut, count, credit := c.nextIn, c.nextOut, r.count, r.most-r.unsettled
	c.mu.Unlock()
	return c.out.Append(func(b []byte) []byte {
		e := frame(b, typeAMQP, descFlow)
		e.uint(nextIn)
		e.uint(window)
		e.uint(nextOut)
		e.uint(window)
		e.uint(r.handle)
		e.uint(count)
		e.uint(credit)
		return e.done(7)
	})
}
