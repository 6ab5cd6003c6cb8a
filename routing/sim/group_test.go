package sim_test

import (
	"slices"
	"sync"
	"time"

	"github.com/selvedge-mq/selvedge/routing/engine"
)

// group is the replicated log of a shard: raft with what the fabric adds to it. A
// replica that leads refuses an append at another sequence than its next one,
// and so does everyone who applies it; a leader that lost its followers goes on
// to believe in itself for a while; an append may be lost, or be stored and never
// answered, or be committed by a later leader.
type group struct {
	w        *world
	shard    int
	replicas []*replica
	truth    truth
	voting   bool     // an election is being waited for
	stuck    *process // whose appends are on their way until there is another writer
	onTheWay []func() // those appends

	elections int
}

// entry is what stands in the log of raft.
type entry struct {
	term   uint64
	expect uint64 // the last sequence that an append counts on; upTo of a purge
	purge  bool
	rec    []byte // nil for a leader's first entry and a purge
	ask    *ask
}

// replica is what one node has of the log.
type replica struct {
	*node
	g       *group
	term    uint64
	log     []*entry
	synced  int // entries that are on the disk
	commit  int // entries known to be committed
	lead    *leading
	silent  time.Duration // since when the leader was not heard
	hears   bool          // it hears a leader
	untold  bool          // its process is not told that it does not lead
	applied int

	mu    sync.Mutex
	first uint64
	recs  [][]byte
}

// leading is what a replica knows that believes to lead.
type leading struct {
	term    uint64
	next    uint64 // the sequence behind which the next append belongs
	match   map[*replica]int
	told    map[*replica]int // commit
	alone   time.Duration    // since when it hears no majority
	patient time.Duration    // how long it believes without one
}

func newGroup(w *world, shard int, on []*node) *group {
	g := &group{w: w, shard: shard, truth: truth{first: 1, epochs: map[uint32]uint64{}}}
	for _, n := range on {
		g.replicas = append(g.replicas, &replica{node: n, g: g, first: 1})
	}
	return g
}

func (g *group) on(n *node) *replica {
	for _, r := range g.replicas {
		if r.node == n {
			return r
		}
	}
	return &replica{node: n, g: g, first: 1} // a node without one knows nothing
}

func (r *replica) stored() (first uint64, recs [][]byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.first, slices.Clip(r.recs)
}

func (r *replica) last() uint64 { return r.first + uint64(len(r.recs)) - 1 }

// request brings an append of a process to every replica that it reaches and
// that believes to lead.
func (g *group) request(p *process, e *entry) {
	if p.proc != p {
		return
	}
	if p.paused {
		p.when(func() { g.w.after(50*time.Microsecond, func() { g.request(p, e) }) })
		return
	}
	if g.w.lossy > 0 && g.w.chance(g.w.lossy) {
		g.w.notef("append %s shard %d expect %d lost", p.name, g.shard, e.expect)
		return
	}
	for _, r := range g.replicas {
		if r.lead != nil && g.w.reaches(p.node, r.node) {
			copied := *e
			r.propose(&copied)
		}
	}
}

// stick keeps the appends of a process on their way until another one writes, or for
// a while.
func (g *group) stick(p *process) {
	g.w.notef("appends of %s to shard %d are on their way", p.name, g.shard)
	g.stuck = p
	g.w.after(3*time.Second, func() { g.unstick(p) })
}

// unstick has the appends of a process arrive.
func (g *group) unstick(p *process) {
	if p == nil || g.stuck != p {
		return
	}
	g.w.notef("%d appends of %s to shard %d arrive", len(g.onTheWay), p.name, g.shard)
	for i, f := range g.onTheWay {
		g.w.after(time.Duration(i+1)*10*time.Microsecond, f)
	}
	g.stuck, g.onTheWay = nil, nil
}

// fullFrom is the size from which no record finds room on a full disk; a smaller one
// may.
const fullFrom = 200

// propose has a leader take an entry in.
func (r *replica) propose(e *entry) {
	w := r.g.w
	if r.full && !e.purge && (len(e.rec) > fullFrom || w.chance(0.5)) {
		w.notef("append %s shard %d expect %d no room", r.name, r.g.shard, e.expect)
		r.reply(e, 0, engine.ErrFull)
		if w.chance(0.3) {
			r.stepDown("its disk is full")
		}
		return
	}
	if !e.purge {
		if e.expect != r.lead.next {
			w.notef("append %s shard %d expect %d conflict %d", r.name, r.g.shard, e.expect, r.lead.next)
			r.reply(e, 0, engine.ErrConflict)
			return
		}
		r.lead.next++
	}
	w.notef("append %s shard %d expect %d size %d", r.name, r.g.shard, e.expect, len(e.rec))
	e.term = r.lead.term
	r.log = append(r.log, e)
	r.sync()
	r.replicate()
}

