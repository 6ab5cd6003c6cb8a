package frames

import "github.com/selvedge-mq/selvedge/protocols/amqp/wire"

// Begin begins a session on a channel. [transport 2.7.2]
//
//	field                 type             default     mandatory
//	remote-channel        ushort
//	next-outgoing-id      transfer-number              yes
//	incoming-window       uint                         yes
//	outgoing-window       uint                         yes
//	handle-max            handle           4294967295
//	offered-capabilities  symbol[]
//	desired-capabilities  symbol[]
//	properties            fields
type Begin struct {
	RemoteChannel       wire.Optional[uint16] // set in the answer to a begin
	NextOutgoingID      uint32
	IncomingWindow      uint32
	OutgoingWindow      uint32
	HandleMax           uint32 // decoded as the default when absent; always set it
	OfferedCapabilities []wire.Symbol
	DesiredCapabilities []wire.Symbol
	Properties          wire.Map
}

// Code is the descriptor of begin.
func (*Begin) Code() uint64 { return CodeBegin }

// Append appends the performative.
func (b *Begin) Append(dst []byte) []byte {
	w := wire.BeginList(dst, CodeBegin)
	w.OptUshort(b.RemoteChannel)
	w.Uint(b.NextOutgoingID)
	w.Uint(b.IncomingWindow)
	w.Uint(b.OutgoingWindow)
	w.OptUint(unless(b.HandleMax, DefaultHandleMax))
	w.OptSymbols(b.OfferedCapabilities)
	w.OptSymbols(b.DesiredCapabilities)
	w.OptMap(b.Properties)
	return w.End()
}

func (b *Begin) decode(f *wire.Fields) {
	*b = Begin{
		RemoteChannel:       f.OptUshort("remote-channel"),
		NextOutgoingID:      f.NeedUint("next-outgoing-id"),
		IncomingWindow:      f.NeedUint("incoming-window"),
		OutgoingWindow:      f.NeedUint("outgoing-window"),
		HandleMax:           f.OptUint("handle-max").Or(DefaultHandleMax),
		OfferedCapabilities: f.Symbols("offered-capabilities"),
		DesiredCapabilities: f.Symbols("desired-capabilities"),
		Properties:          f.Map("properties"),
	}
}
