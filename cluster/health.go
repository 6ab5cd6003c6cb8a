package cluster

import "slices"

// Quorum says whether this node is connected to a majority of the cluster. A
// standalone node always is.
func (n *Node) Quorum() bool {
	if !n.opts.clustered() {
		return true
	}
	if n.opts.FrontOnly {
		_, fresh := n.infos.get(0) // answered by its leader
		return fresh
	}
	return n.ClusterLeader() != ""
}

// ClusterLeader returns the node that leads the cluster's own group, which
// places the logs; empty if there is none, or on a front-only node.
func (n *Node) ClusterLeader() string {
	if !n.opts.clustered() {
		return n.opts.Node
	}
	jsz, err := n.server.srv.Jsz(nil)
	if err != nil || jsz.Meta == nil {
		return ""
	}
	return jsz.Meta.Leader
}

// Healthy says whether all nodes that store are up and belong to the cluster's own
// group, every log has a leader and as many replicas as it should, and all of them are
// there and, as far as this node can know, caught up: those of the logs that it leads,
// and its own.
func (n *Node) Healthy() bool {
	if !n.Quorum() || len(n.replicas.list()) > 0 {
		return false
	}
	if !n.opts.clustered() {
		return true
	}
	here := n.nodesHere()
	storing := n.storing()
	for _, name := range storing {
		if !here[name] {
			return false
		}
	}
	if len(storing) > 0 && n.outside(storing) {
		return false
	}
	for shard := range n.logs {
		s := n.ShardStats(shard)
		if !s.Exists || s.Leader == "" || len(s.Replicas) < min(n.opts.Replicas, len(storing)) {
			return false
		}
		for _, r := range s.Replicas {
			if r.Offline || !r.Current || !here[r.Name] {
				return false
			}
		}
	}
	return true
}

// outside says whether a node that stores is up and not in the cluster's own group:
// it gets no replicas yet, and is no part of the majority.
func (n *Node) outside(storing []string) bool {
	return slices.ContainsFunc(n.Members(), func(m Member) bool {
		return m.Storage && m.State == MemberUp && !slices.Contains(storing, m.Name)
	})
}

// storing returns the names of the nodes that belong to the cluster's own group,
// which are those that store; a front-only node does not know them.
func (n *Node) storing() []string {
	jsz, err := n.server.srv.Jsz(nil)
	if err != nil || jsz.Meta == nil {
		return nil
	}
	names := []string{n.opts.Node}
	for _, p := range jsz.Meta.Replicas {
		names = append(names, peerName(p))
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// nodesHere returns the nodes that say that they are up and that this node has a
// connection with: the end of a process is seen by its connections at once, the
// end of a machine by its silence.
func (n *Node) nodesHere() map[string]bool {
	here := map[string]bool{n.opts.Node: true}
	reached := make(map[string]bool)
	for _, name := range connected(n.server.srv) {
		reached[name] = true
	}
	for _, m := range n.Members() {
		if m.State == MemberUp && reached[m.Name] {
			here[m.Name] = true
		}
	}
	return here
}
