package sim_test

import (
	"slices"
	"time"
)

// leaseID names the lease of a leader.
type leaseID struct {
	shard int
	epoch uint32
}

// leaseView is a lease as it is seen from outside: heartbeats that were sent,
// and the answers that arrived.
type leaseView struct {
	sent   map[uint64]time.Duration
	heard  map[string]uint64
	latest uint64
}

func (l *ledger) lease(shard int, epoch uint32) *leaseView {
	id := leaseID{shard, epoch}
	v := l.leases[id]
	if v == nil {
		v = &leaseView{sent: map[uint64]time.Duration{}, heard: map[string]uint64{}}
		l.leases[id] = v
	}
	return v
}

// sent looks at what a process sends to another node.
func (l *ledger) sent(p *process, to *node, msg []byte) {
	if p.proc != p {
		return
	}
	switch msg[0] {
	case verbPing:
		v := l.lease(shardOf(msg), epochOf(msg))
		n := number(msg)
		if _, ok := v.sent[n]; !ok {
			v.sent[n] = l.w.now()
			v.latest = max(v.latest, n)
			v.heard[p.name] = v.latest
		}
	case verbDeliver:
		for _, at := range marks(msg) {
			l.handover(p, to.name, shardOf(msg), epochOf(msg), at.id)
		}
	}
}

// received looks at what arrives at a process.
func (l *ledger) received(from *node, _ *process, msg []byte) {
	if msg[0] == verbPong {
		v := l.lease(shardOf(msg), epochOf(msg))
		v.heard[from.name] = max(v.heard[from.name], number(msg))
	}
}

// checkLease has a leader hand out only while a majority of the shard's replicas
// has answered a heartbeat that is younger than the lease.
func (l *ledger) checkLease(p *process, shard int, epoch uint32, m *message) {
	g := l.w.groups[shard]
	if len(g.replicas) == 1 {
		return
	}
	v := l.lease(shard, epoch)
	var heard []uint64
	for _, r := range g.replicas {
		heard = append(heard, v.heard[r.name])
	}
	slices.Sort(heard)
	at, ok := v.sent[heard[(len(heard)-1)/2]]
	if age := l.w.now() - at; !ok || age >= lease {
		l.w.violated("%v: handed out by %s in epoch %d without a lease (its age is %v)", m, p.name, epoch, age)
	}
}
