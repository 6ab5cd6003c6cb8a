package engine

// waitingControl is a control message that the lane did not take.
type waitingControl struct {
	msg  []byte
	cost int64 // of the bound; 0 for what a node must be told first on a connection, however much it is
}

// controlExtra is about what a message that waits costs beside its bytes.
const controlExtra = 64

func costOf(msg []byte) int64 { return int64(len(msg)) + controlExtra }

// controlList is what waits for the control lane of one connection with a node:
// messages of the hub and of this node's leaders, and the account of what the
// portals keep for it themselves. Guarded by gates.mu.
//
// Nothing in the lane may be left out, so a node that does not read makes the list
// grow. When it is over its bound the connection ends on both sides; what is
// known of the other node begins anew with the next one.
type controlList struct {
	msgs    []waitingControl
	portals map[int]int64 // cost of what waits in each portal
	cost    int64         // of all
	over    bool          // the connection ends: nothing is kept any more
}

// keep has a message wait.
func (c *controlList) keep(m waitingControl) {
	if !c.over {
		c.msgs = append(c.msgs, m)
		c.cost += m.cost
	}
}

// control sends a control message, now or when the lane has room. What waits for
// a node that goes down is dropped: it reports anew when it is back.
func (e *Engine) control(node string, msg []byte) { e.sendControl(node, msg, costOf(msg)) }

// controlFirst is control for what a node is told whenever it comes back: it does not
// count, for it would be as much on the next connection.
func (e *Engine) controlFirst(node string, msg []byte) { e.sendControl(node, msg, 0) }

func (e *Engine) sendControl(node string, msg []byte, cost int64) {
	if !e.isUp(node, 0) {
		return
	}
	g := &e.gates
	g.mu.Lock()
	defer g.mu.Unlock()
	c := g.control[node]
	if c == nil || c.over || len(c.msgs) == 0 && e.opts.Peers.Send(node, LaneControl, msg) {
		return
	}
	c.keep(waitingControl{msg, cost})
	e.bound(node, c)
}

// flushControl sends what waits for a node, as far as the lane has room.
func (e *Engine) flushControl(node string) {
	g := &e.gates
	g.mu.Lock()
	defer g.mu.Unlock()
	c := g.control[node]
	if c == nil {
		return
	}
	for len(c.msgs) > 0 && e.opts.Peers.Send(node, LaneControl, c.msgs[0].msg) {
		c.cost -= c.msgs[0].cost
		c.msgs[0] = waitingControl{}
		c.msgs = c.msgs[1:]
	}
	if len(c.msgs) == 0 {
		c.msgs = nil
	}
}

// owe notes what control messages wait for a node in a shard's portal. It reports false
// when nothing more may: the connection has ended, or ends.
func (e *Engine) owe(node string, shard int, cost int64) bool {
	g := &e.gates
	g.mu.Lock()
	defer g.mu.Unlock()
	c := g.control[node]
	if c == nil || c.over {
		return false
	}
	c.cost += cost - c.portals[shard]
	c.portals[shard] = cost
	e.bound(node, c)
	return !c.over
}

// bound ends the connection with a node for which too much waits. gates.mu is locked.
func (e *Engine) bound(node string, c *controlList) {
	if c.over || c.cost <= e.opts.ControlBytes {
		return
	}
	e.log.Warn().Str("peer", node).Int64("bytes", c.cost).Int64("limit", e.opts.ControlBytes).
		Msg("node does not take its control messages: the connection ends and begins anew; look for load and loss at that node and on the way to it, or raise control-buffer-bytes")
	e.metrics.resets.Inc()
	c.over, c.msgs, c.cost = true, nil, 0
	clear(c.portals)
	e.opts.Peers.Reset(node)
}

// controlWaiting is the cost of what waits for the node that has the most.
func (e *Engine) controlWaiting() int64 {
	e.gates.mu.Lock()
	defer e.gates.mu.Unlock()
	var most int64
	for _, c := range e.gates.control {
		most = max(most, c.cost)
	}
	return most
}

// letControl begins or ends the list of a node: what a race left there was for the
// connection before.
func (g *gates) letControl(node string, up bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.control, node)
	if up {
		g.control[node] = &controlList{portals: map[int]int64{}}
	}
}

// tell sends a control message to the leader; local does the same for a leader
// on this node. Without a leader nothing is told: the next report has it.
func (p *portal) tell(msg []byte, local func(l *leader)) {
	if !p.reported {
		return
	}
	if p.leader == p.e.node {
		p.e.heed(p.shard, p.e.node, p.epoch, local, nil)
		return
	}
	if len(p.control) == 0 && p.e.opts.Peers.Send(p.leader, LaneControl, msg) {
		return
	}
	cost := costOf(msg)
	if !p.e.owe(p.leader, p.shard, p.owing+cost) {
		p.control, p.owing = nil, 0 // the portal reports anew on the next connection
		return
	}
	p.owing += cost
	p.control = append(p.control, waitingControl{msg, cost})
}

// flushControl tells the leader what waits. It reports false while the lane is full.
func (p *portal) flushControl() bool {
	before := p.owing
	for len(p.control) > 0 && p.leader != "" && p.e.opts.Peers.Send(p.leader, LaneControl, p.control[0].msg) {
		p.owing -= p.control[0].cost
		p.control[0] = waitingControl{}
		p.control = p.control[1:]
	}
	if p.owing != before {
		p.e.owe(p.leader, p.shard, p.owing)
	}
	return len(p.control) == 0 || p.leader == ""
}

// dropControl forgets what waits: the next report has it.
func (p *portal) dropControl() {
	if p.owing > 0 {
		p.e.owe(p.leader, p.shard, 0)
	}
	p.control, p.owing = nil, 0
}
