package frames

import "github.com/selvedge-mq/selvedge/protocols/amqp/wire"

// Durability says what of a terminus outlives the loss of its node.
// [messaging 3.5.5]
type Durability uint32

// The durabilities of a terminus.
const (
	DurableNone          Durability = 0
	DurableConfiguration Durability = 1
	DurableUnsettled     Durability = 2
)

// The expiry policies: when the timeout of a terminus starts. [messaging 3.5.6]
const (
	ExpireLinkDetach      wire.Symbol = "link-detach"
	ExpireSessionEnd      wire.Symbol = "session-end" // the default
	ExpireConnectionClose wire.Symbol = "connection-close"
	ExpireNever           wire.Symbol = "never"
)

// The distribution modes of a source. [messaging 3.5.7]
const (
	DistributionMove wire.Symbol = "move"
	DistributionCopy wire.Symbol = "copy"
)

// node is what a source and a target have in common.
type node struct {
	Address           wire.Optional[string] // absent is not the same as empty
	Durable           Durability
	ExpiryPolicy      wire.Symbol // empty when absent, which means session-end
	Timeout           uint32      // seconds
	Dynamic           bool
	DynamicProperties wire.Map // dynamic-node-properties
}

func (n *node) write(w *wire.ListWriter) {
	w.OptString(n.Address)
	w.OptUint(unless(uint32(n.Durable), 0))
	w.OptSymbol(n.ExpiryPolicy)
	w.OptUint(unless(n.Timeout, 0))
	w.Flag(n.Dynamic)
	w.OptMap(n.DynamicProperties)
}

func (n *node) decode(f *wire.Fields) {
	*n = node{
		Address:           f.OptString("address"),
		Durable:           readDurable(f),
		ExpiryPolicy:      f.Symbol("expiry-policy"),
		Timeout:           f.OptUint("timeout").Value,
		Dynamic:           f.Bool("dynamic"),
		DynamicProperties: f.Map("dynamic-node-properties"),
	}
}

func readDurable(f *wire.Fields) Durability {
	d := Durability(f.OptUint("durable").Value)
	if d > DurableUnsettled {
		f.Fail("not a terminus durability")
	}
	return d
}
