package frames

import "github.com/selvedge-mq/selvedge/protocols/amqp/wire"

// Detach detaches a link from its session. [transport 2.7.7]
//
//	field   type     default  mandatory
//	handle  handle            yes
//	closed  boolean  false
//	error   error
type Detach struct {
	Handle uint32
	Closed bool
	Error  *Error // nil when absent
}

// Code is the descriptor of detach.
func (*Detach) Code() uint64 { return CodeDetach }

// Append appends the performative.
func (d *Detach) Append(dst []byte) []byte {
	w := wire.BeginList(dst, CodeDetach)
	w.Uint(d.Handle)
	w.Flag(d.Closed)
	writeError(&w, d.Error)
	return w.End()
}

func (d *Detach) decode(f *wire.Fields) {
	*d = Detach{
		Handle: f.NeedUint("handle"),
		Closed: f.Bool("closed"),
		Error:  readError(f),
	}
}
