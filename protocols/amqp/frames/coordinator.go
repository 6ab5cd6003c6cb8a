package frames

import "github.com/selvedge-mq/selvedge/protocols/amqp/wire"

// The capabilities of a coordinator. [transactions 4.5.7]
const (
	LocalTransactions       wire.Symbol = "amqp:local-transactions"
	DistributedTransactions wire.Symbol = "amqp:distributed-transactions"
	PromotableTransactions  wire.Symbol = "amqp:promotable-transactions"
	MultiTxnsPerSession     wire.Symbol = "amqp:multi-txns-per-ssn"
	MultiSessionsPerTxn     wire.Symbol = "amqp:multi-ssns-per-txn"
)

// Coordinator is the target of a link that controls transactions.
// [transactions 4.5.1]
//
//	field         type      default  mandatory
//	capabilities  symbol[]
type Coordinator struct {
	Capabilities []wire.Symbol
}

func (c *Coordinator) append(dst []byte) []byte {
	w := wire.BeginList(dst, CodeCoordinator)
	w.OptSymbols(c.Capabilities)
	return w.End()
}

func (c *Coordinator) decode(f *wire.Fields) {
	*c = Coordinator{Capabilities: f.Symbols("capabilities")}
}
