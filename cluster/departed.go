package cluster

// Left reports whether the process of a node with that session has said goodbye, or
// an operator has, who retired the node: it will not come back, though the node may,
// as another process. A node that fell silent has not left, however long ago that is.
// What a node was told of another one is kept for an hour, who is retired for good.
func (n *Node) Left(node string, session uint64) bool {
	if e, ok := n.registry.get(node); ok && e.State == EntryRetired {
		return true
	}
	n.members.mu.Lock()
	defer n.members.mu.Unlock()
	m, known := n.members.all[node]
	return known && m.Session == session && m.State == MemberLeft
}
