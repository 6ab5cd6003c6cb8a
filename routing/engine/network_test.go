package engine_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/selvedge-mq/selvedge/routing/engine"
)

// network carries messages between the engines of one process: each lane of each
// pair of nodes is a goroutine, with a window.
type network struct {
	window  int
	largest int // the largest message sent

	mu    sync.Mutex
	lose  func(from, to string, lane engine.Lane) bool // what gets lost on its way; nil for nothing
	delay time.Duration                                // of each message on its way
	nodes map[string]*memPeers
	deaf  map[string]chan struct{} // nodes that read nothing, closed when they go on
	turns []string                 // "up" and "down" of all connections, as "down b at a"
	wg    sync.WaitGroup
}

type memPeers struct {
	net     *network
	node    string
	session uint64
	h       engine.PeerHandler
	up      bool
	lanes   map[string]*[engine.Lanes]*memLane // towards others
}

type memLane struct {
	mu      sync.Mutex
	msgs    [][]byte
	unread  int
	blocked bool
	closed  bool
	wake    chan struct{}
	gone    chan struct{} // closed with the lane
}

func newNetwork(window int) *network {
	return &network{window: window, nodes: map[string]*memPeers{}, deaf: map[string]chan struct{}{}}
}

func (n *network) join(node string, session uint64) *memPeers {
	return &memPeers{net: n, node: node, session: session, lanes: map[string]*[engine.Lanes]*memLane{}}
}

// Start implements engine.Peers: the node meets all others that are up.
func (p *memPeers) Start(h engine.PeerHandler) {
	n := p.net
	n.mu.Lock()
	p.h, p.up = h, true
	n.nodes[p.node] = p
	n.mu.Unlock()
	n.meet(p)
}

// meet connects a node with all others that are up, and tells both sides.
func (n *network) meet(p *memPeers) {
	n.mu.Lock()
	var met []*memPeers
	for _, other := range n.nodes {
		if other != p && other.up {
			p.lanes[other.node], other.lanes[p.node] = n.lanesTo(p, other), n.lanesTo(other, p)
			met = append(met, other)
		}
	}
	n.mu.Unlock()
	for _, other := range met {
		p.sees(other)
		other.sees(p)
	}
}

// sees tells a node that another one is up.
func (p *memPeers) sees(other *memPeers) {
	p.net.turn("up", p, other)
	p.h.PeerUp(other.node, other.session)
}

// loses tells a node that another one is down.
func (p *memPeers) loses(other *memPeers) {
	p.net.turn("down", p, other)
	p.h.PeerDown(other.node, other.session)
}

func (n *network) turn(what string, at, other *memPeers) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.turns = append(n.turns, what+" "+other.node+" at "+at.node)
}

// turned counts how often that was told.
func (n *network) turned(what string) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	count := 0
	for _, t := range n.turns {
		if t == what {
			count++
		}
	}
	return count
}

// plug has a node read nothing until the returned function is called.
func (n *network) plug(node string) (unplug func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	ch := make(chan struct{})
	n.deaf[node] = ch
	return func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		delete(n.deaf, node)
		close(ch)
	}
}

// hears waits until a node reads, or the lane is closed.
func (n *network) hears(node string, l *memLane) {
	n.mu.Lock()
	deaf := n.deaf[node]
	n.mu.Unlock()
	if deaf == nil {
		return
	}
	select {
	case <-deaf:
	case <-l.gone:
	}
}

func (n *network) lanesTo(from, to *memPeers) *[engine.Lanes]*memLane {
	var lanes [engine.Lanes]*memLane
	for i := range lanes {
		l := &memLane{wake: make(chan struct{}, 1), gone: make(chan struct{})}
		lanes[i] = l
		n.wg.Go(func() { l.carry(n, from.node, to, engine.Lane(i)) })
	}
	return &lanes
}

// sent notes the size of a message.
func (n *network) sent(size int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.largest = max(n.largest, size)
}

// takeLargest returns the size of the largest message sent since the last call.
func (n *network) takeLargest() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	size := n.largest
	n.largest = 0
	return size
}

// losing has the network lose what f says, from now on; nil loses nothing.
func (n *network) losing(f func(from, to string, lane engine.Lane) bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.lose = f
}

func (n *network) lost(from, to string, lane engine.Lane) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.lose != nil && n.lose(from, to, lane)
}

