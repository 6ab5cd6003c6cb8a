package frames

import "github.com/selvedge-mq/selvedge/protocols/amqp/wire"

// Target is where the messages of a link go to. [messaging 3.5.4]
//
//	field                    type                    default      mandatory
//	address                  * (string)
//	durable                  terminus-durability     none
//	expiry-policy            terminus-expiry-policy  session-end
//	timeout                  seconds                 0
//	dynamic                  boolean                 false
//	dynamic-node-properties  fields
//	capabilities             symbol[]
type Target struct {
	Address           wire.Optional[string] // absent is not the same as empty
	Durable           Durability
	ExpiryPolicy      wire.Symbol // empty when absent, which means session-end
	Timeout           uint32      // seconds
	Dynamic           bool
	DynamicProperties wire.Map // dynamic-node-properties
	Capabilities      []wire.Symbol
}

func (t *Target) common() node {
	return node{t.Address, t.Durable, t.ExpiryPolicy, t.Timeout, t.Dynamic, t.DynamicProperties}
}

func (t *Target) write(w *wire.ListWriter) {
	if t == nil {
		w.Null()
		return
	}
	w.Put(t.append(w.Begin()))
}

func (t *Target) append(dst []byte) []byte {
	w := wire.BeginList(dst, CodeTarget)
	n := t.common()
	n.write(&w)
	w.OptSymbols(t.Capabilities)
	return w.End()
}

func (t *Target) decode(f *wire.Fields) {
	var n node
	n.decode(f)
	*t = Target{
		Address: n.Address, Durable: n.Durable, ExpiryPolicy: n.ExpiryPolicy, Timeout: n.Timeout,
		Dynamic: n.Dynamic, DynamicProperties: n.DynamicProperties,
		Capabilities: f.Symbols("capabilities"),
	}
}
