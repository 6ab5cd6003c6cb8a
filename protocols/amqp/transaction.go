package amqp

import (
	"encoding/binary"
	"slices"

	"github.com/selvedge-mq/selvedge/protocols/amqp/frames"
	"github.com/selvedge-mq/selvedge/routing"
)

// maxRetired bounds the deliveries that the transactions of a connection settle.
const maxRetired = 1 << 17

// txn is a transaction between declare and discharge. It may span the sessions
// of the connection. [transactions 4.2]
type txn struct {
	id       [8]byte
	key      uint64
	work     routing.Transaction
	by       *receiving // the coordinator's link
	postings []*posting
	pending  int       // sends of it that the engine has not judged
	early    []*pieces // of deliveries that it settles when they are written
	retired  []retired
	failed   *frames.Error // why it can only roll back
	touched  int64         // Unix milliseconds of its last work; 0 while it has none
	end      *discharge    // asked for
}

// retired is a delivery that the transaction settles. [transactions 4.4.2]
type retired struct {
	link *sending
	id   uint32
	tag  routing.Tag
	kind routing.OutcomeKind
}

// discharge is the command that ends a transaction, until it is answered.
type discharge struct {
	id      uint32
	settled bool
	fail    bool
}

// beginTransaction declares a transaction of a coordinator's link.
func (c *conn) beginTransaction(by *receiving) *txn {
	c.lastTxn++
	t := &txn{key: c.lastTxn, work: c.routing.Begin(), by: by}
	binary.BigEndian.PutUint64(t.id[:], t.key)
	if c.txns == nil {
		c.txns = make(map[uint64]*txn)
	}
	c.txns[t.key] = t
	return t
}

// transaction returns the transaction with that id, nil when there is none or its
// end was asked for.
func (c *conn) transaction(id []byte) *txn {
	if len(id) != len(txn{}.id) {
		return nil
	}
	t := c.txns[binary.BigEndian.Uint64(id)]
	if t == nil || t.end != nil {
		return nil
	}
	return t
}

// fail marks the transaction: it can only roll back. The first reason counts.
func (t *txn) fail(e *frames.Error) {
	if t.failed == nil {
		t.failed = e
	}
}

// miss marks the transaction that a frame names, if that is not taken.
func (c *conn) miss(s *frames.State, why *frames.Error) {
	if s.Kind != frames.StateTransactional {
		return
	}
	if t := c.transaction(s.TxnID); t != nil {
		t.fail(why)
	}
}

// missed is why a transaction can only roll back of which a frame was dropped.
func missed() *frames.Error {
	return frames.Errorf(frames.IllegalState, "a link or session of the transaction ended before all of it had come")
}

// posting is the completer of a link's sends within a transaction.
type posting struct {
	link *receiving
	txn  *txn
}

// post adds a message of the link. [transactions 4.4.1]
func (t *txn) post(l *receiving, e *routing.Envelope, token uint64) bool {
	t.pending++
	t.touched = e.Timestamp
	for _, p := range t.postings {
		if p.link == l {
			return t.work.Send(e, p, token)
		}
	}
	p := &posting{l, t}
	t.postings = append(t.postings, p)
	return t.work.Send(e, p, token)
}

// Complete passes the results to the owner.
func (p *posting) Complete(rs []routing.Result) {
	c := p.link.s.c
	c.box.Put(event{kind: postingsJudged, posting: p, results: c.f.pools.copyResults(rs)})
}

// judged takes the results of sends within the transaction.
func (p *posting) judged(rs []routing.Result) {
	p.txn.pending -= len(rs)
	p.link.judged(rs, p.txn)
	p.txn.finish()
}

// taken is why a transaction can only roll back that is to settle what has an outcome
// already. [transactions 4.4.2]
func taken(id uint32) *frames.Error {
	return frames.Errorf(frames.IllegalState, "delivery %d of the transaction has an outcome already, or in another one", id)
}

// settlesNothing marks a transaction that was to settle deliveries of which none is
// unsettled: what the client relies on cannot take effect with the rest of it. Those
// that were sent settled need no outcome. [transactions 4.4.2]
func (s *session) settlesNothing(t *txn, first, last uint32) {
	if s.sentSettled.meets(first, last) {
		return
	}
	t.fail(frames.Errorf(frames.IllegalState, "of the deliveries %d to %d, which the transaction was to settle, none is unsettled", first, last))
}

// retire settles a delivery within the transaction. [transactions 4.4.2]
func (s *session) retire(id uint32, it sent, t *txn, o routing.Outcome, settled bool) {
	if it.told != 0 || it.txn != nil {
		if it.txn != t {
			t.fail(taken(id))
		}
		if settled { // what was said first decides, and the client has forgotten it
			s.unsettled.remove(id)
		}
		return
	}
	if s.c.retired >= maxRetired {
		t.fail(frames.Errorf(frames.ResourceLimitExceeded, "the transactions settle %d deliveries", maxRetired))
		if settled { // as after the rollback, which is all that can follow
			s.unsettled.remove(id)
			it.link.sub.Settle(it.tag, routing.Outcome{Kind: routing.Modified, DeliveryFailed: true}, nil, 0)
		}
		return
	}
	s.c.retired++
	t.touched = s.c.now
	t.work.Settle(it.link.sub, it.tag, o) // where there is no room for it, the commit says why
	t.retired = append(t.retired, retired{link: it.link, id: id, tag: it.tag, kind: o.Kind})
	if settled {
		s.unsettled.remove(id)
		return
	}
	s.unsettled.join(id, t)
}