func (l *memLane) carry(n *network, from string, to *memPeers, lane engine.Lane) {
	for range l.wake {
		for {
			n.hears(to.node, l)
			l.mu.Lock()
			if len(l.msgs) == 0 {
				l.mu.Unlock()
				break
			}
			msg := l.msgs[0]
			l.msgs = l.msgs[1:]
			l.mu.Unlock()
			if n.lost(from, to.node, lane) {
				to.Consumed(from, lane, len(msg))
				continue
			}
			n.travel()
			to.h.Receive(from, lane, msg)
		}
	}
}

// travel waits for as long as a message is under way.
func (n *network) travel() {
	n.mu.Lock()
	d := n.delay
	n.mu.Unlock()
	if d > 0 {
		<-time.After(d)
	}
}

// slow has each message from now on take so long.
func (n *network) slow(d time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.delay = d
}

func (l *memLane) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.closed {
		l.closed = true
		l.msgs = nil
		close(l.wake)
		close(l.gone)
	}
}

// sever separates a node from all others, which then take it for dead.
func (n *network) sever(node string) {
	n.mu.Lock()
	p := n.nodes[node]
	p.up = false
	var left []*memPeers
	for name, lanes := range p.lanes {
		other := n.nodes[name]
		for i := range lanes {
			lanes[i].close()
			other.lanes[node][i].close()
		}
		delete(other.lanes, node)
		left = append(left, other)
	}
	clear(p.lanes)
	n.mu.Unlock()
	for _, other := range left {
		other.loses(p)
		p.loses(other)
	}
}

// Reset implements engine.Peers.
func (p *memPeers) Reset(node string) {
	n := p.net
	n.mu.Lock()
	defer n.mu.Unlock()
	other, lanes := n.nodes[node], p.lanes[node]
	if lanes == nil {
		return
	}
	for i := range lanes {
		lanes[i].close()
		other.lanes[p.node][i].close()
	}
	delete(p.lanes, node)
	delete(other.lanes, p.node)
	n.wg.Go(func() {
		p.loses(other)
		other.loses(p)
		n.mu.Lock()
		both := p.up && other.up
		if both {
			p.lanes[node], other.lanes[p.node] = n.lanesTo(p, other), n.lanesTo(other, p)
		}
		n.mu.Unlock()
		if both {
			p.sees(other)
			other.sees(p)
		}
	})
}

// rejoin brings a node that was severed back, in the same session.
func (n *network) rejoin(node string) {
	n.mu.Lock()
	p := n.nodes[node]
	p.up = true
	n.mu.Unlock()
	n.meet(p)
}

// Self implements engine.Peers.
func (p *memPeers) Self() (string, uint64) { return p.node, p.session }

func (p *memPeers) lane(to string, lane engine.Lane) *memLane {
	p.net.mu.Lock()
	defer p.net.mu.Unlock()
	if lanes := p.lanes[to]; lanes != nil {
		return lanes[lane]
	}
	return nil
}

// Send implements engine.Peers.
func (p *memPeers) Send(to string, lane engine.Lane, msg []byte) bool {
	l := p.lane(to, lane)
	if l == nil {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return false
	}
	if l.unread > 0 && l.unread+len(msg) > p.net.window {
		l.blocked = true
		return false
	}
	l.unread += len(msg)
	p.net.sent(len(msg))
	l.msgs = append(l.msgs, slices.Clone(msg))
	select {
	case l.wake <- struct{}{}:
	default:
	}
	return true
}

// Consumed implements engine.Peers.
func (p *memPeers) Consumed(from string, lane engine.Lane, n int) {
	p.net.mu.Lock()
	sender := p.net.nodes[from]
	p.net.mu.Unlock()
	l := sender.lane(p.node, lane)
	if l == nil {
		return
	}
	l.mu.Lock()
	l.unread -= n
	open := l.blocked && l.unread <= p.net.window/2
	if open {
		l.blocked = false
	}
	l.mu.Unlock()
	if open {
		sender.h.Writable(p.node, lane)
	}
}

// Ask implements engine.Peers.
func (p *memPeers) Ask(ctx context.Context, to, method string, req []byte) ([]byte, error) {
	p.net.mu.Lock()
	other := p.net.nodes[to]
	p.net.mu.Unlock()
	if other == nil || p.lane(to, engine.LaneControl) == nil {
		return nil, errors.New("node is not up")
	}
	return other.h.Answer(ctx, p.node, method, req)
}
