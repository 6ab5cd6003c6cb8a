package sim_test

import (
	"context"
	"encoding/binary"
	"slices"
	"sync"
	"time"

	"github.com/selvedge-mq/selvedge/routing/engine"
)

// link connects two nodes. What one end sends on a lane arrives in order and
// without loss, late at times, until an end takes the other one for dead: then
// what is under way is lost, and both ends meet anew later.
type link struct {
	w      *world
	ends   [2]*node
	cut    [2]bool     // what an end sends is held up
	deaf   [2]int      // an end is there, and reads nothing: how many faults have it so
	procs  [2]*process // that have met
	conn   int
	broken bool
	gen    int // of broken
	meets  bool
	lag    [2][engine.Lanes]time.Duration // by which what an end sends is late

	mu    sync.Mutex
	up    [2]bool // an end was told that the other one is up
	over  [2]bool // an end has called Reset
	lanes [2][engine.Lanes]*lane
}

// lane is what an end sends.
type lane struct {
	unread  int // bytes that the receiver has not dealt with; link.mu
	blocked bool
	msgs    [][]byte
	moving  bool // its first message is on its way
}

// Start implements engine.Peers.
func (p *process) Start(h engine.PeerHandler) { p.handler = h }

// Self implements engine.Peers.
func (p *process) Self() (node string, session uint64) { return p.name, p.session }

// Send implements engine.Peers.
func (p *process) Send(to string, ln engine.Lane, msg []byte) bool {
	l, end := p.w.link(p.node, p.w.node(to))
	conn, ok := l.take(p, end, ln, len(msg))
	if !ok {
		return false
	}
	msg = slices.Clone(msg)
	from := source{kind: outMessage, node: p.index, to: l.ends[1-end].index, lane: int(ln), shard: shardOf(msg), who: speaker(msg)}
	p.w.emit(from, func() {
		p.w.ledger.sent(p, l.ends[1-end], msg)
		p.when(func() { l.send(conn, end, ln, msg) })
	})
	if !underLock(msg) {
		p.hold()
	}
	return true
}

// take takes bytes of the window of a lane.
func (l *link) take(p *process, end int, ln engine.Lane, n int) (conn int, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.up[end] || l.procs[end] != p || l.over[end] {
		return 0, false
	}
	to := l.lanes[end][ln]
	if to.unread > 0 && to.unread+n > l.w.plan.window {
		to.blocked = true
		return 0, false
	}
	to.unread += n
	return l.conn, true
}

func (l *link) send(conn, end int, ln engine.Lane, msg []byte) {
	if conn != l.conn {
		return
	}
	to := l.lanes[end][ln]
	to.msgs = append(to.msgs, msg)
	l.move(end, ln, l.w.latency()+l.lag[end][ln])
}

// move has the first message of a lane arrive after d.
func (l *link) move(end int, ln engine.Lane, d time.Duration) {
	to, conn := l.lanes[end][ln], l.conn
	if to == nil || to.moving || len(to.msgs) == 0 {
		return
	}
	to.moving = true
	l.w.after(d, func() {
		to.moving = false
		if conn == l.conn && l.open(end) {
			l.arrive(end, ln)
		}
	})
}

// open reports whether what an end sends arrives. The sender may be dead by now.
func (l *link) open(end int) bool {
	to := l.ends[1-end]
	return !l.cut[end] && l.deaf[1-end] == 0 && to.running() && to.proc == l.procs[1-end] && l.up[1-end]
}

func (l *link) arrive(end int, ln engine.Lane) {
	from, to := l.lanes[end][ln], l.procs[1-end]
	msg := from.msgs[0]
	from.msgs = from.msgs[1:]
	l.w.notef("recv %s>%s lane %d verb %d shard %d size %d", l.ends[end].name, to.name, ln, msg[0], shardOf(msg), len(msg))
	l.w.ledger.received(l.ends[end], to, msg)
	to.handler.Receive(l.ends[end].name, ln, msg)
	l.move(end, ln, l.w.between(time.Microsecond, 20*time.Microsecond))
}

