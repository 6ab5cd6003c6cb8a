package cluster

import (
	"fmt"

	"github.com/selvedge-mq/selvedge/cluster/peers"
	"github.com/selvedge-mq/selvedge/routing/engine"
)

// OpenPeers lets a second party of this process speak with the nodes, under a
// name and a session of its own: an import does. It stores nothing. The function
// returned closes it; it must be called before the node is closed.
func (n *Node) OpenPeers(node string, session uint64) (engine.Peers, func(), error) {
	conn, err := n.server.connect("guest")
	if err != nil {
		return nil, nil, fmt.Errorf("cluster: connect %s: %w", node, err)
	}
	p, err := peers.New(peers.Options{Conn: conn, Node: node, Session: session, Log: n.opts.Log})
	if err != nil {
		conn.Close()
		return nil, nil, fmt.Errorf("cluster: set up the peers of %s: %w", node, err)
	}
	return p, func() {
		p.Close()
		conn.Close()
	}, nil
}
