package peers

import (
	"sync/atomic"
	"time"

	"github.com/selvedge-mq/selvedge/routing/engine"
)

// pair is one incarnation of the conversation with another node's session. Its
// numbers never change; what begins anew is another pair.
type pair struct {
	node     string
	session  uint64 // the other node's
	self     uint64 // this node's session
	theirs   uint64 // connection number of the other end
	mine     uint64 // connection number of this end
	lanes    [engine.Lanes]*lane
	subjects [engine.Lanes]string
	pool     *pool
	up       atomic.Bool  // Send takes messages
	over     atomic.Bool  // no further message is handed over
	ending   atomic.Bool  // Reset was called: nothing is taken, and the owner ends the pair
	seen     atomic.Int64 // when the last packet came, on the Peers' clock
}

// pairing is what New and the handshake agree on for all pairs.
type pairing struct {
	session         uint64
	window, control uint64
	batch           int
	pool            *pool
}

// newPair returns the pair of this end's connection number mine and the other
// end's notice n. Both ends use the smaller window of the two.
func newPair(with *pairing, n *notice, mine uint64, now time.Duration) *pair {
	p := &pair{
		node: n.node, session: n.session, self: with.session,
		theirs: n.conn, mine: mine, pool: with.pool,
	}
	p.seen.Store(int64(now))
	for k := range p.lanes {
		window := min(with.window, max(n.window, 1))
		if engine.Lane(k) == engine.LaneControl {
			window = min(with.control, max(n.control, 1))
		}
		p.lanes[k] = newLane(p, engine.Lane(k), window, with.batch)
		p.subjects[k] = subjectOf(n.node, laneNames[k])
	}
	return p
}

// address fills in who sends a packet to whom.
func (p *pair) address(h *head) {
	h.from, h.to, h.fromConn, h.toConn = p.self, p.session, p.mine, p.theirs
}

// owns says whether a packet belongs to this incarnation.
func (p *pair) owns(h *head) bool {
	return h.from == p.session && h.to == p.self && h.fromConn == p.theirs && h.toConn == p.mine
}

// close ends all lanes and waits for the handler's calls under way.
func (p *pair) close() {
	p.up.Store(false)
	p.over.Store(true)
	for _, l := range p.lanes {
		l.close()
	}
}
