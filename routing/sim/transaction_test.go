package sim_test

import (
	"fmt"
	"hash/fnv"
	"slices"
	"time"

	"github.com/selvedge-mq/selvedge/routing"
)

const (
	accepted = routing.Accepted
	rejected = routing.Rejected
)

// txn is a transaction of a client: what it has asked for, what it was told, and
// what the logs say.
type txn struct {
	number  int
	client  *client
	handle  routing.Transaction
	sends   []*message
	settles []*txSettle
	asked   int // sends without an answer
	state   txState
	at      time.Duration // of its commit
	shards  map[int]bool  // where it does something; known from its commit on
	id      txID          // if it is in several shards, known when a part is in a log
	decided bool          // it has taken effect
	doomed  bool          // it sends to nobody
}

// txState is what a client knows of its transaction.
type txState int

const (
	txOpen txState = iota
	txAsked
	txCommitted
	txUnknown // it will never hear the end
	txVoid    // nothing of it may take effect
)

// txSettle is the end of a delivery that a transaction asks for.
type txSettle struct {
	d       *delivery
	outcome routing.Outcome
}

func (t *txn) String() string {
	return fmt.Sprintf("transaction %d of %s (%d sends, %d settlements)", t.number, t.client.name, len(t.sends), len(t.settles))
}

// shardOf returns the shard in which a queue lives: a hash, as for the engine.
func (w *world) shardOf(a routing.Address) int {
	h := fnv.New64a()
	_, _ = h.Write([]byte{byte(a.Kind)})
	_, _ = h.Write([]byte(a.Name))
	return int(h.Sum64() % uint64(w.plan.shards))
}

// begin notes a transaction.
func (l *ledger) begin(c *client) *txn {
	t := &txn{number: len(l.txns), client: c, handle: c.session.Begin(), shards: map[int]bool{}}
	l.txns = append(l.txns, t)
	return t
}

// held judges the answer to a send in a transaction.
func (l *ledger) held(m *message, err error) {
	m.txn.asked--
	m.refused = err != nil
	switch routing.CodeOf(err) {
	case routing.CodeOK:
	case routing.CodeFull:
		if l.w.calm(m.at) {
			l.w.violated("%v: its transaction refuses it though nothing is wrong: %v", m, err)
		}
	default:
		l.w.violated("%v: its transaction refuses it: %v", m, err)
	}
}

// asks notes that the commit of a transaction is asked for.
func (l *ledger) asks(t *txn) {
	t.state, t.at = txAsked, l.w.now()
	for _, m := range t.sends {
		if !m.topic && !m.refused {
			t.shards[l.w.shardOf(m.queue)] = true
		}
	}
	for _, s := range t.settles {
		t.shards[int(s.d.Tag.Shard)] = true
	}
	if !t.isLogged() { // nobody will see when it takes effect
		t.letGo()
	}
	l.w.aim(t)
}

// letGo notes that the client does not have what the transaction settles in flight
// any more.
func (t *txn) letGo() {
	for _, s := range t.settles {
		s.d.m.letGo(t.client)
	}
}

// answered judges the answer to a commit.
func (l *ledger) answered(t *txn, err error) {
	switch code := routing.CodeOf(err); code {
	case routing.CodeOK:
		l.committed(t)
	case routing.CodeTimeout, routing.CodeUnavailable:
		if t.state = txUnknown; l.w.calm(t.at) {
			l.w.violated("%v: its commit failed though nothing is wrong: %v", t, err)
		}
	case routing.CodeStale, routing.CodeFull, routing.CodeNotFound:
		if t.state = txVoid; t.decided {
			l.w.violated("%v: it has taken effect, and its client is told %v", t, err)
		}
		if code == routing.CodeStale && t.ownsAll() {
			l.w.violated("%v: its client is told that a delivery was handed out again, and nobody got one", t)
		}
		if code == routing.CodeNotFound && !t.toTemporary() {
			l.w.violated("%v: %v, and it sends to no temporary queue", t, err)
		}
		if code == routing.CodeFull && l.w.calm(t.at) {
			l.w.violated("%v: its commit failed though nothing is wrong: %v", t, err)
		}
	default:
		l.w.violated("%v: its commit failed: %v", t, err)
	}
}

// committed judges a confirmed commit. [invariant 1]
func (l *ledger) committed(t *txn) {
	t.state = txCommitted
	if t.isLogged() && !t.decided {
		l.w.violated("%v: its commit is confirmed, and in no log", t)
	}
	if !t.decided {
		l.takesEffect(t)
	}
	for _, m := range t.sends {
		if !m.refused && !m.topic {
			m.confirmed = true
		}
	}
}

// isLogged reports whether a transaction can be followed in the logs: it has a
// message that is in one if it takes effect.
func (t *txn) isLogged() bool {
	some, persistent := false, false
	for _, m := range t.sends {
		if m.refused || m.topic {
			continue
		}
		some, persistent = true, persistent || m.persistent
	}
	for _, s := range t.settles {
		persistent = persistent || s.d.m.persistent
	}
	return some && (persistent || len(t.shards) > 1)
}

// ownsAll reports whether nothing has taken what the transaction settles from its client.
func (t *txn) ownsAll() bool {
	for _, s := range t.settles {
		if !t.client.owns(s.d) {
			return false
		}
	}
	return true
}

func (t *txn) toTemporary() bool {
	for _, m := range t.sends {
		if m.temp != nil {
			return true
		}
	}
	return false
}

// arrived judges the arrival of a transaction's message at a consumer.
func (l *ledger) arrived(m *message) {
	t := m.txn
	switch {
	case t == nil:
	case m.refused:
		l.w.violated("%v: delivered, and its transaction did not take it", m)
	case t.state == txOpen, t.state == txVoid:
		l.w.violated("%v: delivered, and %v has not committed", m, t)
	case t.isLogged() && !t.decided:
		l.w.violated("%v: delivered, and the commit of %v is in no log", m, t)
	}
}

// unfinished says what is to happen with a transaction.
func (t *txn) unfinished() string {
	if t.decided || t.state == txOpen || t.state == txAsked && t.client.alive || t.state == txCommitted {
		return ""
	}
	if t.state != txVoid && !t.isLogged() {
		return "" // nobody can know what became of it
	}
	for _, s := range t.settles {
		if m := s.d.m; m.persistent && !m.over && m.asked == 0 && m.deliveries <= s.d.nth && m.dead == 0 && !m.maybeGone(t.client.w) && !t.client.w.ledger.maySettle(m) {
			return fmt.Sprintf("it did not commit, and %v, which it settled, never came again", m)
		}
	}
	return ""
}

// maySettle reports whether a transaction settles a message of which nobody can know what
// became: its consumer had been taken for dead, and the message was handed out again.
func (l *ledger) maySettle(m *message) bool {
	return slices.ContainsFunc(l.txns, func(t *txn) bool {
		unknown := t.state != txOpen && t.state != txVoid && !t.isLogged()
		return unknown && slices.ContainsFunc(t.settles, func(s *txSettle) bool { return s.d.m == m })
	})
}

// transactionsLeft looks for what transactions leave behind: parts that wait, and
// commits that nobody needs any more.
func (l *ledger) transactionsLeft() string {
	for _, t := range l.txns {
		if what := t.unfinished(); what != "" {
			return fmt.Sprintf("%v: %s", t, what)
		}
	}
	if n := len(l.parts); n > 0 {
		return fmt.Sprintf("%d parts of transactions wait", n)
	}
	if n := len(l.commits); n > 0 {
		return fmt.Sprintf("%d commits are remembered", n)
	}
	return ""
}
