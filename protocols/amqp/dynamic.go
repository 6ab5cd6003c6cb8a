package amqp

import (
	"slices"

	"github.com/selvedge-mq/selvedge/protocols/amqp/frames"
	"github.com/selvedge-mq/selvedge/protocols/amqp/wire"
	"github.com/selvedge-mq/selvedge/routing"
)

// lifetimePolicy is the key of the dynamic-node-properties that says when a
// dynamic node ends. [messaging 3.5.9]
const (
	lifetimePolicy wire.Symbol = "lifetime-policy"
	distModes      wire.Symbol = "supported-dist-modes"
)

// dynamicNode is a dynamic node: a temporary address that a link of the connection
// made. It ends by its policy, or with the connection.
type dynamicNode struct {
	address routing.Address
	policy  uint64 // frames.CodeDeleteOnClose or frames.CodeDeleteOnNoLinks
	maker   *link  // nil once it has ended
	links   int    // of this connection, the maker's included
	doomed  bool   // to be deleted as soon as nobody subscribes
	asked   bool   // the engine is at it
}

// policies gives the policy in force for each that may be asked for. The broker
// does not tell a front-end when a queue is empty, so the two that wait for it
// are answered with the one that does not. [messaging 3.5.10-13]
var policies = map[uint64]uint64{
	frames.CodeDeleteOnClose:             frames.CodeDeleteOnClose,
	frames.CodeDeleteOnNoLinks:           frames.CodeDeleteOnNoLinks,
	frames.CodeDeleteOnNoMessages:        frames.CodeDeleteOnClose,
	frames.CodeDeleteOnNoLinksOrMessages: frames.CodeDeleteOnNoLinks,
}

// policySymbols gives the code of a policy that is named by its symbol.
var policySymbols = map[wire.Symbol]uint64{
	"amqp:delete-on-close:list":                frames.CodeDeleteOnClose,
	"amqp:delete-on-no-links:list":             frames.CodeDeleteOnNoLinks,
	"amqp:delete-on-no-messages:list":          frames.CodeDeleteOnNoMessages,
	"amqp:delete-on-no-links-or-messages:list": frames.CodeDeleteOnNoLinksOrMessages,
}

// readPolicy reads when a dynamic node is to end; by default with its maker.
func readPolicy(properties wire.Map) (uint64, *frames.Error) {
	if v, ok := properties.Get(distModes); ok {
		switch v.(type) {
		case wire.Symbol, wire.Array:
		default:
			return 0, frames.Errorf(frames.DecodeFailed, "%s is neither a symbol nor an array of them", distModes)
		}
	}
	v, ok := properties.Get(lifetimePolicy)
	if !ok || v == nil {
		return frames.CodeDeleteOnClose, nil
	}
	d, ok := v.(wire.Described)
	if !ok {
		return 0, frames.Errorf(frames.DecodeFailed, "%s is not a described list", lifetimePolicy)
	}
	if _, ok = d.Value.(wire.List); !ok {
		return 0, frames.Errorf(frames.DecodeFailed, "%s is not a described list", lifetimePolicy)
	}
	var policy uint64
	switch name := d.Descriptor.(type) { // any value may be a descriptor
	case uint64:
		policy, ok = policies[name]
	case wire.Symbol:
		policy, ok = policies[policySymbols[name]]
	default:
		return 0, frames.Errorf(frames.DecodeFailed, "the descriptor of %s is neither a ulong nor a symbol", lifetimePolicy)
	}
	if !ok {
		return 0, frames.Errorf(frames.NotImplemented, "lifetime policy %v is not known", d.Descriptor)
	}
	return policy, nil
}

// dynamicKind is what a dynamic node is, by the capabilities; a queue unless they
// say topic.
func dynamicKind(capabilities []wire.Symbol) routing.Kind {
	if slices.Contains(capabilities, capTempTopic) || slices.Contains(capabilities, capTopic) {
		return routing.KindTempTopic
	}
	return routing.KindTempQueue
}

// makeNode asks for a dynamic node; done runs when it is there, or is not. The
// link answers its attach from it.
func (l *link) makeNode(
	address wire.Optional[string], properties wire.Map, capabilities []wire.Symbol, done func(*dynamicNode),
) *frames.Error {
	if address.Set {
		return frames.Errorf(frames.InvalidField, "the address of a dynamic node is ours to choose")
	}
	policy, bad := readPolicy(properties)
	if bad != nil {
		return bad
	}
	c := l.s.c
	if len(c.nodes) >= c.f.o.DynamicNodes {
		return frames.Errorf(frames.ResourceLimitExceeded, "the connection has %d dynamic nodes (amqp-dynamic-nodes)", len(c.nodes))
	}
	n := &dynamicNode{policy: policy, maker: l, links: 1}
	n.address = c.routing.CreateTemporary(dynamicKind(capabilities), &judge{func(err error) {
		c.box.Put(event{kind: rareCame, rare: func() { l.nodeMade(n, err, done) }})
	}}, 0)
	if c.nodes == nil {
		c.nodes = make(map[routing.Address]*dynamicNode)
	}
	c.nodes[n.address] = n
	l.node = n
	return nil
}

// nodeMade goes on with the attach that asked for the node.
func (l *link) nodeMade(n *dynamicNode, err error, done func(*dynamicNode)) {
	c := l.s.c
	if err != nil {
		delete(c.nodes, n.address)
		l.node = nil
	}
	if !l.awaited() {
		return // the link was abandoned, and the node with it
	}
	if err != nil {
		l.fail(wireError(err))
		return
	}
	done(n)
}

// joinNode notes that a link is attached to a dynamic node of the connection.
func (l *link) joinNode(a routing.Address) {
	if n := l.s.c.nodes[a]; n != nil && l.node == nil {
		l.node = n
		n.links++
	}
}

// leaveNode notes that a link has ended, for good or only detached.
// [messaging 3.5.10-11]
func (l *link) leaveNode(closed bool) {
	n := l.node
	if n == nil {
		return
	}
	l.node = nil
	n.links--
	if n.maker == l {
		n.maker = nil
		n.doomed = n.doomed || closed && n.policy == frames.CodeDeleteOnClose
	}
	n.doomed = n.doomed || n.links == 0 && n.policy == frames.CodeDeleteOnNoLinks
	l.s.c.deleteNode(n)
}

// deleteNode deletes a node whose time has come. While it has subscriptions the
// engine refuses: the end of the next link tries again.
func (c *conn) deleteNode(n *dynamicNode) {
	if !n.doomed || n.asked || c.routing == nil {
		return
	}
	n.asked = true
	c.routing.DeleteTemporary(n.address, &judge{func(err error) {
		c.box.Put(event{kind: rareCame, rare: func() { c.nodeDeleted(n, err) }})
	}}, 0)
}

func (c *conn) nodeDeleted(n *dynamicNode, err error) {
	n.asked = false
	if routing.CodeOf(err) == routing.CodeLocked {
		if n.links == 0 { // the last subscription ended in the meantime
			c.deleteNode(n)
		}
		return
	}
	delete(c.nodes, n.address)
}

// properties are the dynamic-node-properties in force.
func (n *dynamicNode) properties() wire.Map {
	return wire.Map{{Key: lifetimePolicy, Value: wire.Described{Descriptor: n.policy, Value: wire.List{}}}}
}

// judge is a completer of requests that are rare. It is a pointer, because the
// engine compares completers.
type judge struct{ told func(err error) }

// Complete passes the results on.
func (j *judge) Complete(rs []routing.Result) {
	for _, r := range rs {
		j.told(r.Err)
	}
}