// Consumed implements engine.Peers.
func (p *process) Consumed(from string, ln engine.Lane, n int) {
	l, end := p.w.link(p.w.node(from), p.node)
	l.mu.Lock()
	conn := l.conn
	l.mu.Unlock()
	out := source{kind: outConsumed, node: p.index, to: l.ends[end].index, lane: int(ln)}
	p.w.emit(out, func() { p.when(func() { l.consumed(conn, end, ln, n) }) })
}

// consumed brings bytes back to the window of a lane that an end sends on.
func (l *link) consumed(conn, end int, ln engine.Lane, n int) {
	l.w.after(l.w.latency(), func() {
		if conn != l.conn || l.lanes[end][ln] == nil {
			return
		}
		l.mu.Lock()
		to := l.lanes[end][ln]
		to.unread -= n
		open := to.blocked && to.unread <= l.w.plan.window/2
		if open {
			to.blocked = false
		}
		bad := to.unread < 0
		l.mu.Unlock()
		if bad {
			l.w.violated("lane %d of %s to %s: more bytes were given back than taken", ln, l.ends[end].name, l.ends[1-end].name)
		}
		if p := l.procs[end]; open && l.up[end] && p.proc == p {
			p.when(func() {
				l.w.notef("writable %s>%s lane %d", p.name, l.ends[1-end].name, ln)
				p.handler.Writable(l.ends[1-end].name, ln)
			})
		}
	})
}

// Reset implements engine.Peers.
func (p *process) Reset(to string) {
	l, end := p.w.link(p.node, p.w.node(to))
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.up[end] || l.procs[end] != p || l.over[end] {
		return
	}
	l.over[end] = true
	conn := l.conn
	p.w.emit(source{kind: outReset, node: p.index, to: l.ends[1-end].index}, func() {
		p.when(func() {
			if conn == l.conn {
				p.w.resets++
				p.w.hinder(0)
				p.w.notef("reset %s at %s", to, p.name)
				l.down(end)
			}
		})
	})
}

// healthy reports whether both ends can hear each other.
func (l *link) healthy() bool {
	return !l.cut[0] && !l.cut[1] && l.ends[0].running() && l.ends[1].running() &&
		l.ends[0].proc.eng != nil && l.ends[1].proc.eng != nil
}

// reconsider looks at the link after something changed: an end that hears nothing
// suspects the other one after a while; ends that hear each other meet.
func (l *link) reconsider() {
	if l.healthy() {
		if l.broken {
			l.broken = false
			l.gen++
		}
		for end := range l.ends {
			stale := l.up[end] && (l.procs[end] != l.ends[end].proc || l.procs[1-end] != l.ends[1-end].proc)
			if stale || l.up[end] && !l.up[1-end] && !l.meets { // the other one says that it starts anew
				l.later(end, l.w.between(time.Millisecond, 20*time.Millisecond))
			}
			for ln := range engine.Lane(engine.Lanes) {
				l.move(end, ln, l.w.latency())
			}
		}
		l.meet()
		return
	}
	if l.broken {
		return
	}
	l.broken = true
	l.gen++
	for end := range l.ends {
		l.later(end, l.w.between(suspicion, suspicion+suspicion/5))
	}
}

// later takes the other end for dead, unless something changes before.
func (l *link) later(end int, d time.Duration) {
	gen, conn := l.gen, l.conn
	l.w.after(d, func() {
		if gen == l.gen && conn == l.conn {
			l.down(end)
		}
	})
}

// down tells an end that the other one is down.
func (l *link) down(end int) {
	l.mu.Lock()
	was := l.up[end]
	l.up[end] = false
	l.mu.Unlock()
	if !was {
		return
	}
	p, other := l.procs[end], l.procs[1-end]
	p.when(func() {
		l.w.notef("down %s at %s", other.name, p.name)
		l.w.ledger.ends++
		l.w.ledger.downs++
		p.handler.PeerDown(other.name, other.session)
	})
	l.reconsider()
}

