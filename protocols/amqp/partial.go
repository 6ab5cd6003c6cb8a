package amqp

import (
	"github.com/selvedge-mq/selvedge/protocols/amqp/frames"
)

// partial is a delivery from the client of which frames are still to come.
type partial struct {
	active  bool
	id      uint32
	tag     []byte // backed by tagRoom
	tagRoom [frames.MaxDeliveryTag]byte
	format  uint32
	settled bool       // on any frame so far: clients set it on the last
	resumed bool       // it resumes one of a former link, so that its bytes do not count
	txn     *txn       // nil outside of transactions
	whole   bool       // it cannot be uploaded, whatever its size
	came    int        // bytes so far
	buf     []byte     // what came and is not uploaded; nil with a single frame
	upload  *uploading // nil unless the delivery is a large one
}

// begin starts a delivery with its first frame. [transport 2.7.5]
func (p *partial) begin(t *frames.Transfer) *breach {
	switch {
	case !t.DeliveryID.Set && !t.Aborted:
		return linkError(frames.InvalidField, "the first transfer of a delivery needs a delivery-id")
	case t.DeliveryTag == nil && !t.Aborted:
		return linkError(frames.InvalidField, "the first transfer of a delivery needs a delivery-tag")
	case len(t.DeliveryTag) > frames.MaxDeliveryTag:
		return linkError(frames.InvalidField, "a delivery-tag has %d bytes, at most %d are allowed",
			len(t.DeliveryTag), frames.MaxDeliveryTag)
	}
	p.active, p.settled = true, false
	p.resumed = t.Resume // [transport 2.6.13]
	p.id, p.format = t.DeliveryID.Value, t.MessageFormat.Value
	p.tag = p.tagRoom[:copy(p.tagRoom[:], t.DeliveryTag)]
	return nil
}

// check compares a frame with the delivery it belongs to, and the link's modes.
func (p *partial) check(t *frames.Transfer, l *receiving) *breach {
	switch {
	case t.DeliveryID.Set && t.DeliveryID.Value != p.id:
		return linkError(frames.NotAllowed, "delivery %d begins before delivery %d ended", t.DeliveryID.Value, p.id)
	case t.DeliveryTag != nil && string(t.DeliveryTag) != string(p.tag):
		return linkError(frames.InvalidField, "the delivery-tag changes within a delivery")
	case t.MessageFormat.Set && t.MessageFormat.Value != p.format:
		return linkError(frames.InvalidField, "the message-format changes within a delivery")
	case t.RcvSettleMode.Set && t.RcvSettleMode.Value == frames.ReceiverSecond && !l.second && !t.Settled.Value:
		return linkError(frames.InvalidField, "rcv-settle-mode is second on a link where it is first")
	}
	p.settled = p.settled || t.Settled.Value
	if t.State.Kind != frames.StateTransactional {
		return nil
	}
	if p.txn = l.s.c.transaction(t.State.TxnID); p.txn == nil { // [transactions 4.4.1]
		return &breach{onLink, unknownTransaction(t.State.TxnID)}
	}
	return nil
}

// size returns how many bytes came so far.
func (p *partial) size() int { return p.came }

// memory returns how many bytes are held for what came. A link may keep them for
// as long as it likes, so the buffer has the size of what came and is not one of
// the pools': many links with a byte each would borrow them all.
func (p *partial) memory() int { return cap(p.buf) }

// join appends a frame's payload.
func (p *partial) join(payload []byte) {
	p.came += len(payload)
	if p.upload == nil || p.upload.err == nil {
		p.buf = append(p.buf, payload...)
	}
}

// reset forgets the delivery.
func (p *partial) reset() { *p = partial{} }
