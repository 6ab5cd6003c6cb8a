package frames

import "github.com/selvedge-mq/selvedge/protocols/amqp/wire"

// End ends a session. [transport 2.7.8]
//
//	field  type   default  mandatory
//	error  error
type End struct {
	Error *Error // nil when absent
}

// Code is the descriptor of end.
func (*End) Code() uint64 { return CodeEnd }

// Append appends the performative.
func (e *End) Append(dst []byte) []byte {
	w := wire.BeginList(dst, CodeEnd)
	writeError(&w, e.Error)
	return w.End()
}

func (e *End) decode(f *wire.Fields) { *e = End{Error: readError(f)} }
