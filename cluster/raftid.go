package cluster

import (
	"crypto/sha256"
	"slices"
)

// What the embedded server makes a node's id in raft groups of: so many octets of the
// hash of its name, each as one of these digits.
const (
	raftIDSize   = 8
	raftIDDigits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
)

// raftID returns the id that a node has in raft groups. A server that has not met
// the node since it started knows it by nothing else.
func raftID(node string) string {
	sum := sha256.Sum256([]byte(node))
	id := make([]byte, raftIDSize)
	for i := range id {
		id[i] = raftIDDigits[int(sum[i])%len(raftIDDigits)]
	}
	return string(id)
}

// peer is a voter of the cluster's own group, which are the nodes that store.
type peer struct {
	id     string
	online bool // heard lately, as far as this node knows
}

// peerSet returns the voters of the cluster's own group, this node among them; none
// on a front-only node, which does not know them.
func (n *Node) peerSet() []peer {
	jsz, err := n.server.srv.Jsz(nil)
	if err != nil || jsz.Meta == nil {
		return nil
	}
	list := []peer{{id: raftID(n.opts.Node), online: true}}
	for _, p := range jsz.Meta.Replicas {
		if p.Peer != list[0].id {
			list = append(list, peer{id: p.Peer, online: !p.Offline})
		}
	}
	return list
}

// votes says whether a node is a voter of the cluster's own group; known, that this
// node can tell.
func (n *Node) votes(node string) (votes, known bool) {
	set := n.peerSet()
	return slices.ContainsFunc(set, func(p peer) bool { return p.id == raftID(node) }), set != nil
}
