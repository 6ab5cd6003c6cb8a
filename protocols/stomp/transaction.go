package stomp

import (
	"fmt"
	"time"

	"github.com/selvedge-mq/selvedge/protocols/stomp/frame"
	"github.com/selvedge-mq/selvedge/routing"
)

// transaction is one that the client has begun and not ended.
type transaction struct {
	tx       routing.Transaction
	actions  int        // sends, and deliveries that were acknowledged
	touched  int64      // when the last one came, in Unix milliseconds; 0 before the first
	sends    int        // that the broker has not answered
	failed   *wireError // why it cannot commit any more; nil: it can
	kept     int        // octets of its name and receipts
	held     []ackPlace // deliveries that its acknowledgments cover
	receipts []string   // of its SENDs, when they are answered at the commit
}

// named returns the transaction header of a frame that must have one.
func (m *machine) named(f *frame.Frame, doing string) (string, error) {
	name, _ := m.get(f, "transaction")
	if name == "" {
		return "", invalid("Must specify the transaction you are %s", doing).titled(
			"Missing transaction", "\"%s\" must include a 'transaction' header\n", f.Command)
	}
	return name, nil
}

// beginTransaction starts a transaction. [STOMP 1.2 BEGIN]
func (m *machine) beginTransaction(f *frame.Frame) error {
	name, err := m.named(f, "beginning")
	if err != nil {
		return err
	}
	if m.transactions[name] != nil {
		return invalid("The transaction was already started: %s", name).titled(titleTransaction, "")
	}
	if len(m.transactions) >= m.fe.own.Transactions {
		return full("a connection may have at most %d open transactions", m.fe.own.Transactions).titled("Transaction limit exceeded", "")
	}
	if err := m.keep(len(name)); err != nil {
		return err
	}
	if m.transactions == nil {
		m.transactions = make(map[string]*transaction)
	}
	m.transactions[name] = &transaction{tx: m.session.Begin(), kept: len(name)}
	m.done(f)
	return nil
}

// within returns the transaction that a SEND, ACK or NACK names, nil if none.
func (m *machine) within(name []byte) (*transaction, error) {
	if len(name) == 0 {
		return nil, nil
	}
	t := m.transactions[string(name)]
	switch {
	case t == nil:
		return nil, unknownTransaction(name)
	case t.failed != nil:
		return nil, t.failed
	}
	return t, nil
}

func unknownTransaction[T ~string | ~[]byte](name T) error {
	return invalid("Invalid transaction id: %s", name).titled(titleTransaction, "Invalid transaction identifier: \"%s\"\n", name)
}

// act counts n sends or acknowledgments of a transaction, if it may have them.
func (m *machine) act(t *transaction, n int) error {
	if n > m.fe.own.Actions-t.actions {
		return full("a transaction may hold at most %d sends and acknowledgments", m.fe.own.Actions).titled("Transaction too large", "")
	}
	t.actions += n
	t.touched = m.now
	if m.expiry == 0 {
		m.expiry = m.now + m.fe.own.Transaction.Milliseconds()
	}
	return nil
}

// untilExpired rolls back the transactions that hold work and have been idle for
// too long, which costs others their room, and returns how long it is until the
// next one can be. What a client would do while it must wait does not count
// against it.
func (m *machine) untilExpired(waits bool) time.Duration {
	limit := m.fe.own.Transaction.Milliseconds()
	switch {
	case m.expiry == 0:
		return never
	case waits:
		m.expiry = m.now + limit
	case m.now >= m.expiry:
		m.expireTransactions(limit)
	}
	if m.expiry == 0 {
		return never
	}
	return time.Duration(m.expiry-m.now) * time.Millisecond
}

// expireTransactions looks at all transactions and at when to look again. An
// empty one costs nobody anything.
func (m *machine) expireTransactions(limit int64) {
	m.expiry = 0
	for name, t := range m.transactions {
		switch due := t.touched + limit; {
		case t.touched == 0:
		case due > m.now && (m.expiry == 0 || due < m.expiry):
			m.expiry = due
		case due <= m.now:
			m.forgetTransaction(name, t)
			t.tx.Rollback()
			m.letGo(t)
			w := &wireError{code: routing.CodeTimeout, message: fmt.Sprintf("the transaction was idle for %v and is rolled back: %s", m.fe.own.Transaction, name)}
			if m.keepsOpen() {
				m.tell(w, "", false)
				continue
			}
			m.breach(w, "", false)
			return
		}
	}
}

// promise notes the RECEIPT of a SEND that comes with the commit.
func (m *machine) promise(t *transaction, f *frame.Frame) error {
	id, ok := f.Get("receipt")
	if !ok || m.fe.dialect.receiptAtOnce {
		return nil
	}
	if err := m.keep(len(id)); err != nil {
		return err
	}
	t.kept += len(id)
	t.receipts = append(t.receipts, string(id))
	return nil
}

