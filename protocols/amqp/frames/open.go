package frames

import (
	"math"

	"github.com/selvedge-mq/selvedge/protocols/amqp/wire"
)

// The limits of a peer that names none. [transport 2.7.1-2]
const (
	DefaultMaxFrameSize uint32 = math.MaxUint32
	DefaultChannelMax   uint16 = math.MaxUint16
	DefaultHandleMax    uint32 = math.MaxUint32
)

// Open negotiates the parameters of a connection. [transport 2.7.1]
//
//	field                 type          default     mandatory
//	container-id          string                    yes
//	hostname              string
//	max-frame-size        uint          4294967295
//	channel-max           ushort        65535
//	idle-time-out         milliseconds
//	outgoing-locales      symbol[]
//	incoming-locales      symbol[]
//	offered-capabilities  symbol[]
//	desired-capabilities  symbol[]
//	properties            fields
type Open struct {
	ContainerID         string
	Hostname            string // empty when absent
	MaxFrameSize        uint32 // decoded as the default when absent; always set it
	ChannelMax          uint16 // decoded as the default when absent; always set it
	IdleTimeout         uint32 // milliseconds; 0 means none
	OutgoingLocales     []wire.Symbol
	IncomingLocales     []wire.Symbol
	OfferedCapabilities []wire.Symbol
	DesiredCapabilities []wire.Symbol
	Properties          wire.Map
}

// Code is the descriptor of open.
func (*Open) Code() uint64 { return CodeOpen }

// Append appends the performative.
func (o *Open) Append(dst []byte) []byte {
	w := wire.BeginList(dst, CodeOpen)
	w.String(o.ContainerID)
	w.Text(o.Hostname)
	w.OptUint(unless(o.MaxFrameSize, DefaultMaxFrameSize))
	w.OptUshort(unless(o.ChannelMax, DefaultChannelMax))
	w.OptUint(unless(o.IdleTimeout, 0))
	w.OptSymbols(o.OutgoingLocales)
	w.OptSymbols(o.IncomingLocales)
	w.OptSymbols(o.OfferedCapabilities)
	w.OptSymbols(o.DesiredCapabilities)
	w.OptMap(o.Properties)
	return w.End()
}

func (o *Open) decode(f *wire.Fields) {
	*o = Open{
		ContainerID:         f.NeedString("container-id"),
		Hostname:            f.String("hostname"),
		MaxFrameSize:        f.OptUint("max-frame-size").Or(DefaultMaxFrameSize),
		ChannelMax:          f.OptUshort("channel-max").Or(DefaultChannelMax),
		IdleTimeout:         f.OptUint("idle-time-out").Value,
		OutgoingLocales:     f.Symbols("outgoing-locales"),
		IncomingLocales:     f.Symbols("incoming-locales"),
		OfferedCapabilities: f.Symbols("offered-capabilities"),
		DesiredCapabilities: f.Symbols("desired-capabilities"),
		Properties:          f.Map("properties"),
	}
}

// unless returns v as a field that is left out when it has its default.
func unless[T comparable](v, byDefault T) wire.Optional[T] {
	return wire.Optional[T]{Value: v, Set: v != byDefault}
}
