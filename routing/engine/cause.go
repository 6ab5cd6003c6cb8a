package engine

import (
	"fmt"
	"time"
)

// unconfirmed says to people that a request was not confirmed in time, and why as far
// as this node knows. Whatever the cause is, the outcome is unknown: a request keeps
// its number, and is made when somebody leads who has not got it.
func (p *portal) unconfirmed(now time.Time) string {
	switch {
	case !p.takes():
		return reasonFull + "; the outcome is unknown"
	case !p.joined.Load():
		return "no leader with a quorum: the outcome is unknown; " + p.cause(now)
	}
	return "not confirmed in time: the outcome is unknown; " + p.cause(now)
}

// cause says why the shard does not answer, and what to do. A majority that is out of
// reach is named first: it is why nobody leads, or who leads gets no answer.
func (p *portal) cause(now time.Time) string {
	replicas, l := p.e.opts.Fabric.Replicas(p.shard), p.e.leaderOf(p.shard)
	reached, here := p.e.reached(replicas), p.leader == p.e.node
	switch {
	case len(replicas) == 0:
		return "the log of the queue is not known here: look at the seeds of this node, and whether the others run"
	case reached <= len(replicas)/2:
		return fmt.Sprintf("a majority of the nodes that store the queue is out of reach (%d of %d reached): "+
			"start nodes until there is one, or look at the network between them", reached, len(replicas))
	case here && l != nil && !l.lease.held(now):
		return fmt.Sprintf("a majority of the nodes that store the queue has not answered this node, which leads it, for %v or longer: "+
			"look at the load of the nodes, and at the network between them", p.e.opts.Lease)
	case here && l != nil:
		return "its log has not stored it: look at the disks and the load of the nodes that store the queue"
	case p.e.outvoted():
		return "a majority of the cluster is out of reach: start nodes until there is one, or look at the network between them"
	case here:
		return "this node has led the queue's shard, and does not at the moment: look at its log, its disk, and `selvedge status`"
	case !p.joined.Load():
		return "no node is known to lead the queue's shard: look at `selvedge status`"
	case p.otherLeads(now):
		return fmt.Sprintf("node %s, which leads the queue's shard, has not confirmed it: look at its log and its load", p.leader)
	}
	return fmt.Sprintf("node %s, which leads the queue's shard, was not heard for %v: look at it, and at the network to it",
		p.leader, p.unheard(now).Round(time.Millisecond))
}

// unheard returns for how long another node's leader was not heard.
func (p *portal) unheard(now time.Time) time.Duration {
	if at := p.heard.Load(); at != nil {
		return now.Sub(*at)
	}
	return 0
}

// outvoted reports whether the fabric knows that a majority of the cluster is out of reach.
func (e *Engine) outvoted() bool {
	m, ok := e.opts.Fabric.(Majority)
	return ok && !m.Quorum()
}

// reached counts the nodes that can be reached, this one among them.
func (e *Engine) reached(nodes []string) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	count := 0
	for _, node := range nodes {
		if _, up := e.peers[node]; up || node == e.node {
			count++
		}
	}
	return count
}
