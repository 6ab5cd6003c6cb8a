package sim_test

import (
	"fmt"
	"time"

	"github.com/selvedge-mq/selvedge/routing"
	"github.com/selvedge-mq/selvedge/routing/engine"
)

// plan is what a seed decides about its run.
type plan struct {
	nodes, shards, replicas int
	queues                  int
	producers, consumers    int
	messages                int           // of each producer
	aims, strikes           int           // faults in the middle of a commit, and as one of its steps is logged
	letterStrikes           int           // the same for dead letters …
	rejects                 bool          // messages die after everything was healed
	lateMove                bool          // a shard gets another leader then
	usurps                  bool          // another one leads for a moment when all is at rest
	importStrikes           int           // … and for an import
	transactors, requesters int           // clients with transactions, with temporary queues
	topics                  int           // with publishers and listeners each
	expiry                  float64       // part of the messages that expire
	imports                 bool          // a standalone folder enters the cluster
	trouble                 time.Duration // how long faults happen
	faults                  int           // about how many
	window                  int           // bytes of a lane
	sendTimeout             time.Duration
	maxDeliveries           int
	cleanAbove, cutBytes    int64
	cacheBytes, recordBytes int
	rude                    bool    // replicas that hear no leader depose one that others hear
	deadly                  int     // the message that kills the node of whoever gets it, -1 for none
	crash, cut, pause, slow float64 // weights of the faults
	move, lossy, drain      float64
	full, deaf              float64
	controlBytes            int64 // that may wait for a node
}

const (
	lease         = 400 * time.Millisecond
	minElection   = 500 * time.Millisecond // silence after which a replica votes for another leader
	appendTimeout = 2 * time.Second
	suspicion     = 2 * time.Second
	deadLetters   = "dead"
)

// draw makes the plan of a seed.
func (s *scheduler) draw() plan {
	p := plan{
		nodes:         []int{1, 3, 3, 3, 3, 4, 5}[s.rng.IntN(7)],
		shards:        1 + s.rng.IntN(3),
		replicas:      3,
		queues:        1 + s.rng.IntN(3),
		producers:     1 + s.rng.IntN(4),
		consumers:     1 + s.rng.IntN(5),
		messages:      20 + s.rng.IntN(60),
		trouble:       s.between(3*time.Second, 9*time.Second),
		faults:        1 + s.rng.IntN(9),
		window:        []int{600, 4 << 10, 8 << 20, 8 << 20}[s.rng.IntN(4)],
		sendTimeout:   []time.Duration{1500 * time.Millisecond, 5 * time.Second, 15 * time.Second}[s.rng.IntN(3)],
		maxDeliveries: 2 + s.rng.IntN(4),
		cacheBytes:    []int{1, 4 << 10, 32 << 20}[s.rng.IntN(3)],
		recordBytes:   []int{150, 2 << 10, 512 << 10}[s.rng.IntN(3)],
	}
	if s.chance(0.1) {
		p.faults = 0
	}
	clean := s.rng.IntN(3) // a cut is worth less than what the cleaner leaves
	p.cleanAbove, p.cutBytes = []int64{2 << 10, 16 << 10, 64 << 20}[clean], []int64{512, 4 << 10, 8 << 20}[clean]
	weight := func() float64 { return max(0, s.rng.Float64()-0.2) }
	p.crash, p.cut, p.pause, p.slow = weight(), weight(), weight(), weight()
	p.move, p.lossy, p.drain = weight(), weight(), weight()
	if p.full = weight(); s.chance(0.5) {
		p.full = 0
	}
	s.drawRest(&p)
	return p
}

// drawRest decides about the clients that do more than send and take.
func (s *scheduler) drawRest(p *plan) {
	if s.chance(0.6) {
		p.transactors = 1 + s.rng.IntN(3)
		p.aims, p.strikes = s.rng.IntN(5), s.rng.IntN(5)
	}
	if s.chance(0.35) {
		p.requesters = 1 + s.rng.IntN(3)
	}
	if s.chance(0.35) {
		p.topics = 1 + s.rng.IntN(2)
	}
	if s.chance(0.4) {
		p.expiry = 0.2
	}
	p.letterStrikes, p.rejects = s.rng.IntN(3), s.chance(0.3)
	p.lateMove, p.usurps = s.chance(0.4), s.chance(0.15)
	if p.imports = s.chance(0.2); p.imports {
		p.importStrikes = s.rng.IntN(3)
	}
}

