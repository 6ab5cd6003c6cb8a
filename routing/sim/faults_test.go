package sim_test

import (
	"context"
	"time"

	"github.com/selvedge-mq/selvedge/routing/engine"
)

// fault is something that goes wrong, and comes right again.
type fault struct {
	weight float64
	begin  func(w *world)
}

// faults are what may happen in a run, by the weights of its plan.
func (w *world) faults() []fault {
	return []fault{
		{w.plan.crash, (*world).crashOne},
		{w.plan.cut, (*world).cutSome},
		{w.plan.pause, (*world).pauseOne},
		{w.plan.slow, (*world).slowDown},
		{w.plan.move, (*world).moveOne},
		{w.plan.lossy, (*world).loseSome},
		{w.plan.drain, (*world).stopOne},
		{w.plan.full, (*world).fillOne},
		{w.plan.deaf, (*world).deafenOne},
	}
}

// schedule spreads the faults of the plan over its time.
func (w *world) schedule() {
	all, sum := w.faults(), 0.0
	for _, f := range all {
		sum += f.weight
	}
	if sum == 0 {
		return
	}
	for range w.plan.faults {
		x := w.rng.Float64() * sum
		for _, f := range all {
			if x -= f.weight; x < 0 {
				w.after(w.between(time.Second, w.plan.trouble), func() {
					if !w.healed {
						f.begin(w)
					}
				})
				break
			}
		}
	}
}

func (w *world) anyNode() *node { return w.nodes[w.rng.IntN(len(w.nodes))] }

// crashOne ends a process at once; it starts again later.
func (w *world) crashOne() {
	w.crashThis(w.anyNode())
}

func (w *world) crashThis(n *node) {
	if n.proc == nil || n.proc.eng == nil {
		return
	}
	n.crash(w.chance(0.5))
	w.after(w.between(minElection, 5*time.Second), n.restart)
}

// restart starts a node that is down.
func (n *node) restart() {
	if n.proc == nil && !n.retired {
		n.start()
		n.w.after(n.w.between(time.Millisecond, 50*time.Millisecond), n.proc.serveIfAlive)
	}
}

func (p *process) serveIfAlive() { p.when(p.serve) }

// stopOne stops a node in order: it hands its shards over, waits a little, says
// goodbye and starts again.
func (w *world) stopOne() {
	n := w.anyNode()
	p := n.proc
	if !n.running() || p.eng == nil || n.folder != nil {
		return
	}
	handsOver := w.chance(0.7)
	w.notef("drain node %s, handing over %v", n.name, handsOver)
	ctx, stop := context.WithCancel(context.Background())
	p.atEnd = append(p.atEnd, stop)
	go p.drain(ctx, handsOver)
}

// hinder notes that nodes are slow or out of reach for a time: a leader that takes
// over meanwhile may not wait for their reports, and counts the attempts there as
// failed.
func (w *world) hinder(d time.Duration) {
	w.troubled = true
	w.troubleEnds = max(w.troubleEnds, w.now()+d)
	w.ledger.ends++
}

// aftermath is how long after that nodes may still take each other for dead.
const aftermath = 3 * time.Second

// quiet reports whether since that time every node was within reach of every other
// one, but for those that ended.
func (w *world) quiet(since time.Duration) bool {
	return !w.troubled || since > w.troubleEnds+aftermath
}

// cutSome cuts connections for a while: a node from all others, or one direction
// of one link.
func (w *world) cutSome() {
	if len(w.links) == 0 {
		return
	}
	var cut []func(on bool)
	if w.chance(0.6) {
		n := w.anyNode()
		w.notef("cut %s off", n.name)
		for _, l := range w.links {
			if l.ends[0] == n || l.ends[1] == n {
				cut = append(cut, func(on bool) { l.cut = [2]bool{on, on} })
			}
		}
	} else {
		l, end := w.links[w.rng.IntN(len(w.links))], w.rng.IntN(2)
		both := w.chance(0.5)
		w.notef("cut %s>%s both %v", l.ends[end].name, l.ends[1-end].name, both)
		cut = append(cut, func(on bool) {
			l.cut[end] = on
			l.cut[1-end] = on && both
		})
	}
	w.cutFor(w.between(20*time.Millisecond, 6*time.Second), cut)
}

