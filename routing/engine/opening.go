package engine

import (
	"math"

	"github.com/selvedge-mq/selvedge/routing"
	"github.com/selvedge-mq/selvedge/routing/shard"
)

// openings are subscriptions that wait for room in a record: their queues have to
// be made first. However many come at once, no record grows beyond its target.
type openings struct {
	order []shard.SubID // those that are not in byID have ended
	byID  map[shard.SubID]*opening
}

type opening struct {
	node     string
	addr     routing.Address
	credit   int64
	draining bool
}

// openLater has a subscription wait if its queue has to be made and the open record
// is full. It returns nil if there is no need to.
func (l *leader) openLater(node string, id shard.SubID, addr routing.Address) *opening {
	if o := l.openings.byID[id]; o != nil {
		return o
	}
	if !l.s.Full() || !l.s.Makes(addr) {
		return nil
	}
	o := &opening{node: node, addr: addr}
	l.openings.byID[id] = o
	l.openings.order = append(l.openings.order, id)
	return o
}

// composeOpenings opens what waits, as far as there is room.
func (l *leader) composeOpenings() {
	w := &l.openings
	for len(w.order) > 0 && !l.s.Full() {
		id := w.order[0]
		w.order = w.order[1:]
		o := w.byID[id]
		if o == nil {
			continue
		}
		delete(w.byID, id)
		if !l.open(o.node, id, o.addr) {
			continue
		}
		l.s.Grant(id, int32(min(o.credit, math.MaxInt32)))
		if o.draining {
			l.s.Drain(id)
		}
	}
}

// dropOpenings forgets what waits for a node: it is gone, or reports again.
func (l *leader) dropOpenings(node string) {
	for id, o := range l.openings.byID {
		if o.node == node {
			delete(l.openings.byID, id)
		}
	}
}

// subscribe adds a subscription of a node.
func (l *leader) subscribe(node string, id shard.SubID, addr routing.Address) {
	if id.Session != 0 && l.openLater(node, id, addr) == nil {
		l.open(node, id, addr)
	}
}

// open adds a subscription and tells its node. It reports false when there can be
// none.
func (l *leader) open(node string, id shard.SubID, addr routing.Address) bool {
	if !l.s.Subscribe(id, addr) {
		l.refuse(node, id.Sub)
		return false
	}
	l.toNode(node, verbOpened, appendSub(nil, id.Sub), func(p *portal) { p.openedAt(id.Sub) })
	return true
}

// grant adds credit to a subscription of a node, or takes it back.
func (l *leader) grant(id shard.SubID, n int32) {
	if o := l.openings.byID[id]; o != nil {
		o.credit = max(o.credit+int64(n), 0)
		return
	}
	l.s.Grant(id, n)
}

// drain has a subscription give its credit back once there is nothing for it.
func (l *leader) drain(id shard.SubID) {
	if o := l.openings.byID[id]; o != nil {
		o.draining = true
		return
	}
	l.s.Drain(id)
}

// closeSub ends a subscription of a node, which has seen so many deliveries.
func (l *leader) closeSub(node string, id shard.SubID, seen uint64) {
	delete(l.openings.byID, id)
	l.s.CloseSub(id, seen)
	l.toNode(node, verbClosed, appendSub(nil, id.Sub), func(p *portal) { p.closedAt(id.Sub) })
}