// world is one run: the nodes, what connects them, who uses them, and the ledger
// of what must hold.
type world struct {
	*scheduler
	seed    uint64
	plan    plan
	nodes   []*node
	links   []*link
	groups  []*group
	ledger  *ledger
	clients []*client
	temps   []*tempQueue
	folder  *oldFolder // that is imported, nil if none is
	left    departures
	prober  *process // that serves every new client, nil for any
	handing bool     // a node gives its shards away though nothing is wrong

	slowNet     time.Duration // greatest delay of a message, 0 for the usual one
	lossy       float64       // part of the appends that are lost
	healed      bool
	troubled    bool          // nodes were out of reach, or slow …
	troubleEnds time.Duration // … until then
	healedAt    time.Duration
	failure     string

	resets        int // of connections, because too much waited
	uploads, read int // large messages that were sent, and deliveries of them that were read to their end
}

func newWorld(seed uint64, quiesce func()) *world {
	w := &world{scheduler: newScheduler(seed, quiesce), seed: seed}
	w.plan = w.draw()
	w.plan.rude = seed%5 == 4
	w.plan.deadly = -1
	if seed%3 == 1 {
		w.plan.deadly = int(seed / 3 % 20)
	}
	if seed%2 == 1 { // little is enough to end a connection
		w.plan.deaf = 2
		w.plan.window = []int{600, 4 << 10}[seed/2%2]
		w.plan.controlBytes = []int64{300, 600, 1200}[seed/4%3]
	}
	w.ledger = newLedger(w)
	w.temps = append(w.temps, w.nowhere())
	return w
}

// build makes the nodes and the groups of their logs.
func (w *world) build() {
	for i := range w.plan.nodes {
		w.nodes = append(w.nodes, &node{w: w, index: i, name: string(rune('a' + i))})
	}
	if w.plan.imports {
		w.folder = w.makeFolder()
		w.nodes = append(w.nodes, &node{w: w, index: len(w.nodes), name: importerName, folder: w.folder})
	}
	for i, a := range w.nodes {
		for _, b := range w.nodes[:i] {
			w.links = append(w.links, &link{w: w, ends: [2]*node{b, a}})
		}
	}
	for i := range w.plan.shards {
		first := w.rng.IntN(w.plan.nodes)
		var on []*node
		for k := range min(w.plan.replicas, w.plan.nodes) {
			on = append(on, w.nodes[(first+k)%w.plan.nodes])
		}
		w.groups = append(w.groups, newGroup(w, i, on))
	}
}

// violated ends the run: an invariant does not hold.
func (w *world) violated(format string, args ...any) {
	if w.failure == "" {
		w.failure = fmt.Sprintf(format, args...)
		w.notef("VIOLATED %s", w.failure)
	}
	w.stop()
}

// link returns the connection of two nodes and which end a is.
func (w *world) link(a, b *node) (*link, int) {
	for _, l := range w.links {
		if l.ends[0] == a && l.ends[1] == b {
			return l, 0
		}
		if l.ends[1] == a && l.ends[0] == b {
			return l, 1
		}
	}
	return nil, 0
}

func (w *world) node(name string) *node {
	for _, n := range w.nodes {
		if n.name == name {
			return n
		}
	}
	return nil
}

// reaches reports whether what a sends gets to b, now.
func (w *world) reaches(a, b *node) bool {
	if !a.running() || !b.running() {
		return false
	}
	if a == b {
		return true
	}
	l, end := w.link(a, b)
	return !l.cut[end]
}

// latency draws the time of a message on the network.
func (w *world) latency() time.Duration {
	switch {
	case w.slowNet > 0 && w.chance(0.5):
		return w.between(time.Millisecond, w.slowNet)
	case !w.healed && w.chance(0.03):
		return w.between(time.Millisecond, 40*time.Millisecond)
	}
	return w.between(30*time.Microsecond, 400*time.Microsecond)
}

// changed has everybody look at who reaches whom.
func (w *world) changed() {
	for _, l := range w.links {
		l.reconsider()
	}
	for _, g := range w.groups {
		g.reconsider()
	}
}

func (w *world) options(p *process) engine.Options {
	o := engine.Options{
		Fabric: p, Peers: p, SendTimeout: w.plan.sendTimeout, Lease: lease, MaxDeliveries: w.plan.maxDeliveries,
		DeadLetter: deadLetters, CacheBytes: w.plan.cacheBytes, CleanAbove: w.plan.cleanAbove, CutBytes: w.plan.cutBytes,
		RecordBytes: w.plan.recordBytes, ControlBytes: w.plan.controlBytes,
	}
	if p.folder != nil {
		o.SendTimeout = time.Hour // a message that waits for a leader is not lost
	}
	return o
}

// idle is a queue that nobody reads: everything in it expires.
var idle = routing.Queue("idle")

// queueName returns the address of a queue of the run.
func queueName(i int) routing.Address { return routing.Queue(fmt.Sprintf("q%d", i)) }
