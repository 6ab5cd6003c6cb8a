package shard

import (
	"slices"

	"github.com/selvedge-mq/selvedge/routing"
	"github.com/selvedge-mq/selvedge/routing/envelope"
)

// open is the record that the leader composes, and what it has promised in
// records that are sealed and not applied yet.
type open struct {
	buf        []byte // entries, with room for the header in front
	last       int    // size of the record before, a guess for this one
	entries    int
	messages   int
	parts      int
	softs      []soft
	lanes      []LaneID // touched by the requests composed
	due        bool     // it is to be logged, with the states of the lanes, whatever else is in it
	nextKey    uint64
	nextQueue  uint32
	softComing int64 // bytes of non-persistent messages composed and not applied
	cutting    bool  // a cut is composed and not applied
	sealed     position
}

// Batch is what was composed up to a Seal: a record to be appended to the log,
// or nothing but requests that are not logged.
type Batch struct {
	Rec      []byte // nil when nothing is to be logged
	Entries  int
	Messages int // persistent messages among the entries
	Parts    int // parts of large messages among them
	softs    []soft
	done     int
}

// Soft reports whether something in the batch is not logged.
func (b *Batch) Soft() bool { return len(b.softs) > 0 }

// keyShift is where the epoch stands in a message's key: keys are unique and
// ascending over all epochs, without anything to remember.
const keyShift = 40

// Lead begins a new epoch of this node: it returns the epoch's first record,
// which has to be appended behind LastSeq and applied before anything else.
func (s *Shard) Lead(node string, session uint64, now int64) *Batch {
	epoch := s.pos.epoch + 1
	s.open = open{nextKey: uint64(epoch)<<keyShift + 1, nextQueue: uint32(len(s.queues.list))}
	s.open.sealed = position{epoch: epoch, link: s.pos.link, time: s.pos.time}
	s.dying.next = s.dying.last + 1
	s.uploads.restart()
	s.queues.free = s.queues.free[:0]
	for id, q := range s.queues.list {
		if q == nil && id > 0 {
			s.queues.free = append(s.queues.free, uint32(id))
		}
		if q != nil {
			q.former, q.promised = q.reserved, q.reserved
			q.coming, q.reserving = 0, 0
		}
	}
	s.begin()
	s.open.buf = appendEpoch(s.open.buf, node, session)
	s.open.entries++
	return s.Seal(now)
}

// Serve allows or forbids dispatch. A leader serves while it holds its lease and
// the nodes have reported.
func (s *Shard) Serve(on bool) { s.serving = on }

// begin makes room for the header of the next record.
func (s *Shard) begin() {
	if s.open.buf == nil {
		s.open.buf = make([]byte, headerSize, headerSize+max(1024, s.open.last+s.open.last/4))
	}
}

// Full reports whether the open record has reached its target: the leader then
// seals before it composes more.
func (s *Shard) Full() bool { return len(s.open.buf) >= s.opts.RecordTarget }

// Composed returns the bytes in the open record, whether there is anything to
// seal, and whether some of it will not be logged.
func (s *Shard) Composed() (size int, anything, soft bool) {
	logged := s.open.logged()
	soft = len(s.open.softs) > 0 || !logged && len(s.open.lanes) > 0
	return len(s.open.buf), logged || soft, soft
}

func (o *open) logged() bool { return o.entries > 0 || o.due }

// Seal ends the open record and returns it, nil if nothing was composed. now is
// the leader's clock in Unix milliseconds.
func (s *Shard) Seal(now int64) *Batch {
	o := &s.open
	if _, anything, _ := s.Composed(); !anything {
		return nil
	}
	b := &Batch{Entries: o.entries, Messages: o.messages, Parts: o.parts}
	logged := o.logged()
	for _, id := range o.lanes {
		l := s.lanes[id]
		if l == nil {
			continue
		}
		l.touched = false
		if logged {
			o.buf = appendLane(o.buf, id, l.node, max(l.composed, l.next), l.pending)
		} else {
			o.softs = append(o.softs, soft{kind: softLane, lane: id, next: l.composed})
		}
	}
	b.softs = o.softs
	if logged {
		o.sealed.number++
		o.sealed.time = max(o.sealed.time, now)
		b.Rec, o.sealed.link = seal(o.buf, header{
			epoch: o.sealed.epoch, number: o.sealed.number, link: o.sealed.link, time: o.sealed.time,
		})
	}
	o.last = len(o.buf)
	o.buf, o.softs, o.lanes, o.entries, o.messages, o.parts = nil, nil, o.lanes[:0], 0, 0, 0
	o.due = false
	return b
}

// accept checks a request's number against its lane and takes the number up. It
// returns nil for a repetition, and for a request that is not due.
func (s *Shard) accept(id LaneID, number uint64) *lane {
	l := s.lanes[id]
	if l == nil || number != l.composed {
		return nil
	}
	s.begin()
	l.composed++
	s.touchLane(id, l)
	return l
}

