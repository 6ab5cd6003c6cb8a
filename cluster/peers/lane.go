package peers

import (
	"sync"
	"time"

	"github.com/selvedge-mq/selvedge/routing/engine"
)

const (
	// resendAfter is how long a lane waits for an acknowledgement before it
	// sends again; it doubles up to resendMost while nothing is heard.
	resendAfter = 300 * time.Millisecond
	resendMost  = 1200 * time.Millisecond
	// slowest is the bytes a second at which a packet is expected to pass: a
	// large one is given that much longer.
	slowest = 8 << 20
	// askAgainAfter is how long a receiver waits before it asks once more for
	// the same packet.
	askAgainAfter = 20 * time.Millisecond
	// packetsMost is how many packets may wait for their acknowledgement before
	// the open one must be full to go. Receivers acknowledge at an eighth of it.
	packetsMost = 256
)

// phase is how far a lane's receiving side is.
type phase byte

const (
	phaseShut   phase = iota // PeerUp has not returned yet
	phaseOpen                // messages are handed over
	phaseClosed              // the pair is over
)

// lane is both ends of one lane of one pair: what this node sends, and what it
// has received.
type lane struct {
	pair   *pair
	kind   engine.Lane
	window uint64 // agreed by both ends
	batch  int    // bytes at which a packet is closed

	mu        sync.Mutex
	scheduled bool // stands in the writer's queue

	// Sending. packets holds the numbers base, base+1, …; those before cursor
	// were published, and those before high at least once.
	packets    []*packet
	open       *packet // not numbered yet; nil: empty
	base       uint64
	cursor     uint64
	high       uint64
	recovery   uint64  // after a timeout: where it ends; packets before it go slowly
	allowed    int     // packets that may go in the recovery
	publishing *packet // in the writer's hands
	queued     uint64  // bytes of messages taken, ever
	granted    uint64  // bytes of messages consumed by the other end, ever
	kept       int     // messages not acknowledged
	starved    bool    // Send returned false: Writable is owed
	need       int     // length of the message that was refused
	progress   time.Duration
	patience   time.Duration

	// Receiving.
	phase          phase
	missed         bool   // a packet came before the lane was open
	next           uint64 // number of the packet expected
	received       uint64 // bytes of messages received, ever
	consumed       uint64 // bytes of messages consumed, ever
	unacked        uint64 // bytes received since the last acknowledgement sent
	unackedPackets int
	ackSent        uint64
	grantSent      uint64
	ackDue         bool
	flagsDue       byte
	askedFor       uint64
	askedAt        time.Duration
	busy           bool          // the handler is being called
	idle           chan struct{} // closed when it returned; set by close
}

// newLane returns a lane that takes messages, and receives them after unlatch.
func newLane(p *pair, k engine.Lane, window uint64, batch int) *lane {
	return &lane{
		pair: p, kind: k, window: window, batch: batch,
		base: 1, cursor: 1, high: 1, next: 1, patience: resendAfter,
	}
}

// schedule says whether the caller must put the lane in the writer's queue.
// The lane is locked.
func (l *lane) schedule() bool {
	if l.scheduled || l.phase == phaseClosed {
		return false
	}
	l.scheduled = true
	return true
}

// unlatch begins to hand over messages. It returns true if the lane must be
// put in the writer's queue.
func (l *lane) unlatch() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.phase != phaseShut {
		return false
	}
	l.phase = phaseOpen
	if !l.missed {
		return false
	}
	l.flagsDue |= flagResend
	return l.schedule()
}

// close ends the lane and waits until the handler is not being called any more;
// afterwards it is never called again.
func (l *lane) close() {
	l.mu.Lock()
	l.phase = phaseClosed
	l.packets, l.open, l.publishing = nil, nil, nil
	if l.busy && l.idle == nil {
		l.idle = make(chan struct{})
	}
	idle := l.idle
	l.mu.Unlock()
	if idle != nil {
		<-idle
	}
}

// leave ends a call of the handler that enter began.
func (l *lane) leave() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.busy = false
	if l.idle != nil {
		close(l.idle)
	}
}

// tick looks after what time alone can set right: an acknowledgement that no
// packet carried, a packet whose acknowledgement did not come, a grant that was
// lost. It returns true if the lane must be put in the writer's queue.
func (l *lane) tick(now time.Duration) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.phase == phaseClosed {
		return false
	}
	if l.next-1 != l.ackSent || l.consumed != l.grantSent {
		l.ackDue = true
	}
	l.expire(now)
	return l.ready() && l.schedule()
}

// expire acts when no acknowledgement came for long. It may only be late, so
// one packet is sent again, and more as acknowledgements come: a busy network
// must not get the whole window twice. The lane is locked.
func (l *lane) expire(now time.Duration) {
	limit := l.patience
	if len(l.packets) > 0 {
		limit += time.Duration(len(l.packets[0].buf)) * time.Second / slowest
	}
	waits := len(l.packets) > 0 || l.starved
	if !waits || l.cursor < l.end() && !l.held() || now-l.progress < limit {
		return
	}
	l.progress = now
	l.patience = min(2*l.patience, resendMost)
	if len(l.packets) == 0 {
		l.flagsDue |= flagProbe
		return
	}
	l.cursor, l.recovery, l.allowed = l.base, l.high, 1
}

// held says whether the next packet waits for the recovery's acknowledgements.
// The lane is locked.
func (l *lane) held() bool { return l.cursor < l.recovery && l.allowed == 0 }

// ready says whether there is something to publish. The lane is locked.
func (l *lane) ready() bool {
	if l.ackDue || l.flagsDue != 0 {
		return true
	}
	if l.cursor < l.end() {
		return !l.held()
	}
	return l.ripe()
}
