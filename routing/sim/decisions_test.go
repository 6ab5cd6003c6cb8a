package sim_test

import (
	"bytes"
	"encoding/binary"
	"slices"
	"testing"
)

// What the simulation knows of entries about transactions: the octet that says
// what it is, then the session of the node that commits and the number that the
// node gave the transaction. Sessions begin with a mark, so that they are found in
// whatever carries them.
const (
	entrySettle   = 4
	entryRewrite  = 9
	entryPrepare  = 16
	entryFinish   = 17
	entryDecision = 18
	entryEnd      = 19

	causeAccepted = 1 // of a settle

	sessionMark = 0x5e1fed9e
)

// txID names a transaction in the logs.
type txID struct{ session, number uint64 }

// partID names the part of a transaction in a shard.
type partID struct {
	txID
	shard int
}

// word is what an entry says of a transaction.
type word struct {
	at     int // where it begins in the record
	kind   byte
	id     txID
	commit bool // of a decision and a finish
}

// words returns what a record says of transactions, in its order.
func words(rec []byte) []word {
	var out []word
	mark := binary.BigEndian.AppendUint32(nil, sessionMark)
	for from := recHeader; ; {
		i := bytes.Index(rec[from:], mark)
		if i < 0 || from+i+8 >= len(rec) {
			return out
		}
		at := from + i
		from = at + len(mark)
		kind := rec[at-1]
		number, n := binary.Uvarint(rec[at+8:])
		if kind < entryPrepare || kind > entryEnd || n <= 0 || at+8+n >= len(rec) || isAttempt(rec, at) {
			continue
		}
		out = append(out, word{
			at: at, kind: kind, id: txID{session: binary.BigEndian.Uint64(rec[at:]), number: number}, commit: rec[at+8+n] != 0,
		})
	}
}

// isAttempt reports whether a session is that of an attempt, in an entry that moved a
// message to the tail: the octet before it is the number of failed ones then, and may
// be any. Before that are the flags, the number of the queue and the key, which begins
// with the epoch: that has two octets here, of four. Two settlements before a part may
// look like the rest.
func isAttempt(rec []byte, at int) bool {
	const back, flagAttempt = 12, 1 << 4
	return at-back >= recHeader && rec[at-back] == entryRewrite && rec[at-back+1] == 0 && rec[at-back+2] == 0 &&
		rec[at-2]&flagAttempt != 0
}

// The key of the settlement before the last one ends in what begins the entry of an
// attempt, that of the last one in its flags.
func TestWords_APartBehindSettlements(t *testing.T) {
	settled := func(number byte) []byte { return []byte{entrySettle, causeAccepted, 0, 0, 2, 0, 0, 0, 0, number} }
	rec := slices.Concat(make([]byte, recHeader), settled(entryRewrite), settled(1<<4),
		[]byte{entryPrepare}, binary.BigEndian.AppendUint64(nil, sessionMark<<32), []byte{5, 0, 1, 'c'})
	if got := words(rec); len(got) != 1 || got[0].kind != entryPrepare || got[0].id.number != 5 {
		t.Errorf("got %+v, want the part of transaction 5", got)
	}
}

// logged takes in a record that counts: the messages in it, and what it says of
// transactions.
func (l *ledger) logged(g *group, rec []byte) {
	said := words(rec)
	for _, at := range marks(rec) {
		m := l.messages[at.id]
		switch t := m.txn; {
		case m.topic:
			l.w.violated("%v: it is in a log", m)
		case t == nil:
			l.w.strikeLetter(g, m)
			fresh := !m.committed
			m.committed = true
			l.w.strikeImport(m, fresh)
		case m.logged: // it was moved to the tail
		case len(t.shards) == 1:
			l.oneRecord(g, t, rec)
		default:
			l.prepared(m, said, at.pos)
		}
	}
	for i := range said {
		l.word(g, &said[i], rec)
		l.w.strike(g, &said[i], rec)
	}
}

// oneRecord judges a transaction in one shard: all of it stands in one record.
func (l *ledger) oneRecord(g *group, t *txn, rec []byte) {
	l.mayTakeEffect(t)
	ids := marks(rec)
	for _, m := range t.sends {
		if m.topic || m.refused {
			continue
		}
		if m.logged = slices.ContainsFunc(ids, func(at mark) bool { return at.id == m.id }); !m.logged {
			l.w.violated("%v: a part of it is in a record without message %d", t, m.id)
		}
	}
	l.settledIn(g, t, rec)
	l.takesEffect(t)
}

