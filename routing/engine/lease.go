package engine

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"
)

// lease says how long a leader may act on its own word. It is renewed by the
// answers of a majority of the shard's replica nodes to its heartbeats, and
// counts from the moment at which the heartbeat was sent.
//
// A node that answers may have answered another leader just before, or may have
// answered one of a later epoch before it was started anew. So a lease that is new,
// or has run out, is only held when all replica nodes have answered, or when a majority
// has answered for the time of a lease, and was never silent for as long: whatever lease
// these nodes gave to others is over by then, and a node that has heard of a
// later epoch meanwhile does not answer.
type lease struct {
	e     *Engine
	shard int

	mu       sync.Mutex
	replicas []string
	sent     map[uint64]time.Time // by number of the heartbeat, not older than a lease
	number   uint64
	answered map[string]uint64 // by node, the latest number answered
	first    time.Time         // since when a majority answers, at the earliest since the lease began or ran out; zero: it does not
	until    time.Time         // zero: it never was held, or has run out
	alone    bool
}

func (l *lease) begin(e *Engine, shard int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.e, l.shard = e, shard
	l.sent, l.answered = map[uint64]time.Time{}, map[string]uint64{}
	l.first, l.until = time.Time{}, time.Time{}
	l.refresh()
}

// refresh asks again which nodes hold the log: placement may change.
func (l *lease) refresh() {
	if now := l.e.opts.Fabric.Replicas(l.shard); len(now) > 0 {
		l.replicas = now
	}
	l.alone = len(l.replicas) == 1 && l.replicas[0] == l.e.node
}

// next returns the number of the next heartbeat.
func (l *lease) next(now time.Time) uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.refresh()
	for n, at := range l.sent { // an answer to these comes too late
		if now.Sub(at) >= l.e.opts.Lease {
			delete(l.sent, n)
		}
	}
	if _, ok := l.answeredBy(l.majority()); !ok {
		l.first = time.Time{}
	}
	l.number++
	l.sent[l.number] = now
	l.answer(l.e.node, l.number, now)
	return l.number
}

// pong takes a node's answer in.
func (l *lease) pong(node string, number uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.answer(node, number, time.Now())
}

func (l *lease) answer(node string, number uint64, now time.Time) {
	l.answered[node] = max(l.answered[node], number)
	if !l.until.IsZero() && !now.Before(l.until) {
		l.first, l.until = time.Time{}, time.Time{}
	}
	if at, ok := l.answeredBy(len(l.replicas)); ok {
		l.extend(at, now)
	}
	at, ok := l.answeredBy(l.majority())
	switch {
	case !ok:
	case !l.until.IsZero(), !l.first.IsZero() && at.Sub(l.first) >= l.e.opts.Lease:
		l.extend(at, now)
	case l.first.IsZero():
		l.first = now
	}
}

func (l *lease) majority() int { return len(l.replicas)/2 + 1 }

// answeredBy returns when the latest heartbeat was sent that so many replica nodes
// have answered, itself or a later one. It is false when that is longer ago than a lease.
func (l *lease) answeredBy(count int) (time.Time, bool) {
	numbers := make([]uint64, 0, 8)
	for _, r := range l.replicas {
		numbers = append(numbers, l.answered[r])
	}
	slices.Sort(numbers)
	if len(numbers) < count {
		return time.Time{}, false
	}
	at, ok := l.sent[numbers[len(numbers)-count]]
	return at, ok
}

// extend has the lease last from the moment at which a heartbeat was sent.
func (l *lease) extend(at, now time.Time) {
	if until := at.Add(l.e.opts.Lease); until.After(now) && until.After(l.until) {
		l.until = until
	}
}

// held reports whether the leader may dispatch.
func (l *lease) held(now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.alone || now.Before(l.until)
}

// eager is the number of appends that may be under way whatever their size: a
// log with replicas has a round trip to fill.
func (l *lease) eager() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.alone {
		return 1
	}
	return 2
}

// ping tells every node who leads the shard, and asks for the lease.
func (l *leader) ping() {
	number := l.lease.next(time.Now())
	msg := binary.BigEndian.AppendUint64(head{verb: verbPing, shard: l.shard, epoch: l.epoch}.append(nil), number)
	if l.refutes > 0 {
		msg = binary.BigEndian.AppendUint32(msg, l.refutes)
	}
	for _, node := range l.e.up() {
		l.e.opts.Peers.Send(node, LaneControl, msg)
	}
	p, epoch, refutes := l.e.portals[l.shard], l.epoch, l.refutes
	p.box.Put(func() { p.announce(l.e.node, epoch, refutes) })
}

// errDeposed says that another node leads the shard in a later epoch.
var errDeposed = errors.New("another node leads the shard in a later epoch")

// depose ends a leader that hears of a later epoch: nothing is confirmed or
// handed out any more, whatever the fabric and the lease say. [invariant 2]
func (l *leader) depose(by string, epoch uint32) {
	if epoch > l.epoch && epoch != l.refutes {
		l.heard = epoch
		l.fail(fmt.Errorf("epoch %d of node %s: %w", epoch, by, errDeposed))
	}
}

// farEpoch is how far above the log's an epoch must be that a leader refutes. It begins
// its own, one after the other, to get beyond a lower one: that takes seconds or minutes,
// and no log comes so far while a leader of a former epoch is still heard.
const farEpoch = 1 << 10

// refute finds out whether the epoch is in no log that ended the leader before in this
// process. An epoch is told to others when its record is in the log, and each one is one
// greater than the one before: so one that was heard of before this leader's record was
// appended, and is greater, never was in the log. Whoever spoke of it first has damaged
// memory, or is mistaken. The nodes that have heard of it would follow nobody else: the
// heartbeats tell them. (docs/adr/0007-a-lease-by-heartbeats.md)
func (l *leader) refute() {
	if l.former < l.epoch || l.former-l.epoch < farEpoch {
		return
	}
	l.refutes = l.former
	l.e.metrics.falseEpochs.Inc()
	l.zl.Error().Uint32("heard", l.former).Uint32("epoch", l.epoch).
		Msg("nodes have heard of an epoch that is in no log, and are told so: each says in its log whose word it was")
}

// heardOf has this node's leader of the shard, if there is one, compare its epoch
// with one that a message carries.
func (e *Engine) heardOf(n int, from string, epoch uint32) {
	if l := e.leaderOf(n); l != nil && l.epoch < epoch {
		l.box.Put(func() { l.depose(from, epoch) })
	}
}

// otherLeads reports whether another node's leader of the shard was heard within
// the time of a lease.
func (p *portal) otherLeads(now time.Time) bool {
	at := p.heard.Load()
	return at != nil && now.Sub(*at) < p.e.opts.Lease
}

// up returns the other nodes that can be reached, by name.
func (e *Engine) up() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Sorted(maps.Keys(e.peers))
}
