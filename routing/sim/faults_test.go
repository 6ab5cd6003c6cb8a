package sim_test

import (
	"context"
	"time"
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

// hinder notes that nodes are slow or out of reach from now on: a leader that takes
// over meanwhile may not wait for their reports, and counts the attempts there as
// failed.
func (w *world) hinder() {
	w.troubled = true
	w.ledger.ends++
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
	w.hinder()
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
	w.hinder()
	n.pause()
	w.after(w.between(20*time.Millisecond, 5*time.Second), func() {
		if n.proc == p && p.paused {
			n.resume()
		}
	})
}

// slowDown makes a disk or the network slow.
func (w *world) slowDown() {
	w.hinder()
	if w.chance(0.4) {
		w.slowNet = w.between(10*time.Millisecond, 600*time.Millisecond)
		w.notef("the network is slow: %v", w.slowNet)
		w.after(w.between(100*time.Millisecond, 4*time.Second), func() { w.slowNet = 0 })
		return
	}
	n := w.anyNode()
	w.notef("the disk of %s is slow", n.name)
	n.slow = true
	w.after(w.between(100*time.Millisecond, 4*time.Second), func() { n.slow = false })
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

// moveOne has a group elect another leader, often while appends of the one before
// are on their way.
func (w *world) moveOne() {
	g := w.groups[w.rng.IntN(len(w.groups))]
	top := g.top()
	if top == nil {
		return
	}
	if g.stuck == nil && w.chance(0.6) {
		g.stick(top.proc)
	}
	w.after(w.between(time.Microsecond, 300*time.Millisecond), func() {
		w.notef("move shard %d away from %s", g.shard, top.name)
		g.transfer(top.node)
	})
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
	for _, l := range w.links {
		l.cut, l.deaf = [2]bool{}, [2]int{}
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
	w.after(time.Second, w.beKind)
}

// recovery is how long a cluster may take until everything works again: nodes
// meet and suspect each other, shards get leaders, leaders get reports.
const recovery = 5 * time.Second

// calm reports whether at that time all faults were over for long.
func (w *world) calm(at time.Duration) bool { return w.healed && at > w.healedAt+recovery }