// reply answers a request, if the answer gets through.
func (r *replica) reply(e *entry, seq uint64, err error) {
	if e.ask == nil {
		return
	}
	w, p := r.g.w, e.ask.from
	d := w.between(5*time.Microsecond, 60*time.Microsecond)
	if p.node != r.node {
		d += w.latency()
	}
	w.after(d, func() {
		if w.reaches(r.node, r.node) && (p.node == r.node || w.reaches(r.node, p.node)) {
			e.ask.answer(seq, err)
		}
	})
}

// sync brings the replica's entries to its disk, and says so to the leader.
func (r *replica) sync() {
	n, at, p := len(r.log), r.log[len(r.log)-1], r.proc
	r.g.w.after(r.disk(), func() {
		p.when(func() {
			if len(r.log) < n || r.log[n-1] != at {
				return
			}
			r.synced = max(r.synced, n)
			for _, l := range r.g.replicas {
				if l.lead != nil && l.lead.term == at.term {
					r.acknowledge(l, n)
				}
			}
		})
	})
}

// acknowledge tells a leader up to where this replica has its log.
func (r *replica) acknowledge(l *replica, n int) {
	w, lead, term := r.g.w, l.lead, r.term
	if l == r {
		l.matched(r, n)
		return
	}
	w.after(w.latency(), func() {
		if l.lead == lead && w.reaches(r.node, l.node) && r.term == term {
			l.matched(r, n)
		}
	})
}

// matched has a leader take note, and commit what a majority has.
func (r *replica) matched(f *replica, n int) {
	r.lead.match[f] = max(r.lead.match[f], n)
	var have []int
	for _, o := range r.g.replicas {
		have = append(have, r.lead.match[o])
	}
	slices.Sort(have)
	commit := have[(len(have)-1)/2]
	if commit <= r.commit || r.log[commit-1].term != r.lead.term {
		return
	}
	r.commit = commit
	r.g.truth.extend(r.g, r.log[:commit])
	r.g.w.notef("commit %s shard %d entries %d last %d", r.name, r.g.shard, commit, r.g.truth.last())
	r.apply()
	r.replicate()
}

// replicate sends every follower what it has not.
func (r *replica) replicate() {
	w := r.g.w
	for _, f := range r.g.replicas {
		if f == r {
			continue
		}
		lead, log, commit := r.lead, r.log, r.commit
		w.after(w.latency(), func() {
			if w.reaches(r.node, f.node) {
				f.follow(r, lead, log, commit)
			}
		})
	}
}

// follow takes in what a leader has sent.
func (r *replica) follow(from *replica, lead *leading, log []*entry, commit int) {
	w := r.g.w
	if lead.term < r.term {
		w.after(w.latency(), func() {
			if from.lead == lead && w.reaches(r.node, from.node) {
				from.stepDown("a later term")
			}
		})
		return
	}
	r.adopt(lead.term)
	n := len(log)
	if len(r.log) < n || r.log[n-1] != log[n-1] {
		keep := 0
		for keep < min(len(r.log), n) && r.log[keep] == log[keep] {
			keep++
		}
		r.log, r.synced = log[:n:n], min(r.synced, keep) // what this replica appends is its own
		r.sync()
	} else if r.synced >= n && from.lead == lead && lead.match[r] < n {
		r.acknowledge(from, n)
	}
	if commit > r.commit {
		r.commit = commit
		r.apply()
	}
}

// adopt takes note of a term that another replica leads.
func (r *replica) adopt(term uint64) {
	if r.lead != nil && r.lead.term < term {
		r.stepDown("another leads")
	}
	r.term = max(r.term, term)
}

// apply stores what is committed. An append that counts on another sequence is
// passed over.
func (r *replica) apply() {
	for ; r.applied < r.commit; r.applied++ {
		e := r.log[r.applied]
		seq, err := uint64(0), error(nil)
		r.mu.Lock()
		switch last := r.last(); {
		case e.purge:
			r.drop(min(e.expect, last))
		case e.rec == nil:
		case e.expect != last:
			err = engine.ErrConflict
		default:
			r.recs = append(r.recs, e.rec)
			seq = last + 1
		}
		r.mu.Unlock()
		if r.lead == nil {
			continue
		}
		if r.lead.next = max(r.lead.next, r.last()); err != nil {
			r.lead.next = r.last()
		}
		if r.lead.term == e.term {
			r.reply(e, seq, err)
		}
	}
}

func (r *replica) drop(upTo uint64) {
	if upTo >= r.first {
		r.recs = r.recs[upTo-r.first+1:]
		r.first = upTo + 1
	}
}

// crashed ends what a node's replica has in memory; without power, its disk also
// loses what was not synced.
func (g *group) crashed(n *node, power bool) {
	r := g.on(n)
	r.lead = nil
	if keep := r.synced; power && keep < len(r.log) {
		keep += g.w.rng.IntN(len(r.log) - keep + 1)
		r.log = r.log[:keep:keep]
	}
	r.synced = len(r.log)
	r.commit = min(r.commit, len(r.log))
	r.applied = 0
	r.mu.Lock()
	r.first, r.recs = 1, nil
	r.mu.Unlock()
	r.apply()
}