func (s *Shard) touchLane(id LaneID, l *lane) {
	if !l.touched {
		l.touched = true
		s.open.lanes = append(s.open.lanes, id)
	}
}

func (l *lane) answer(number uint64, c routing.Code) {
	l.pending = append(l.pending, Answer{Number: number, Code: c})
}

// deny answers a request that does not fit what the log says. Another leader may have
// logged since what this one misses, so the answer stands in the log itself before it is
// given: no later epoch has begun then. What is stale or invalid stays so, whoever leads.
func (s *Shard) deny(l *lane, number uint64, c routing.Code) {
	l.answer(number, c)
	if c != routing.CodeStale && c != routing.CodeInvalid {
		s.open.due = true
	}
}

// Attest has the open record logged though there may be nothing in it. When it is applied
// it is certain that what this state says was true, for whoever leads.
func (s *Shard) Attest() {
	s.begin()
	s.open.due = true
}

// Send composes the enqueue of an envelope. It reports false when the number is
// not the lane's next one: a repetition, or a request out of order.
func (s *Shard) Send(id LaneID, number uint64, env []byte) bool {
	l := s.accept(id, number)
	if l == nil {
		return false
	}
	q, persistent, code := s.target(env)
	switch {
	case code != routing.CodeOK:
		s.deny(l, number, code)
	case persistent:
		s.composeEnqueue(q, env, nil)
	case !s.softFits(len(env)):
		l.answer(number, routing.CodeFull)
	default:
		s.composeSoft(q, env)
	}
	return true
}

// target returns the queue of an envelope, and whether the envelope is to be logged.
func (s *Shard) target(env []byte) (q *queue, persistent bool, code routing.Code) {
	head, err := envelope.Peek(env)
	if err != nil {
		return nil, false, routing.CodeInvalid
	}
	if q = s.queues.find(head.Kind, head.Name); q == nil {
		q = s.queueAt(routing.Address{Kind: head.Kind, Name: string(head.Name)})
	}
	switch {
	case q == nil && temporary(head.Kind), q != nil && q.going:
		return nil, false, routing.CodeNotFound
	case q == nil:
		return nil, false, routing.CodeFull
	}
	return q, head.Persistent, routing.CodeOK
}

// softFits reports whether there is memory for more that is not logged.
func (s *Shard) softFits(size int) bool {
	return s.soft.bytes+s.open.softComing+int64(size) <= s.opts.SoftBytes
}

func (s *Shard) composeSoft(q *queue, env []byte) {
	q.coming++
	s.open.softComing += int64(len(env))
	s.compose(soft{kind: softEnqueue, key: s.key(), q: q, body: slices.Clone(env)})
}

func (s *Shard) key() uint64 {
	k := s.open.nextKey
	s.open.nextKey++
	return k
}

func (s *Shard) compose(it soft) {
	it.at = s.open.entries
	s.open.softs = append(s.open.softs, it)
}

// composeEnqueue composes a new message; u is the upload of a large one, else nil.
func (s *Shard) composeEnqueue(q *queue, env []byte, u *upload) {
	var flags byte
	if q.credit > int64(q.ready.len+q.coming) {
		flags |= flagReserve
		q.promised = s.open.nextKey
	}
	q.coming++
	s.open.buf = appendEnqueue(s.open.buf, s.key(), q.id, flags, u, env)
	s.open.entries++
	s.open.messages++
}

// queueAt returns the queue of an address. One that does not exist is made, but for
// temporary ones; nil says that there is none, or no room for it.
func (s *Shard) queueAt(addr routing.Address) *queue {
	if q := s.queues.byAddr[addr]; q != nil {
		return q
	}
	if temporary(addr.Kind) {
		return nil
	}
	return s.makeQueue(addr, 0)
}

// makeQueue composes a new queue, nil when there are too many.
func (s *Shard) makeQueue(addr routing.Address, owner uint64) *queue {
	id := s.open.nextQueue
	if n := len(s.queues.free); n > 0 {
		id = s.queues.free[n-1]
		s.queues.free = s.queues.free[:n-1]
	} else if id > maxQueueID {
		return nil
	} else {
		s.open.nextQueue++
	}
	q := s.queues.ensure(id)
	q.owner = owner
	s.queues.name(q, addr)
	s.composeQueue(q)
	return q
}

func (s *Shard) composeQueue(q *queue) {
	s.begin()
	if q.owner != 0 {
		s.open.buf = appendTemporary(s.open.buf, q)
	} else {
		s.open.buf = appendQueue(s.open.buf, q)
	}
	s.open.entries++
}

// Settlement is a request to end a delivery.
type Settlement struct {
	Sub     SubID
	Key     uint64
	Outcome routing.Outcome
}

