package sim_test

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/selvedge-mq/selvedge/routing/engine"
)

// node is a machine: it has a name and disks, and a process when it runs.
type node struct {
	w      *world
	index  int
	name   string
	proc   *process // nil when it is down
	slow   bool     // its disk is slow
	full   bool     // its disk is full
	cycles int

	folder  *oldFolder // it is there for its import alone
	retired bool       // it ended for good
}

func (n *node) running() bool { return n.proc != nil && !n.proc.paused }

// process is one life of a node: an engine and what it sees of the world. It
// implements engine.Fabric and engine.Peers.
type process struct {
	*node
	session uint64
	eng     *engine.Engine
	handler engine.PeerHandler
	logs    []*shardLog
	tells   chan engine.Leadership
	told    []bool   // by shard
	waiting []func() // what happens to it when it goes on

	paused bool // of the scheduler alone
	waking bool // it goes on, and has not yet got what came to it

	awoke time.Duration // when it went on last, 0 if it never stood still

	atEnd []context.CancelFunc // of what goroutines of the simulation do in it

	mu     sync.Mutex
	dead   bool
	frozen chan struct{} // closed when the process goes on; nil while it runs
}

var (
	_ engine.Fabric = (*process)(nil)
	_ engine.Peers  = (*process)(nil)

	_ engine.Departures = (*process)(nil)
)

// start begins a process of the node.
func (n *node) start() {
	n.cycles++
	p := &process{node: n, session: n.newSession(), tells: make(chan engine.Leadership, 1<<12), told: make([]bool, n.w.plan.shards)}
	for i := range n.w.plan.shards {
		p.logs = append(p.logs, &shardLog{p: p, shard: i})
	}
	n.proc = p
	n.w.notef("start %s session %d", n.name, p.session)
	n.w.changed()
}

// newSession draws the session of a process; an import has always the same one.
func (n *node) newSession() uint64 {
	if n.folder != nil {
		return n.folder.session
	}
	return sessionMark<<32 | uint64(n.w.rng.Uint32())
}

// serve starts the engine of a process.
func (p *process) serve() {
	eng, err := engine.New(p.w.options(p))
	if err != nil {
		p.w.violated("node %s: %v", p.name, err)
		return
	}
	p.eng = eng
	p.w.changed()
	if p.folder != nil {
		p.copyFolder()
	}
}

// crash ends a process between two instants: nothing of it happens any more.
// What its disk had not taken may be lost.
func (n *node) crash(power bool) {
	p := n.proc
	n.w.notef("crash %s power %v", n.name, power)
	p.mu.Lock()
	p.dead = true
	p.mu.Unlock()
	p.thaw()
	n.proc = nil
	for _, g := range n.w.groups {
		g.crashed(n, power)
	}
	for _, c := range n.w.clients {
		c.nodeDied(p)
	}
	n.w.ledger.ended(p)
	for _, stop := range p.atEnd {
		stop()
	}
	if p.eng != nil {
		p.eng.Close()
	}
	close(p.tells)
	n.w.changed()
}

// pause stops the process: its goroutines stop at the next thing they do to
// others, and nothing reaches it.
func (n *node) pause() {
	p := n.proc
	n.w.notef("pause %s", n.name)
	p.paused = true
	p.mu.Lock()
	p.frozen = make(chan struct{})
	p.mu.Unlock()
	n.w.changed()
}

// resume lets a paused process go on; what came to it meanwhile comes now, one
// thing after the other.
func (n *node) resume() {
	p := n.proc
	if p.waking {
		return
	}
	n.w.notef("resume %s", n.name)
	p.waking = true
	p.thaw()
	n.w.after(time.Microsecond, p.wake)
}

func (p *process) wake() {
	if p.proc != p {
		return
	}
	if len(p.waiting) == 0 {
		p.paused, p.waking, p.awoke = false, false, p.w.now()
		p.w.notef("awake %s", p.name)
		p.w.changed()
		return
	}
	f := p.waiting[0]
	p.waiting = p.waiting[1:]
	f()
	p.w.after(p.w.between(500*time.Nanosecond, 3*time.Microsecond), p.wake)
}

// stoodStill reports whether the process has gone on just now: its clients may get
// what it was sent before it stood still, and what is over by now.
func (p *process) stoodStill() bool {
	return p.waking || p.awoke > 0 && p.w.now()-p.awoke < 100*time.Millisecond
}

func (p *process) thaw() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.frozen != nil {
		close(p.frozen)
		p.frozen = nil
	}
}

// hold stops the calling goroutine while the process is paused.
func (p *process) hold() {
	p.mu.Lock()
	frozen := p.frozen
	p.mu.Unlock()
	if frozen != nil {
		<-frozen
	}
}

func (p *process) gone() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.dead
}

// when has f run now, or as soon as the process goes on, or never.
func (p *process) when(f func()) {
	switch {
	case p.proc != p:
	case p.paused:
		p.waiting = append(p.waiting, f)
	default:
		f()
	}
}

// Shards implements engine.Fabric.
func (p *process) Shards() int { return p.w.plan.shards }

// Log implements engine.Fabric.
func (p *process) Log(shard int) engine.Log { return p.logs[shard] }

// Leadership implements engine.Fabric.
func (p *process) Leadership() <-chan engine.Leadership { return p.tells }

// Replicas implements engine.Fabric.
func (p *process) Replicas(shard int) []string {
	var names []string
	for _, r := range p.w.groups[shard].replicas {
		names = append(names, r.name)
	}
	return names
}

// Left implements engine.Departures.
func (p *process) Left(_ string, session uint64) bool { return p.w.left.has(session) }

// departures are the sessions of processes that said goodbye.
type departures struct {
	mu   sync.Mutex
	gone map[uint64]bool
}

func (d *departures) add(session uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.gone == nil {
		d.gone = map[uint64]bool{}
	}
	d.gone[session] = true
}

func (d *departures) has(session uint64) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.gone[session]
}

var errGone = errors.New("sim: the process is gone")

// Resign implements engine.Fabric.
func (p *process) Resign(_ context.Context, shard int) error {
	if p.gone() {
		return errGone
	}
	p.w.emit(source{kind: outCall, node: p.index, shard: shard}, func() { p.w.groups[shard].resign(p.node, mostTries) })
	return nil
}

// tell reports to the engine whether its node leads a shard.
func (p *process) tell(shard int, leads bool) {
	p.when(func() {
		if p.told[shard] == leads {
			return
		}
		p.told[shard] = leads
		p.w.notef("tell %s shard %d leads %v", p.name, shard, leads)
		p.tells <- engine.Leadership{Shard: shard, Leads: leads}
	})
}