// take settles a delivery of which the client has all there will be within the
// transaction, as it said before.
func (t *txn) take(k *pieces, id uint32, it sent) {
	t.early = slices.DeleteFunc(t.early, func(o *pieces) bool { return o == k })
	it.link.s.retire(id, it, t, k.early.outcome, k.early.settled)
}

// finish ends the transaction as it was asked to, when the engine has judged all
// its sends: one that failed may forbid the commit. A commit waits until the
// deliveries that it settles are written. [transactions 4.3]
func (t *txn) finish() {
	if t.end == nil || t.pending > 0 {
		return
	}
	switch {
	case t.end.fail:
		t.rollBack()
		t.discharged(nil)
	case t.failed != nil:
		t.rollBack()
		t.discharged(&frames.Error{Condition: frames.TransactionRollback, Description: clip(t.failed.Error())})
	case len(t.early) > 0:
	default:
		c := t.by.s.c
		t.work.Commit(&judge{func(err error) {
			c.box.Put(event{kind: rareCame, rare: func() { t.committed(err) }})
		}}, 0)
	}
}

// committed takes the engine's judgment of a commit. What was not settled on
// both sides is now, or is as it was.
func (t *txn) committed(err error) {
	if err != nil {
		t.by.s.c.debug().Err(err).Msg("commit failed")
		t.restore()
		t.discharged(rollbackError(err))
		return
	}
	for _, r := range t.retired {
		s := r.link.s
		if it := s.unsettled.get(r.id); it != nil && it.txn == t {
			s.unsettled.remove(r.id)
			s.answers.settled[r.kind].add(r.id)
			s.mark()
		}
	}
	t.discharged(nil)
}

// rollbackError is what the client is told of a commit that failed.
func rollbackError(err error) *frames.Error {
	e := wireError(err)
	switch routing.CodeOf(err) {
	case routing.CodeTimeout, routing.CodeUnavailable:
		e.Description = clip("it is not known whether the transaction was committed: " + e.Description)
	default:
		e.Condition = frames.TransactionRollback
	}
	return e
}

// rollBack ends the transaction without effect.
func (t *txn) rollBack() {
	t.work.Rollback()
	t.restore()
}

// restore gives back what the transaction was to settle: what the client still
// holds stays with it, what it has forgotten returns to the queue as a failed
// attempt. [transactions 4.4.2]
func (t *txn) restore() {
	for _, k := range t.early {
		k.unsay()
	}
	t.early = nil
	for _, r := range t.retired {
		s := r.link.s
		switch it := s.unsettled.get(r.id); {
		case r.link.over:
		case it != nil && it.txn == t:
			s.unsettled.join(r.id, nil)
		default:
			r.link.sub.Settle(r.tag, routing.Outcome{Kind: routing.Modified, DeliveryFailed: true}, nil, 0)
		}
	}
}

// forgetTransaction takes a transaction that has ended out of the connection's.
func (c *conn) forgetTransaction(t *txn) {
	delete(c.txns, t.key)
	c.retired -= len(t.retired)
	t.retired = nil
}

// discharged answers the discharge and forgets the transaction.
func (t *txn) discharged(bad *frames.Error) {
	l, d := t.by, t.end
	l.s.c.forgetTransaction(t)
	l.commanded(d.id, d.settled, bad)
	l.sends--
	l.s.sends--
	l.s.c.load.end(0)
	l.goOn()
}

// endTransactions rolls back what the coordinator's link did not discharge.
// [transactions 4.2]
func (l *receiving) endTransactions() {
	if !l.control {
		return
	}
	for _, t := range l.s.c.txns {
		if t.by == l && t.end == nil {
			t.rollBack()
			l.s.c.forgetTransaction(t)
		}
	}
}

// expireTransactions ends transactions that hold work and have been idle for too
// long. An empty one costs nobody anything: clients declare the next one ahead.
func (c *conn) expireTransactions(now int64) {
	limit := c.f.o.TransactionTimeout.Milliseconds()
	for _, t := range c.txns {
		bad := frames.Errorf(frames.TransactionTimeout, "a transaction was idle for %v", c.f.o.TransactionTimeout)
		switch {
		case t.touched == 0 || now-t.touched < limit:
		case t.end == nil && t.by.phase == linkAttached:
			t.by.fail(bad)
		case t.end != nil && len(t.early) > 0: // the client takes nothing more of what it settles
			t.fail(bad)
			t.finish()
		}
	}
}
