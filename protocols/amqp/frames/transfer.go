package frames

import "github.com/selvedge-mq/selvedge/protocols/amqp/wire"

// MaxDeliveryTag is the greatest length of a delivery-tag. [transport 2.8.7]
const MaxDeliveryTag = 32

// Transfer carries a message, or a part of one as its payload. [transport 2.7.5]
//
//	field            type                  default  mandatory
//	handle           handle                         yes
//	delivery-id      delivery-number                in the first
//	delivery-tag     delivery-tag                   in the first
//	message-format   message-format                 in the first
//	settled          boolean               false
//	more             boolean               false
//	rcv-settle-mode  receiver-settle-mode
//	state            *
//	resume           boolean               false
//	aborted          boolean               false
//	batchable        boolean               false
type Transfer struct {
	Handle        uint32
	DeliveryID    wire.Optional[uint32]
	DeliveryTag   []byte // nil when absent, which is not the same as empty
	MessageFormat wire.Optional[uint32]
	Settled       wire.Optional[bool]
	More          bool
	RcvSettleMode wire.Optional[ReceiverSettleMode]
	State         State // StateNone when absent
	Resume        bool
	Aborted       bool
	Batchable     bool
}

// Code is the descriptor of transfer.
func (*Transfer) Code() uint64 { return CodeTransfer }

// Append appends the performative, without the payload.
func (t *Transfer) Append(dst []byte) []byte {
	w := wire.BeginList(dst, CodeTransfer)
	w.Uint(t.Handle)
	w.OptUint(t.DeliveryID)
	w.OptBinary(t.DeliveryTag)
	w.OptUint(t.MessageFormat)
	w.OptBool(t.Settled)
	w.Flag(t.More)
	w.OptUbyte(wire.Optional[uint8]{Value: uint8(t.RcvSettleMode.Value), Set: t.RcvSettleMode.Set})
	t.State.write(&w)
	w.Flag(t.Resume)
	w.Flag(t.Aborted)
	w.Flag(t.Batchable)
	return w.End()
}

func (t *Transfer) decode(f *wire.Fields) {
	*t = Transfer{
		Handle:        f.NeedUint("handle"),
		DeliveryID:    f.OptUint("delivery-id"),
		DeliveryTag:   f.Binary("delivery-tag"),
		MessageFormat: f.OptUint("message-format"),
		Settled:       f.OptBool("settled"),
		More:          f.Bool("more"),
		RcvSettleMode: readMode(f, "rcv-settle-mode", ReceiverSecond),
	}
	t.State.read(f, "state")
	t.Resume = f.Bool("resume")
	t.Aborted = f.Bool("aborted")
	t.Batchable = f.Bool("batchable")
}
