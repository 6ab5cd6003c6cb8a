package frames

import "github.com/selvedge-mq/selvedge/protocols/amqp/wire"

// Role is the end of a link that a performative comes from. [transport 2.8.1]
type Role bool

// The roles.
const (
	RoleSender   Role = false
	RoleReceiver Role = true
)

// String returns "sender" or "receiver".
func (r Role) String() string {
	if r == RoleReceiver {
		return "receiver"
	}
	return "sender"
}

// SenderSettleMode says whether a sender settles its deliveries at once.
// [transport 2.8.2]
type SenderSettleMode uint8

// The settlement policies of a sender.
const (
	SenderUnsettled SenderSettleMode = 0
	SenderSettled   SenderSettleMode = 1
	SenderMixed     SenderSettleMode = 2 // the default
)

// ReceiverSettleMode says whether a receiver settles first, or second: after
// the sender did. [transport 2.8.3]
type ReceiverSettleMode uint8

// The settlement policies of a receiver.
const (
	ReceiverFirst  ReceiverSettleMode = 0 // the default
	ReceiverSecond ReceiverSettleMode = 1
)

// Attach attaches a link to a session. [transport 2.7.3]
//
//	field                   type                  default  mandatory
//	name                    string                         yes
//	handle                  handle                         yes
//	role                    role                           yes
//	snd-settle-mode         sender-settle-mode    mixed
//	rcv-settle-mode         receiver-settle-mode  first
//	source                  *
//	target                  *
//	unsettled               map
//	incomplete-unsettled    boolean               false
//	initial-delivery-count  sequence-no
//	max-message-size        ulong
//	offered-capabilities    symbol[]
//	desired-capabilities    symbol[]
//	properties              fields
type Attach struct {
	Name                 string
	Handle               uint32
	Role                 Role
	SndSettleMode        wire.Optional[SenderSettleMode]
	RcvSettleMode        wire.Optional[ReceiverSettleMode]
	Source               *Source      // nil when absent
	Target               *Target      // nil when absent
	Coordinator          *Coordinator // the target, when it is one; Target is nil then
	Unsettled            wire.Map     // delivery-tag to delivery state
	IncompleteUnsettled  bool
	InitialDeliveryCount wire.Optional[uint32] // mandatory from a sender
	MaxMessageSize       uint64                // 0 means none
	OfferedCapabilities  []wire.Symbol
	DesiredCapabilities  []wire.Symbol
	Properties           wire.Map
}

// Code is the descriptor of attach.
func (*Attach) Code() uint64 { return CodeAttach }

// Append appends the performative.
func (a *Attach) Append(dst []byte) []byte {
	w := wire.BeginList(dst, CodeAttach)
	w.String(a.Name)
	w.Uint(a.Handle)
	w.Bool(bool(a.Role))
	w.OptUbyte(wire.Optional[uint8]{Value: uint8(a.SndSettleMode.Value), Set: a.SndSettleMode.Set})
	w.OptUbyte(wire.Optional[uint8]{Value: uint8(a.RcvSettleMode.Value), Set: a.RcvSettleMode.Set})
	a.Source.write(&w)
	if a.Coordinator != nil {
		w.Put(a.Coordinator.append(w.Begin()))
	} else {
		a.Target.write(&w)
	}
	w.OptMap(a.Unsettled)
	w.Flag(a.IncompleteUnsettled)
	w.OptUint(a.InitialDeliveryCount)
	w.OptUlong(unless(a.MaxMessageSize, 0))
	w.OptSymbols(a.OfferedCapabilities)
	w.OptSymbols(a.DesiredCapabilities)
	w.OptMap(a.Properties)
	return w.End()
}

func (a *Attach) decode(f *wire.Fields) {
	*a = Attach{
		Name:          f.NeedString("name"),
		Handle:        f.NeedUint("handle"),
		Role:          Role(f.NeedBool("role")),
		SndSettleMode: readMode(f, "snd-settle-mode", SenderMixed),
		RcvSettleMode: readMode(f, "rcv-settle-mode", ReceiverSecond),
		Source:        readSource(f),
	}
	a.readTarget(f)
	a.Unsettled = f.Map("unsettled")
	a.IncompleteUnsettled = f.Bool("incomplete-unsettled")
	a.InitialDeliveryCount = f.OptUint("initial-delivery-count")
	a.MaxMessageSize = f.OptUlong("max-message-size").Value
	a.OfferedCapabilities = f.Symbols("offered-capabilities")
	a.DesiredCapabilities = f.Symbols("desired-capabilities")
	a.Properties = f.Map("properties")
}

func (a *Attach) readTarget(f *wire.Fields) {
	code, in, ok := f.Composite("target", names)
	if !ok {
		return
	}
	switch code {
	case CodeTarget:
		a.Target = new(Target)
		a.Target.decode(&in)
	case CodeCoordinator:
		a.Coordinator = new(Coordinator)
		a.Coordinator.decode(&in)
	default:
		in.Fail("neither a target nor a coordinator")
	}
	in.End()
}

// readMode reads a settle mode, of which last is the greatest.
func readMode[T ~uint8](f *wire.Fields, name string, last T) wire.Optional[T] {
	v := f.OptUbyte(name)
	if v.Value > uint8(last) {
		f.Fail("not a settle mode")
	}
	return wire.Optional[T]{Value: T(v.Value), Set: v.Set}
}
