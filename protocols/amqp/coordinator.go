package amqp

import (
	"github.com/selvedge-mq/selvedge/protocols/amqp/frames"
	"github.com/selvedge-mq/selvedge/protocols/amqp/message"
	"github.com/selvedge-mq/selvedge/protocols/amqp/wire"
)

// coordinatorCapabilities is what transactions here can do. [transactions 4.5.7]
var coordinatorCapabilities = []wire.Symbol{
	frames.LocalTransactions, frames.MultiTxnsPerSession, frames.MultiSessionsPerTxn,
}

// command does what a message to the coordinator asks for. [transactions 4.3]
func (l *receiving) command(payload []byte) *breach {
	p := &l.partial
	cmd, bad := readCommand(payload)
	switch {
	case bad != nil:
		return l.refuseSend(refusal{id: p.id, settled: p.settled, err: bad})
	case cmd.Declare != nil:
		return l.declare(cmd.Declare)
	}
	return l.discharge(cmd.Discharge)
}

// readCommand finds the command in the body of a message, whatever sections
// stand in front of it.
func readCommand(payload []byte) (frames.Command, *frames.Error) {
	m, err := message.Scan(payload)
	if err != nil {
		return frames.Command{}, frames.Errorf(frames.DecodeFailed, "the message is malformed: %v", err)
	}
	if m.Kind != message.BodyValue {
		return frames.Command{}, frames.Errorf(frames.NotImplemented, "a message to the coordinator needs an amqp-value")
	}
	cmd, err := frames.DecodeCommand(m.Value())
	if err != nil {
		return frames.Command{}, decodeBreach(err).wire
	}
	return cmd, nil
}

// declare begins a transaction; the outcome names it. [transactions 4.3]
func (l *receiving) declare(d *frames.Declare) *breach {
	c, p := l.s.c, &l.partial
	switch {
	case p.settled:
		return linkError(frames.NotAllowed, "a declare needs an answer and must not be settled")
	case d.GlobalID != nil:
		return l.refuseSend(refusal{id: p.id, err: frames.Errorf(frames.NotImplemented, "global transactions are not supported")})
	case len(c.txns) >= c.f.o.Transactions:
		return l.refuseSend(refusal{id: p.id, err: frames.Errorf(frames.ResourceLimitExceeded,
			"the connection has %d transactions (amqp-transactions)", len(c.txns))})
	}
	t := c.beginTransaction(l)
	l.s.answers.tell(answer{
		id: p.id, settled: !l.second, role: frames.RoleReceiver,
		state: frames.State{Kind: frames.StateDeclared, TxnID: t.id[:]},
	})
	l.s.mark()
	return nil
}

// discharge begins the end of a transaction. [transactions 4.3]
func (l *receiving) discharge(d *frames.Discharge) *breach {
	c, p := l.s.c, &l.partial
	t := c.transaction(d.TxnID)
	if t == nil || t.by != l {
		return l.refuseSend(refusal{id: p.id, settled: p.settled, err: unknownTransaction(d.TxnID)})
	}
	t.end = &discharge{id: p.id, settled: p.settled, fail: d.Fail}
	l.sends++
	l.s.sends++
	c.load.begin(0)
	t.finish()
	return nil
}

func unknownTransaction(id []byte) *frames.Error {
	return frames.Errorf(frames.TransactionUnknownID, "there is no transaction %x", id)
}

// commanded answers a command that has no answer of its own.
func (l *receiving) commanded(id uint32, settled bool, bad *frames.Error) {
	s := l.s
	switch {
	case settled || s.phase == sessionDiscarded || l.phase == linkDetached:
	case bad == nil:
		s.answers.accept(id, l.settling())
	case l.reject:
		s.answers.tell(answer{
			id: id, settled: !l.second, role: frames.RoleReceiver,
			state: frames.State{Kind: frames.StateRejected, Error: bad},
		})
	default:
		l.fail(bad)
	}
	s.mark()
}
