package sim_test

import (
	"bytes"
	"encoding/binary"
	"time"
)

// soonest and latest are when a strike comes after a step was committed: the log
// answers in between, and others hear of it.
const (
	soonest = time.Nanosecond
	latest  = 300 * time.Microsecond
)

// strike has something go wrong at the very moment at which a step of a transaction
// over several shards is in the log of one of them, and others have not heard of it. What
// a leader or a client's node that is gone has left behind is met once more, later.
func (w *world) strike(g *group, said *word, rec []byte) {
	id := said.id
	client, leader := w.nodeOf(id.session), g.top()
	t, likely, how := w.ledger.byID[id], 0.1, w.rng.IntN(6)
	doomed := false
	if said.kind == entryPrepare && (t == nil || t.doomed) {
		if by := w.ledger.pinning(g, rec); by != nil && by.doomed {
			t, doomed = by, true
		}
	}
	if doomed { // its part has to be given up by a leader that did not take it
		likely, how = 0.9, 1
	}
	if w.healed || w.plan.strikes == 0 || client == nil || leader == nil || !w.chance(likely) {
		return
	}
	w.plan.strikes--
	w.after(w.between(soonest, latest), func() {
		if w.healed {
			return
		}
		w.notef("strike %d at transaction %x in shard %d", how, id, g.shard)
		switch how {
		case 0:
			w.crashThis(client)
			w.crashThis(leader.node)
		case 1, 2:
			if doomed && g.stuck == nil && leader.proc != nil {
				g.stick(leader.proc) // or the one that took it would log its end too
			}
			g.transfer(leader.node)
		default:
			w.part(client, leader.node)
		}
	})
	w.after(w.between(time.Millisecond, 4*time.Second), func() { w.strikeAgain(g, t) })
}

// pinning returns a transaction whose commit is under way and whose part in a record
// settles something that is persistent, nil if there is none.
func (l *ledger) pinning(g *group, rec []byte) *txn {
	for _, t := range l.txns {
		if t.state != txAsked {
			continue
		}
		for _, s := range t.settles {
			if int(s.d.Tag.Shard) == g.shard && s.d.m.persistent && bytes.Contains(rec, binary.BigEndian.AppendUint64(nil, s.d.Tag.Key)) {
				return t
			}
		}
	}
	return nil
}

// part cuts two nodes off from each other for so long that both take the other one for
// dead.
func (w *world) part(a, b *node) {
	if l, _ := w.link(a, b); l != nil {
		w.cutFor(w.between(suspicion, 3*suspicion), []func(on bool){func(on bool) { l.cut = [2]bool{on, on} }})
	}
}

// strikeAgain has the leader of a shard go that a transaction may wait in, or its client
// end its subscription.
func (w *world) strikeAgain(g *group, t *txn) {
	top := g.top()
	if w.healed || top == nil {
		return
	}
	switch w.rng.IntN(4) {
	case 0:
		w.notef("strike again in shard %d", g.shard)
		g.transfer(top.node)
	case 1:
		w.notef("strike again in shard %d", g.shard)
		w.crashThis(top.node)
	case 2:
		if t != nil && t.state == txAsked && t.client.consumer != nil {
			t.client.finish()
		}
	default:
	}
}

// strikeLetter has the leader of a shard go at the very moment at which a dead letter of
// it is in the log of another shard.
func (w *world) strikeLetter(g *group, m *message) {
	if w.calm(w.now()) || w.plan.letterStrikes == 0 || !m.committed || m.rejects+m.fails == 0 || w.shardOf(m.queue) == g.shard || !w.chance(0.3) {
		return
	}
	w.plan.letterStrikes--
	from, crashes := w.groups[w.shardOf(m.queue)], !w.healed && w.chance(0.3)
	w.after(w.between(soonest, latest), func() {
		top := from.top()
		if top == nil {
			return
		}
		w.notef("strike at the dead letters of shard %d", from.shard)
		if crashes {
			w.crashThis(top.node)
			return
		}
		from.transfer(top.node)
	})
}

// strikeImport kills an import at the very moment at which a message of it is in a log,
// most often the last one.
func (w *world) strikeImport(m *message, fresh bool) {
	if w.healed || w.plan.importStrikes == 0 || m.producer.session != nil || !fresh {
		return
	}
	likely := 0.05
	if w.folder.brought() {
		likely = 0.7
	}
	if !w.chance(likely) {
		return
	}
	w.plan.importStrikes--
	w.after(w.between(soonest, latest), func() {
		if !w.healed {
			w.notef("strike at the import")
			w.crashThis(w.node(importerName))
		}
	})
}

// nodeOf returns the node whose process has a session, nil if it is gone.
func (w *world) nodeOf(session uint64) *node {
	for _, n := range w.nodes {
		if n.proc != nil && n.proc.session == session {
			return n
		}
	}
	return nil
}
