package frames

import "github.com/selvedge-mq/selvedge/protocols/amqp/wire"

// Disposition tells the state of a range of deliveries. [transport 2.7.6]
//
//	field      type             default  mandatory
//	role       role                      yes
//	first      delivery-number           yes
//	last       delivery-number  first
//	settled    boolean          false
//	state      *
//	batchable  boolean          false
type Disposition struct {
	Role      Role // of the disposition's sender
	First     uint32
	Last      uint32 // decoded as First when absent; always set it
	Settled   bool
	State     State // StateNone when absent
	Batchable bool
}

// Code is the descriptor of disposition.
func (*Disposition) Code() uint64 { return CodeDisposition }

// Append appends the performative.
func (d *Disposition) Append(dst []byte) []byte {
	w := wire.BeginList(dst, CodeDisposition)
	w.Bool(bool(d.Role))
	w.Uint(d.First)
	w.OptUint(unless(d.Last, d.First))
	w.Flag(d.Settled)
	d.State.write(&w)
	w.Flag(d.Batchable)
	return w.End()
}

func (d *Disposition) decode(f *wire.Fields) {
	*d = Disposition{
		Role:  Role(f.NeedBool("role")),
		First: f.NeedUint("first"),
	}
	d.Last = f.OptUint("last").Or(d.First)
	d.Settled = f.Bool("settled")
	d.State.read(f, "state")
	d.Batchable = f.Bool("batchable")
}
