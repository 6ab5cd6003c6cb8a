package frames

import "github.com/selvedge-mq/selvedge/protocols/amqp/wire"

// Flow updates the windows of a session and, with a handle, the credit of a
// link. [transport 2.7.4]
//
//	field             type             default  mandatory
//	next-incoming-id  transfer-number
//	incoming-window   uint                      yes
//	next-outgoing-id  transfer-number           yes
//	outgoing-window   uint                      yes
//	handle            handle
//	delivery-count    sequence-no
//	link-credit       uint
//	available         uint
//	drain             boolean          false
//	echo              boolean          false
//	properties        fields
type Flow struct {
	NextIncomingID wire.Optional[uint32] // absent before the peer's begin was seen
	IncomingWindow uint32
	NextOutgoingID uint32
	OutgoingWindow uint32
	Handle         wire.Optional[uint32] // absent in a flow of the session alone
	DeliveryCount  wire.Optional[uint32]
	LinkCredit     wire.Optional[uint32]
	Available      wire.Optional[uint32]
	Drain          bool
	Echo           bool
	Properties     wire.Map
}

// Code is the descriptor of flow.
func (*Flow) Code() uint64 { return CodeFlow }

// Append appends the performative.
func (l *Flow) Append(dst []byte) []byte {
	w := wire.BeginList(dst, CodeFlow)
	w.OptUint(l.NextIncomingID)
	w.Uint(l.IncomingWindow)
	w.Uint(l.NextOutgoingID)
	w.Uint(l.OutgoingWindow)
	w.OptUint(l.Handle)
	w.OptUint(l.DeliveryCount)
	w.OptUint(l.LinkCredit)
	w.OptUint(l.Available)
	w.Flag(l.Drain)
	w.Flag(l.Echo)
	w.OptMap(l.Properties)
	return w.End()
}

func (l *Flow) decode(f *wire.Fields) {
	*l = Flow{
		NextIncomingID: f.OptUint("next-incoming-id"),
		IncomingWindow: f.NeedUint("incoming-window"),
		NextOutgoingID: f.NeedUint("next-outgoing-id"),
		OutgoingWindow: f.NeedUint("outgoing-window"),
		Handle:         f.OptUint("handle"),
		DeliveryCount:  f.OptUint("delivery-count"),
		LinkCredit:     f.OptUint("link-credit"),
		Available:      f.OptUint("available"),
		Drain:          f.Bool("drain"),
		Echo:           f.Bool("echo"),
		Properties:     f.Map("properties"),
	}
}