// cutFor cuts connections for a time.
func (w *world) cutFor(d time.Duration, cut []func(on bool)) {
	w.hinder(d)
	for _, f := range cut {
		f(true)
	}
	w.changed()
	w.after(d, func() {
		w.notef("cut ends")
		for _, f := range cut {
			f(false)
		}
		w.changed()
	})
}

// pauseOne stops a process as SIGSTOP does, often for longer than a lease.
func (w *world) pauseOne() { w.pauseThis(w.anyNode()) }

func (w *world) pauseThis(n *node) {
	p := n.proc
	if !n.running() || p.eng == nil {
		return
	}
	d := w.between(20*time.Millisecond, 5*time.Second)
	w.hinder(d)
	n.pause()
	w.after(d, func() {
		if n.proc == p && p.paused {
			n.resume()
		}
	})
}

// slowDown makes a disk or the network slow.
func (w *world) slowDown() {
	d := w.between(100*time.Millisecond, 4*time.Second)
	w.hinder(d)
	if w.chance(0.4) {
		w.slowNet = w.between(10*time.Millisecond, 600*time.Millisecond)
		w.notef("the network is slow: %v", w.slowNet)
		w.after(d, func() { w.slowNet = 0 })
		return
	}
	n := w.anyNode()
	w.notef("the disk of %s is slow", n.name)
	n.slow = true
	w.after(d, func() { n.slow = false })
}

// fillOne fills the disk of a node: it takes no records while it leads.
func (w *world) fillOne() {
	n := w.anyNode()
	w.notef("the disk of %s is full", n.name)
	n.full = true
	w.after(w.between(100*time.Millisecond, 6*time.Second), func() {
		w.notef("the disk of %s has room", n.name)
		n.full = false
	})
}

// moveOne has a group elect another leader, often while appends of the one before,
// or what it says to other nodes, are on their way. At times the one before leads again
// soon, and may never have heard that it did not.
func (w *world) moveOne() {
	g := w.groups[w.rng.IntN(len(w.groups))]
	w.move(g, w.chance(0.4), w.chance(0.5))
}

// move has a group elect another leader. What the one before says comes late, or it
// leads again soon.
func (w *world) move(g *group, late, returns bool) {
	top := g.top()
	if top == nil {
		return
	}
	if g.stuck == nil && !w.healed && w.chance(0.6) {
		g.stick(top.proc)
	}
	lanes := lateLanes[w.rng.IntN(len(lateLanes))]
	if late && returns {
		lanes = lateLanes[w.rng.IntN(2)] // with the control lane
	}
	for _, n := range w.nodes {
		if late && (n == top.node || w.chance(0.6)) {
			w.delay(n, lanes)
		}
	}
	w.after(w.between(time.Microsecond, 300*time.Millisecond), func() {
		w.notef("move shard %d away from %s", g.shard, top.name)
		g.transfer(top.node)
		next := g.top()
		if !returns || next == nil {
			return
		}
		if late { // what nodes say to one finds it in its next epoch
			w.alternate(g, []*replica{top, next}, 2+w.rng.IntN(3))
			return
		}
		w.after(w.between(20*time.Millisecond, 800*time.Millisecond), func() { g.giveBack(top, mostTries) })
	})
}

// alternate has two replicas lead in turn, each for a moment.
func (w *world) alternate(g *group, pair []*replica, times int) {
	w.after(w.between(40*time.Millisecond, 120*time.Millisecond), func() {
		if w.healed || times == 0 {
			return
		}
		g.giveBack(pair[0], mostTries)
		w.alternate(g, []*replica{pair[1], pair[0]}, times-1)
	})
}