// leave is an end's goodbye: the other one knows at once.
func (l *link) leave(end int) {
	l.down(1 - end)
}

// meet connects two ends that hear each other and are both without a connection.
func (l *link) meet() {
	if l.meets || l.up[0] || l.up[1] {
		return
	}
	l.meets = true
	gen := l.gen
	l.w.after(l.w.between(time.Millisecond, 60*time.Millisecond), func() {
		l.meets = false
		if gen != l.gen || !l.healthy() || l.up[0] || l.up[1] {
			l.reconsider()
			return
		}
		l.mu.Lock()
		l.conn++
		l.over = [2]bool{}
		for end, n := range l.ends {
			l.procs[end] = n.proc
			for ln := range l.lanes[end] {
				l.lanes[end][ln] = &lane{}
			}
		}
		l.mu.Unlock()
		l.raise(l.w.rng.IntN(2), true)
	})
}

// raise tells an end that the other one is up, then the other one.
func (l *link) raise(end int, first bool) {
	p, other := l.procs[end], l.procs[1-end]
	if p.proc != p { // it died just now
		l.reconsider()
		return
	}
	l.mu.Lock()
	l.up[end] = true
	l.mu.Unlock()
	p.when(func() {
		l.w.notef("up %s at %s", other.name, p.name)
		p.handler.PeerUp(other.name, other.session)
	})
	for ln := range engine.Lane(engine.Lanes) {
		l.move(1-end, ln, l.w.latency())
	}
	if !first {
		return
	}
	conn := l.conn
	l.meets = true
	l.w.after(l.w.between(100*time.Microsecond, 3*time.Millisecond), func() {
		l.meets = false
		if conn == l.conn && l.up[end] && l.healthy() {
			l.raise(1-end, false)
			return
		}
		l.reconsider()
	})
}

// Ask implements engine.Peers.
func (p *process) Ask(ctx context.Context, to, method string, req []byte) ([]byte, error) {
	other := p.w.node(to).proc
	if other == nil || other.gone() || p.gone() {
		return nil, errGone
	}
	return other.handler.Answer(ctx, p.name, method, req)
}

// What the simulation knows of messages between nodes: the octet that says what
// a message is, then its shard and epoch.
const (
	verbPing     = 1
	verbPong     = 2
	verbReport   = 3
	verbWelcome  = 4
	verbOpened   = 6
	verbClosed   = 11
	verbConfirm  = 12
	verbDeliver  = 15
	verbInterest = 16
	verbHeard    = 17
	verbTopic    = 18

	verbExpect       = 20
	verbConfirmGuest = 22
	verbFull         = 23
	verbRefuse       = 24
)

func shardOf(msg []byte) int    { return int(binary.BigEndian.Uint16(msg[1:])) }
func epochOf(msg []byte) uint32 { return binary.BigEndian.Uint32(msg[3:]) }
func number(msg []byte) uint64  { return binary.BigEndian.Uint64(msg[7:]) }

// speaker tells the goroutines apart that send messages of a shard.
func speaker(msg []byte) int {
	switch msg[0] {
	case verbPing, verbWelcome, verbOpened, verbClosed, verbConfirm, verbExpect, verbConfirmGuest, verbFull, verbRefuse:
		return 1 // a leader
	case verbInterest, verbHeard, verbTopic:
		return 2 // the hub
	default:
		return 0
	}
}

// underLock reports whether an engine holds a lock while it sends such a message:
// a goroutine that stops there would hinder virtual time.
func underLock(msg []byte) bool {
	switch msg[0] {
	case verbWelcome, verbOpened, verbClosed, verbConfirm, verbInterest, verbHeard, verbExpect, verbConfirmGuest, verbRefuse:
		return true
	default:
		return false
	}
}