// Settle composes the end of a delivery. It reports false like Send.
func (s *Shard) Settle(id LaneID, number uint64, r Settlement) bool {
	l := s.accept(id, number)
	if l == nil {
		return false
	}
	if !s.settle(r) {
		s.counts.Stale++
		s.letGo(r)
		l.answer(number, routing.CodeStale)
	}
	return true
}

// letGo takes a message that a transaction has pinned from a consumer that is told that it is
// stale, and counts it as in flight no more: if the transaction does not commit the message
// is back in its queue.
func (s *Shard) letGo(r Settlement) {
	p := s.store.find(r.Key)
	if p == 0 {
		return
	}
	m := s.store.at(p)
	if u := s.holder(m); u != nil && u.id == r.Sub && u.parked != r.Key && m.has(markPinned) {
		s.unhold(p)
	}
}

// settle reports false when there is nothing to settle.
func (s *Shard) settle(r Settlement) bool {
	p := s.settleable(r)
	if p == 0 {
		return false
	}
	s.end(p, r.Outcome)
	return true
}

// settleable returns the place of the message that a settlement ends, 0 when the
// message is gone, or belongs to another subscription by now.
func (s *Shard) settleable(r Settlement) uint32 {
	p := s.store.find(r.Key)
	if p == 0 {
		return 0
	}
	m := s.store.at(p)
	if m.has(markSettling | markDying | markPinned) {
		return 0
	}
	u := s.holder(m)
	own := u != nil && u.id == r.Sub && u.parked != r.Key && !m.has(markReleasing)
	late := m.has(markReady|markReleasing) && r.Outcome.Kind == routing.Accepted
	if !own && !late {
		return 0
	}
	return p
}

// end composes the end of a delivery whose message has a consumer, or is ready.
func (s *Shard) end(p uint32, o routing.Outcome) {
	m := s.store.at(p)
	if m.has(markReady) {
		s.takeReady(s.queueOf(m), p)
	}
	s.advance(s.holder(m))
	switch o.Kind {
	case routing.Accepted:
		s.composeSettle(m, causeAccepted)
	case routing.Rejected:
		s.bury(p, causeRejected)
	case routing.Released:
		s.giveBack(p)
	case routing.Modified:
		s.modify(s.holder(m), p, o)
	}
}

func (s *Shard) modify(u *sub, p uint32, o routing.Outcome) {
	if o.UndeliverableHere && u != nil {
		if u.avoid == nil {
			u.avoid = map[uint64]bool{}
		}
		u.avoid[s.store.at(p).key] = true
		s.store.at(p).marks |= markAvoided
	}
	if o.DeliveryFailed {
		s.fail(p)
		return
	}
	s.giveBack(p)
}

// giveBack composes a message's return to its place. It is not logged, unless it
// ends an attempt, but it keeps its order among returns that are, so that all come
// back in one turn.
func (s *Shard) giveBack(p uint32) {
	m := s.store.at(p)
	m.marks |= markReleasing
	if s.attempted(m.key) {
		s.composeCount(m, m.failed)
		return
	}
	s.compose(soft{kind: softRelease, key: m.key})
}

// fail composes one more failed attempt; the message goes back when it is applied.
func (s *Shard) fail(p uint32) {
	m := s.store.at(p)
	m.marks |= markReleasing
	if m.has(markSoft) {
		s.compose(soft{kind: softCount, key: m.key})
		return
	}
	s.composeCount(m, m.failed+1)
}

func (s *Shard) composeCount(m *message, failed uint16) {
	s.begin()
	s.open.buf = appendCount(s.open.buf, m.key, failed)
	s.open.entries++
}

func (s *Shard) composeSettle(m *message, c cause) {
	m.marks |= markSettling
	s.begin()
	if m.has(markSoft) {
		s.compose(soft{kind: softSettle, key: m.key, do: c})
		return
	}
	s.open.buf = appendSettle(s.open.buf, m.key, c)
	s.open.entries++
}

// Forget composes the end of a session's lanes: its node has left, or came back
// as another session.
func (s *Shard) Forget(session uint64) {
	s.begin()
	s.goWith(session)
	delete(s.attempts.reported, session)
	s.open.buf = appendDrop(s.open.buf, session)
	s.open.entries++
}

// Locate returns where a live message's envelope lies now, the zero Body if the
// message is gone.
func (s *Shard) Locate(key uint64) Body {
	if p := s.store.find(key); p != 0 {
		return s.bodyOf(s.store.at(p))
	}
	return Body{}
}

func (s *Shard) bodyOf(m *message) Body {
	if m.has(markSoft) {
		return Body{Bytes: s.soft.bodies[m.key], Size: m.size, Kept: m.has(markMoved)}
	}
	return Body{Seq: m.seq, Off: m.off, Size: m.size, Kept: m.has(markMoved), Parts: s.partBytes(m)}
}
