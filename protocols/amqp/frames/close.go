package frames

import "github.com/selvedge-mq/selvedge/protocols/amqp/wire"

// Close ends a connection. [transport 2.7.9]
//
//	field  type   default  mandatory
//	error  error
type Close struct {
	Error *Error // nil when absent
}

// Code is the descriptor of close.
func (*Close) Code() uint64 { return CodeClose }

// Append appends the performative.
func (c *Close) Append(dst []byte) []byte {
	w := wire.BeginList(dst, CodeClose)
	writeError(&w, c.Error)
	return w.End()
}

func (c *Close) decode(f *wire.Fields) { *c = Close{Error: readError(f)} }
