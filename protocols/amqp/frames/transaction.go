package frames

import "github.com/selvedge-mq/selvedge/protocols/amqp/wire"

// Declare starts a transaction. It is the body of a message to a coordinator.
// [transactions 4.5.2]
//
//	field      type  default  mandatory
//	global-id  *
type Declare struct {
	GlobalID any // nil when absent
}

// Append appends the command.
func (d *Declare) Append(dst []byte) []byte {
	w := wire.BeginList(dst, CodeDeclare)
	w.Value(d.GlobalID)
	return w.End()
}

func (d *Declare) decode(f *wire.Fields) { *d = Declare{GlobalID: f.Value("global-id")} }

// Discharge ends a transaction. It is the body of a message to a coordinator.
// [transactions 4.5.3]
//
//	field   type     default  mandatory
//	txn-id  binary            yes
//	fail    boolean
type Discharge struct {
	TxnID []byte
	Fail  bool // roll back
}

// Append appends the command.
func (d *Discharge) Append(dst []byte) []byte {
	w := wire.BeginList(dst, CodeDischarge)
	w.Binary(d.TxnID)
	w.Flag(d.Fail)
	return w.End()
}

func (d *Discharge) decode(f *wire.Fields) {
	*d = Discharge{TxnID: f.NeedBinary("txn-id"), Fail: f.Bool("fail")}
}

// Command is what a message to a coordinator asks for: one of the two is set.
type Command struct {
	Declare   *Declare
	Discharge *Discharge
}

// DecodeCommand decodes the value of the amqp-value section of a message to a
// coordinator. The transaction id aliases it. A failure is a *[DecodeError].
func DecodeCommand(value []byte) (Command, error) {
	r := wire.NewReader(value, wire.Limits{})
	code := r.Descriptor(names)
	f := r.Fields()
	var c Command
	switch {
	case r.Err() != nil:
	case code == CodeDeclare:
		c.Declare = new(Declare)
		c.Declare.decode(&f)
	case code == CodeDischarge:
		c.Discharge = new(Discharge)
		c.Discharge.decode(&f)
	default:
		return Command{}, &DecodeError{Condition: NotImplemented, Err: errUnknown}
	}
	f.End()
	err := r.Err()
	if err == nil && r.Len() > 0 {
		err = errTrailing
	}
	if err != nil {
		return Command{}, decodeError("transaction command", err)
	}
	return c, nil
}
