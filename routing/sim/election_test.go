package sim_test

import "time"

// reconsider looks at a group after something changed: which replicas hear a
// leader, which leaders hear a majority, whether an election is to come.
func (g *group) reconsider() {
	now := g.w.now()
	top := g.top()
	for _, r := range g.replicas {
		hears := top != nil && (r == top || g.w.reaches(top.node, r.node))
		if r.hears && !hears {
			r.silent = now
		}
		r.hears = hears
		if r.lead == nil {
			continue
		}
		if g.majority(r) {
			r.lead.alone = 0
		} else if r.lead.alone == 0 {
			r.lead.alone = now
		}
	}
	if !g.voting && g.wantsElection(top) {
		g.voting = true
		g.await()
	}
}

// top returns the replica that leads in the latest term and runs.
func (g *group) top() *replica {
	var top *replica
	for _, r := range g.replicas {
		if r.lead != nil && r.running() && (top == nil || r.lead.term > top.lead.term) {
			top = r
		}
	}
	return top
}

// wantsElection reports whether some replica will ask for votes: because there is
// no leader that hears a majority, or, if replicas are rude, because it hears none.
func (g *group) wantsElection(top *replica) bool {
	if top == nil || !g.majority(top) {
		return true
	}
	for _, r := range g.replicas {
		if g.w.plan.rude && r.running() && !r.hears {
			return true
		}
	}
	return false
}

// majority reports whether a replica and a majority hear each other.
func (g *group) majority(r *replica) bool {
	n := 0
	for _, o := range g.replicas {
		if g.w.reaches(r.node, o.node) && g.w.reaches(o.node, r.node) {
			n++
		}
	}
	return n*2 > len(g.replicas)
}

// await has an election happen after a time.
func (g *group) await() {
	g.w.after(g.w.between(minElection, 2*minElection), func() {
		if !g.wantsElection(g.top()) {
			g.voting = false
			return
		}
		first := g.w.rng.IntN(len(g.replicas))
		for i := range g.replicas {
			if g.elect(g.replicas[(first+i)%len(g.replicas)], false) {
				g.voting = false
				return
			}
		}
		g.await()
	})
}

// elect makes c the leader if a majority votes for it: replicas that hear it,
// have heard no leader for the election timeout, and have no more of the log. A
// leader that hands over asks for the votes at once. Where replicas are rude, as
// raft without pre-votes is, the voters may have heard a leader just now.
func (g *group) elect(c *replica, handover bool) bool {
	var votes []*replica
	term := c.term
	for _, v := range g.replicas {
		switch {
		case !g.w.reaches(c.node, v.node) || !g.w.reaches(v.node, c.node):
			continue
		case !handover && (v == c || !g.w.plan.rude) && (v.hears || g.w.now()-v.silent < minElection):
			continue
		case !c.asLongAs(v):
			continue
		}
		votes = append(votes, v)
		term = max(term, v.term)
	}
	if len(votes)*2 <= len(g.replicas) || !c.running() {
		return false
	}
	for _, v := range votes {
		v.adopt(term + 1)
	}
	c.become(term + 1)
	return true
}

// asLongAs compares two logs as raft's voters do.
func (r *replica) asLongAs(o *replica) bool {
	a, b := r.lastTerm(), o.lastTerm()
	return a > b || a == b && len(r.log) >= len(o.log)
}

func (r *replica) lastTerm() uint64 {
	if len(r.log) == 0 {
		return 0
	}
	return r.log[len(r.log)-1].term
}

// become makes the replica the leader of a term.
func (r *replica) become(term uint64) {
	w := r.g.w
	r.g.elections++
	w.notef("elected %s shard %d term %d", r.name, r.g.shard, term)
	r.lead = &leading{
		term: term, next: r.last(), match: map[*replica]int{}, told: map[*replica]int{},
		patient: w.between(minElection, 8*time.Second),
	}
	r.log = append(r.log, &entry{term: term})
	r.sync()
	r.replicate()
	r.announce(true)
	r.beat(r.lead)
	r.g.reconsider()
}

// announce tells the engine whether this replica leads, a moment later.
func (r *replica) announce(leads bool) {
	p := r.proc
	if p == nil {
		return
	}
	if r.untold && !leads {
		return
	}
	late := 50 * time.Millisecond
	if !leads && !r.g.w.healed && r.g.w.chance(0.3) {
		late = time.Second // it asks its server, which is slow to answer
	}
	r.g.w.after(r.g.w.between(time.Millisecond, late), func() {
		if leads == (r.lead != nil) {
			p.tell(r.g.shard, leads)
		}
	})
}

func (r *replica) stepDown(why string) {
	r.g.w.notef("step down %s shard %d term %d: %s", r.name, r.g.shard, r.lead.term, why)
	r.lead = nil
	r.announce(false)
	r.g.reconsider()
}

// beat is a leader's heartbeat: it brings followers up to date, hears of later
// terms, and ends a leader that has been alone for too long.
func (r *replica) beat(lead *leading) {
	w := r.g.w
	w.after(w.between(100*time.Millisecond, 150*time.Millisecond), func() {
		if r.lead != lead {
			return
		}
		if r.running() {
			if lead.alone > 0 && w.now()-lead.alone > lead.patient {
				r.stepDown("no quorum")
				return
			}
			r.catchUp()
		}
		if r.lead == lead {
			r.beat(lead)
		}
	})
}

func (r *replica) catchUp() {
	w, lead := r.g.w, r.lead
	for _, f := range r.g.replicas {
		if f == r || r.lead != lead || !w.reaches(r.node, f.node) || !w.reaches(f.node, r.node) {
			continue
		}
		if lead.match[f] < len(r.log) || f.commit < r.commit || f.term > lead.term {
			f.follow(r, lead, r.log, r.commit)
		}
	}
}

// mostTries is how often a leader tries to hand over, a millisecond apart, while no
// other replica is up to date.
const mostTries = 50

// resign hands a node's leadership over, now or as soon as another replica is up to
// date.
func (g *group) resign(from *node, tries int) {
	if g.transfer(from) || tries == 0 {
		return
	}
	g.w.after(time.Millisecond, func() { g.resign(from, tries-1) })
}

// transfer hands a node's leadership to another replica that is up to date. It
// reports false if it leads and there is none.
func (g *group) transfer(from *node) bool {
	r := g.on(from)
	if r.lead == nil {
		return true
	}
	for _, c := range g.replicas {
		if c != r && g.handTo(r, c) {
			return true
		}
	}
	return false
}

// handTo hands a leader's place to a replica, if that is up to date.
func (g *group) handTo(r, c *replica) bool {
	return c.running() && g.w.reaches(r.node, c.node) && c.asLongAs(r) && g.elect(c, true)
}

// giveBack has a replica lead again that did before, now or as soon as it is up to
// date.
func (g *group) giveBack(c *replica, tries int) {
	top := g.top()
	if g.w.calm(g.w.now()) || top == nil || top == c || tries == 0 {
		return
	}
	if g.handTo(top, c) {
		g.w.notef("shard %d is led by %s again", g.shard, c.name)
		return
	}
	g.w.after(time.Millisecond, func() { g.giveBack(c, tries-1) })
}