// beginSend notes a SEND. Within a transaction its RECEIPT says that the
// transaction holds it, or comes with the commit.
func (m *machine) beginSend(t *transaction, f *frame.Frame, p pending) uint64 {
	if p.within = t; t != nil {
		t.sends++
	}
	if t != nil && !m.fe.dialect.receiptAtOnce {
		return m.pending.push(p)
	}
	return m.begin(f, p)
}

// settleWithin adds the end of deliveries to a transaction. They give their
// credit back at once, so that a transaction may acknowledge more messages than
// the prefetch; each counts, so that it is bounded.
func (m *machine) settleWithin(t *transaction, f *frame.Frame, place ackPlace, from uint64, o routing.Outcome) error {
	s := place.sub
	n := 0
	for i := from; s != nil && i <= place.n; i++ {
		if u := s.unacked.at(i); !u.done && !u.held {
			n++
		}
	}
	if err := m.act(t, n); err != nil {
		return err
	}
	before := len(t.held)
	for i := from; s != nil && i <= place.n; i++ {
		u := s.unacked.at(i)
		if u.done || u.held {
			continue
		}
		if !t.tx.Settle(s.sub, u.tag, o) {
			m.unhold(t, before)
			return full("the node has no room for more acknowledgments in transactions")
		}
		u.held = true
		t.held = append(t.held, ackPlace{s, i})
	}
	m.regrant(s, int32(n))
	m.done(f)
	return nil
}

// unhold gives up a transaction whose last ACK found no room. Its deliveries are
// the client's again; they have given no credit back yet.
func (m *machine) unhold(t *transaction, before int) {
	t.failed = full("the transaction found no room and cannot commit any more")
	for _, place := range t.held[before:] {
		place.sub.unacked.at(place.n).held = false
	}
	t.held = t.held[:before]
}

// unsure reports whether a frame commits a transaction of which the broker may still
// refuse a SEND.
func (m *machine) unsure(f *frame.Frame) bool {
	if f.Command != frame.Commit {
		return false
	}
	name, _ := m.get(f, "transaction")
	t := m.transactions[name]
	return t != nil && t.sends > 0
}

// lack says that a transaction is without something that the client wanted in it.
func (t *transaction) lack() {
	if t.failed == nil {
		t.failed = invalid("a frame of the transaction was refused, so that it cannot commit any more").titled(titleTransaction, "")
	}
}

// refusedWithin says so of the transaction that a refused frame names.
func (m *machine) refusedWithin(f *frame.Frame) {
	switch f.Command { //nolint:exhaustive // the others add nothing to a transaction
	case frame.Send, frame.Ack, frame.Nack:
		name, _ := m.get(f, "transaction")
		if t := m.transactions[name]; t != nil {
			t.lack()
		}
	}
}

// commit has the transaction take effect; RECEIPT says that it is done. One that lacks
// something is rolled back: it takes effect as a whole or not at all.
// [STOMP 1.2 COMMIT]
func (m *machine) commit(f *frame.Frame) error {
	t, err := m.ending(f, "committing")
	if err != nil {
		return err
	}
	if t.failed != nil {
		t.tx.Rollback()
		m.letGo(t)
		return t.failed
	}
	m.commits++
	p := pending{request: requestCommit, waits: 1, tx: t}
	due := uint64(len(t.receipts))
	for _, id := range t.receipts { // in the order of the requests, before the own one
		p.receipt = 1 + m.due([]byte(id))
	}
	if id, ok := f.Get("receipt"); ok {
		p.receipt = 1 + m.due(id)
		due++
	}
	p.also = max(due, 1) - 1
	t.tx.Commit(m.results, m.pending.push(p))
	return nil
}

// committed lets go of the deliveries that the transaction has acknowledged.
func (m *machine) committed(t *transaction) {
	for _, place := range t.held {
		if u := place.unacked(); u != nil {
			u.done = true
			delete(m.acks, u.key)
			m.trimUnacked(place.sub)
		}
	}
}

// abort drops the transaction's sends; what it acknowledged can be acknowledged
// again. [STOMP 1.2 ABORT]
func (m *machine) abort(f *frame.Frame) error {
	t, err := m.ending(f, "aborting")
	if err != nil {
		return err
	}
	t.tx.Rollback()
	m.letGo(t)
	m.done(f)
	return nil
}

// letGo gives the deliveries that a transaction had acknowledged back to the
// client.
func (m *machine) letGo(t *transaction) {
	for _, place := range t.held {
		if u := place.unacked(); u != nil {
			u.held = false
			place.sub.owed++ // its credit was given back already
		}
	}
}

// ending takes the transaction that a frame ends; its name can be used again.
func (m *machine) ending(f *frame.Frame, doing string) (*transaction, error) {
	name, err := m.named(f, doing)
	if err != nil {
		return nil, err
	}
	t := m.transactions[name]
	if t == nil {
		return nil, unknownTransaction(name)
	}
	m.forgetTransaction(name, t)
	return t, nil
}

// forgetTransaction gives the name of a transaction free.
func (m *machine) forgetTransaction(name string, t *transaction) {
	delete(m.transactions, name)
	m.kept -= t.kept
}
