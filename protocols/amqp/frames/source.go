package frames

import "github.com/selvedge-mq/selvedge/protocols/amqp/wire"

// Source is where the messages of a link come from. [messaging 3.5.3]
//
//	field                    type                    default      mandatory
//	address                  * (string)
//	durable                  terminus-durability     none
//	expiry-policy            terminus-expiry-policy  session-end
//	timeout                  seconds                 0
//	dynamic                  boolean                 false
//	dynamic-node-properties  fields
//	distribution-mode        symbol
//	filter                   map
//	default-outcome          *
//	outcomes                 symbol[]
//	capabilities             symbol[]
type Source struct {
	Address           wire.Optional[string] // absent is not the same as empty
	Durable           Durability
	ExpiryPolicy      wire.Symbol // empty when absent, which means session-end
	Timeout           uint32      // seconds
	Dynamic           bool
	DynamicProperties wire.Map    // dynamic-node-properties
	DistributionMode  wire.Symbol // empty when absent
	Filter            wire.Map    // name to wire.Described
	DefaultOutcome    State       // StateNone when absent
	Outcomes          []wire.Symbol
	Capabilities      []wire.Symbol
}

func (s *Source) common() node {
	return node{s.Address, s.Durable, s.ExpiryPolicy, s.Timeout, s.Dynamic, s.DynamicProperties}
}

func (s *Source) write(w *wire.ListWriter) {
	if s == nil {
		w.Null()
		return
	}
	w.Put(s.append(w.Begin()))
}

func (s *Source) append(dst []byte) []byte {
	w := wire.BeginList(dst, CodeSource)
	n := s.common()
	n.write(&w)
	w.OptSymbol(s.DistributionMode)
	w.OptMap(s.Filter)
	s.DefaultOutcome.write(&w)
	w.OptSymbols(s.Outcomes)
	w.OptSymbols(s.Capabilities)
	return w.End()
}

// readSource reads the source of an attach; nil when it is absent.
func readSource(f *wire.Fields) *Source {
	code, in, ok := f.Composite("source", names)
	if !ok {
		return nil
	}
	if code != CodeSource {
		in.Fail("not a source")
	}
	s := new(Source)
	s.decode(&in)
	in.End()
	return s
}

func (s *Source) decode(f *wire.Fields) {
	var n node
	n.decode(f)
	*s = Source{
		Address: n.Address, Durable: n.Durable, ExpiryPolicy: n.ExpiryPolicy, Timeout: n.Timeout,
		Dynamic: n.Dynamic, DynamicProperties: n.DynamicProperties,
		DistributionMode: f.Symbol("distribution-mode"),
		Filter:           f.Map("filter"),
	}
	s.DefaultOutcome.read(f, "default-outcome")
	s.Outcomes = f.Symbols("outcomes")
	s.Capabilities = f.Symbols("capabilities")
}