// delayMost is by how much words may be late at most: what a leader says to a node and what
// that one reports, both late, are still in time.
const delayMost = 220 * time.Millisecond

// lateLanes are what of a node's words may be late: all, reports and the like alone,
// requests alone, or deliveries alone.
var lateLanes = [][]engine.Lane{
	{engine.LaneControl, engine.LaneSettle, engine.LaneSend, engine.LaneDeliver},
	{engine.LaneControl},
	{engine.LaneSettle, engine.LaneSend},
	{engine.LaneDeliver},
}

// delay has what a node says to others on some lanes arrive late for a while.
func (w *world) delay(n *node, lanes []engine.Lane) {
	var lag [engine.Lanes]time.Duration
	d := w.between(20*time.Millisecond, delayMost)
	for _, ln := range lanes {
		lag[ln] = d
	}
	lasting := w.between(200*time.Millisecond, 1500*time.Millisecond)
	w.notef("what %s says on lanes %v is late by %v for %v", n.name, lanes, d, lasting)
	if lag[engine.LaneControl] > 0 && w.plan.window < reportWindow {
		w.hinder(lasting)
	}
	n.delayed(lag)
	w.after(lasting, func() { n.delayed([engine.Lanes]time.Duration{}) })
}

// reportWindow is the least window that no report has to wait for.
const reportWindow = 64 << 10

func (n *node) delayed(lag [engine.Lanes]time.Duration) {
	for _, l := range n.w.links {
		for end := range l.ends {
			if l.ends[end] == n {
				l.lag[end] = lag
			}
		}
	}
}

// loseSome loses part of the appends for a while.
func (w *world) loseSome() {
	w.lossy = 0.02 + w.rng.Float64()*0.3
	w.notef("appends are lost: %.2f", w.lossy)
	w.after(w.between(100*time.Millisecond, 3*time.Second), func() { w.lossy = 0 })
}

// heal ends all faults.
func (w *world) heal() {
	w.notef("heal")
	w.healed, w.healedAt = true, w.now()
	w.lossy, w.slowNet = 0, 0
	w.troubleEnds = min(w.troubleEnds, w.now())
	for _, g := range w.groups {
		g.unstick(g.stuck)
	}
	for _, l := range w.links {
		l.cut, l.deaf, l.lag = [2]bool{}, [2]int{}, [2][engine.Lanes]time.Duration{}
	}
	for _, n := range w.nodes {
		n.slow, n.full = false, false
		switch {
		case n.proc == nil:
			n.restart()
		case n.proc.paused:
			n.resume()
		}
	}
	w.changed()
	if w.plan.rejects {
		w.rejectSome()
	}
	if w.plan.lateMove {
		w.moveLate()
	}
	w.after(time.Second, w.beKind)
}

// moveLate has the last fault of a run be another leader, under messages that are not
// logged: no other one comes behind and has everybody begin anew.
func (w *world) moveLate() {
	queue := queueName(w.rng.IntN(w.plan.queues))
	w.produce(queue, false, 10, 100)
	w.after(w.between(50*time.Millisecond, 500*time.Millisecond), func() {
		w.move(w.groups[w.shardOf(queue)], true, w.chance(0.2))
	})
}

// rejectSome has the last messages that die in a run do so while shards get other
// leaders: no letter comes behind that would carry along what got stuck.
func (w *world) rejectSome() {
	w.plan.letterStrikes += 2
	queue := queueName(w.rng.IntN(w.plan.queues))
	w.after(w.between(time.Millisecond, 300*time.Millisecond), func() {
		if p := w.anyProcess(); p != nil {
			w.produceAt(p, queue, true, 30, 30)
			c := w.connect(p, "c", queue)
			c.subscribe(false)
			c.picky = true
		}
	})
}

// recovery is how long a cluster may take until everything works again: nodes
// meet and suspect each other, shards get leaders, leaders get reports.
const recovery = 5 * time.Second

// calm reports whether at that time all faults were over for long.
func (w *world) calm(at time.Duration) bool { return w.healed && at > w.healedAt+recovery }