// prepared notes that a message of a transaction over several shards stands in a
// part of it: the one that begins last before its place.
func (l *ledger) prepared(m *message, said []word, pos int) {
	t := m.txn
	l.mayTakeEffect(t)
	var part *word
	for i := range said {
		if said[i].at < pos {
			part = &said[i]
		}
	}
	if part == nil || part.kind != entryPrepare {
		l.w.violated("%v: message %d is in a log outside of a part", t, m.id)
		return
	}
	if t.id != (txID{}) && t.id != part.id {
		l.w.violated("%v: it is prepared twice, as %x and %x", t, t.id, part.id)
	}
	t.id = part.id
	l.byID[t.id] = t
	m.logged = true
}

// mayTakeEffect has nothing of a transaction in a log before its commit was asked
// for, nor after it was answered that nothing took effect.
func (l *ledger) mayTakeEffect(t *txn) {
	if t.state == txOpen || t.state == txVoid {
		l.w.violated("%v: it is in a log", t)
	}
}

// word takes in what an entry says of a transaction.
func (l *ledger) word(g *group, w *word, rec []byte) {
	part := partID{txID: w.id, shard: g.shard}
	commits, decided := l.decisions[w.id]
	t := l.byID[w.id]
	switch w.kind {
	case entryPrepare:
		l.parts[part] = true
	case entryDecision:
		if decided && commits != w.commit {
			l.w.violated("transaction %x: decided both ways", w.id)
		}
		l.decisions[w.id] = w.commit
		if w.commit {
			l.commits[w.id] = true
			if l.dropped[w.id] {
				l.w.violated("transaction %x: its commit is in a log, and a part of it was dropped before", w.id)
			}
		}
		if w.commit && t != nil && !t.decided {
			l.decided(t)
		}
	case entryFinish:
		delete(l.parts, part)
		l.dropped[w.id] = l.dropped[w.id] || !w.commit
		if w.commit && !commits {
			l.w.violated("transaction %x: carried out in shard %d, and its commit is in no log", w.id, g.shard)
		}
		if !w.commit && commits {
			l.w.violated("transaction %x: dropped in shard %d, and its commit is in a log", w.id, g.shard)
		}
		if w.commit && t != nil {
			l.settledIn(g, t, rec)
		}
	case entryEnd:
		delete(l.commits, w.id)
	}
}

// decided judges the commit of a transaction over several shards.
func (l *ledger) decided(t *txn) {
	l.mayTakeEffect(t)
	for _, m := range t.sends {
		if !m.topic && !m.refused && !m.logged {
			l.w.violated("%v: its commit is in a log, and message %d in none", t, m.id)
		}
	}
	l.takesEffect(t)
}

// settledIn has a record that carries a transaction out settle what the transaction
// accepts in that shard.
func (l *ledger) settledIn(g *group, t *txn, rec []byte) {
	for _, s := range t.settles {
		if int(s.d.Tag.Shard) != g.shard || s.outcome.Kind != accepted || !s.d.m.persistent || s.d.m.temp != nil {
			continue
		}
		settle := binary.BigEndian.AppendUint64([]byte{entrySettle, causeAccepted}, s.d.Tag.Key)
		if !bytes.Contains(rec, settle) {
			l.w.violated("%v: it takes effect in shard %d, and %v is not settled there", t, g.shard, s.d.m)
		}
	}
}

// takesEffect notes that a transaction has committed, whatever its client is told.
func (l *ledger) takesEffect(t *txn) {
	t.decided = true
	t.letGo()
	for _, m := range t.sends {
		m.committed = m.committed || m.logged
	}
	for _, s := range t.settles {
		m, epoch := s.d.m, l.w.groups[s.d.Tag.Shard].truth.epoch
		if !m.persistent {
			continue
		}
		m.over = true
		switch {
		case s.outcome.Kind == accepted:
			if m.accepted {
				l.w.violated("%v: accepted twice, by %v the last time", m, t)
			}
			l.accept(t.client, s.d, epoch)
		case s.outcome.Kind == rejected:
			m.rejected = true
		case s.outcome.DeliveryFailed:
			l.failedAttempt(s.d, epoch)
		}
	}
}
