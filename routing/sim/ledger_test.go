package sim_test

import (
	"fmt"
	"slices"
	"time"

	"github.com/selvedge-mq/selvedge/routing"
)

// ledger is what clients were told and what was handed to them, and the judge of
// both.
type ledger struct {
	w        *world
	messages []*message
	ends     int // subscriptions and connections that ended
	crashes  int // processes that ended
	downs    int // times that a node was told that another one is down
	served   []uint32
	leases   map[leaseID]*leaseView

	txns      []*txn
	byID      map[txID]*txn // that are in several shards
	parts     map[partID]bool
	decisions map[txID]bool // whether it commits
	commits   map[txID]bool // that are remembered in a log
	dropped   map[txID]bool // of which a part has ended without effect
}

// message is one message of a producer.
type message struct {
	id         int
	producer   *client
	number     int
	queue      routing.Address
	persistent bool
	at         time.Duration // when it was sent
	expires    time.Duration // when it need not be delivered any more, 0 for never
	txn        *txn          // that it was sent in, nil for none
	temp       *tempQueue    // that it was sent to, nil for none
	topic      bool
	never      string // why nobody may get it
	hearers    map[*client]bool
	refused    bool // its transaction did not take it
	logged     bool // it stands in a log, whatever becomes of its transaction
	asked      int  // settlements outside of transactions that may have had an effect
	over       bool // a transaction settled it
	ended      bool // its producer was told how the send ended
	confirmed  bool
	epoch      uint32 // of its shard when it was sent, 0 if that had just begun
	committed  bool
	first      uint32 // epoch of the first unmarked delivery

	key        uint64
	handed     int    // times it was handed out by a leader
	deliveries int    // times it arrived at a consumer
	unmarked   int    // of these, not marked as redelivered
	lowest     uint32 // epoch of its earliest marked delivery
	returns    int    // settlements that hand it back without a mark
	fails      int    // settlements that count an attempt
	rejects    int
	rejected   bool              // a consumer was told that it is
	floor      uint32            // failed attempts that a later delivery must show …
	floorEpoch uint32            // … from this epoch on
	byDeath    bool              // the last of them is the one of a consumer that died
	had        []*client         // who got it
	due        map[string][]duty // of the deliveries under way to a node, in their order
	accepted   bool              // a consumer was told that it is settled
	overEpoch  uint32            // epoch of the log at that time
	again      *client           // who settled it, if nodes met anew since it came to that client
	dead       int               // arrivals in the dead-letter queue
	holder     *client           // has it in flight …
	heldAt     time.Duration     // … since then
	heldKey    uint64            // … by this key: a second copy has another one
	large      bool              // it has a body that is read
}

// duty is what a delivery has to show, and whether it may be, as of the moment at which
// it was handed out: it may be long under way, while its node is out of reach and the
// message goes on without it.
type duty struct {
	epoch uint32 // of the leader
	floor uint32 // failed attempts
	over  bool   // a consumer had been told that the message is settled
}

func (m *message) String() string {
	kind := "non-persistent"
	if m.persistent {
		kind = "persistent"
	}
	return fmt.Sprintf("%s message %d (%s number %d to %s)", kind, m.id, m.producer.name, m.number, m.queue.Name)
}

func newLedger(w *world) *ledger {
	return &ledger{
		w: w, served: make([]uint32, w.plan.shards), leases: map[leaseID]*leaseView{},
		byID: map[txID]*txn{}, parts: map[partID]bool{}, decisions: map[txID]bool{}, commits: map[txID]bool{}, dropped: map[txID]bool{},
	}
}

// send notes a message that a producer sends.
func (l *ledger) send(c *client, queue routing.Address, number int, persistent bool) *message {
	m := &message{
		id: len(l.messages), producer: c, queue: queue, number: number, persistent: persistent, at: l.w.now(),
		temp: l.w.temp(queue), topic: queue.Kind == routing.KindTopic, hearers: map[*client]bool{},
	}
	if !m.topic && len(l.w.groups) > 0 {
		// Up to a lease after an epoch began the leader before it may still confirm.
		if t := &l.w.groups[l.w.shardOf(queue)].truth; l.w.now()-t.since > lease {
			m.epoch = t.epoch
		}
	}
	switch {
	case queue == idle:
		m.expires = m.at + l.w.between(10*time.Millisecond, 5*time.Second)
	case !m.topic && !l.w.healed && l.w.chance(l.w.plan.expiry):
		m.expires = m.at + l.w.between(10*time.Millisecond, 3*time.Second)
		switch {
		case l.w.chance(0.3):
			m.expires += time.Hour
		case l.w.plan.lateMove && l.w.chance(0.5): // about when a shard gets another leader, see moveLate
			m.expires = max(m.expires, l.w.plan.trouble+l.w.between(0, time.Second))
		}
	}
	l.messages = append(l.messages, m)
	return m
}

// payload is what a message carries.
func (m *message) payload() []byte {
	return fmt.Appendf(nil, "%c%0*d%c%*s", markSign, markDigits, m.id, markSign, m.id%90, "")
}

// envelope is how a message is sent.
func (m *message) envelope(w *world) *routing.Envelope {
	e := &routing.Envelope{Address: m.queue, Encoding: routing.EncodingSTOMP, Persistent: m.persistent, Payload: m.payload()}
	if m.expires > 0 {
		e.Expiry = w.start.Add(m.expires).UnixMilli()
	}
	return e
}

// maybeGone reports whether a message may be lost by a rule that somebody set: it
// has expired, or was in a temporary queue.
func (m *message) maybeGone(w *world) bool {
	return m.temp != nil && m.temp.gone || m.expires > 0 && w.now() > m.expires
}

// isHeld reports whether a client has the message in flight for certain: its node was
// always there.
func (m *message) isHeld() bool {
	h := m.holder
	return h != nil && h.alive && !h.closing && h.w.quiet(m.heldAt)
}

// letGo notes that a client does not have a message in flight any more.
func (m *message) letGo(c *client) {
	if m.holder == c {
		m.holder = nil
	}
}

// calmMost is how long the confirmation of a send may take when nothing is wrong.
const calmMost = 2 * time.Second

// confirmed judges the confirmation of a send.
func (l *ledger) confirmed(m *message, err error) {
	if m.ended {
		l.w.violated("%v: its send ended twice", m)
		return
	}
	m.ended = true
	if err != nil {
		switch routing.CodeOf(err) {
		case routing.CodeTimeout, routing.CodeUnavailable, routing.CodeFull:
			if l.w.calm(m.at) {
				l.w.violated("%v: its send failed though nothing is wrong: %v", m, err)
			}
		case routing.CodeNotFound:
			if m.temp == nil || !m.temp.gone {
				l.w.violated("%v: its send failed: %v", m, err)
			}
		default:
			l.w.violated("%v: its send failed: %v", m, err)
		}
		return
	}
	m.confirmed = true
	if took := l.w.now() - m.at; l.w.calm(m.at) && took > calmMost {
		l.w.violated("%v: its confirmation took %v though nothing is wrong", m, took)
	}
	if m.persistent && !m.topic && !m.committed {
		l.w.violated("%v: confirmed, and not committed", m)
	}
	if m.temp != nil && m.temp.deleted > 0 && m.temp.deleted < m.at {
		l.w.violated("%v: confirmed, and its queue was deleted before", m)
	}
}

// handover judges the moment at which a leader hands a message out. [invariant 2]
func (l *ledger) handover(p *process, to string, shard int, epoch uint32, id int) {
	m := l.messages[id]
	m.handed++
	if m.persistent && m.isHeld() && m.heldAt < l.w.now() && l.w.wants(to, m.queue) { // not by this very handover
		l.w.violated("%v: handed out by %s in epoch %d while %s has it in flight, whose node was always there", m, p.name, epoch, m.holder.name)
	}
	m.owe(to, epoch)
	if (m.persistent || m.txn != nil && len(m.txn.shards) > 1) && !m.committed {
		l.w.violated("%v: handed out by %s, and not committed", m, p.name)
	}
	if epoch < l.served[shard] {
		l.w.violated("%v: handed out by %s in epoch %d, after epoch %d handed out", m, p.name, epoch, l.served[shard])
	}
	l.served[shard] = max(l.served[shard], epoch)
	l.checkLease(p, shard, epoch, m)
}

// wants says whether a node has consumers of a queue, and none that has ended. What waited
// in the leader's outlet for that one reaches nobody; what does reach somebody is judged there.
func (w *world) wants(node string, queue routing.Address) bool {
	some := false
	for _, c := range w.clients {
		if c.consumer == nil || c.proc.name != node || c.queue != queue {
			continue
		}
		if !c.alive || c.closing || c.closed {
			return false
		}
		some = true
	}
	return some
}

// owe notes what holds for a delivery that is handed out now to another node.
func (m *message) owe(to string, epoch uint32) {
	if m.due == nil {
		m.due = map[string][]duty{}
	}
	d := duty{epoch: epoch, over: m.accepted}
	if m.floorEpoch != 0 && epoch >= m.floorEpoch {
		d.floor = m.floor
	}
	m.due[to] = append(m.due[to], d)
}

// owed returns what holds for the next delivery at a node in an epoch, false if it
// came from the node itself. One that never arrived leaves its duty to the next in its
// epoch: that demands less, and never too much.
func (m *message) owed(at string, epoch uint32) (d duty, remote bool) {
	due := m.due[at]
	for len(due) > 0 && due[0].epoch < epoch {
		due = due[1:]
	}
	if len(due) == 0 || due[0].epoch != epoch {
		return duty{}, false
	}
	m.due[at] = due[1:]
	return due[0], true
}

// delivered judges the arrival of a message at a consumer.
func (l *ledger) delivered(c *client, d *routing.Delivery) *message {
	at := marks(d.Envelope.Payload)
	if len(at) != 1 || at[0].id >= len(l.messages) {
		l.w.violated("%s got a message that nobody sent: %q", c.name, d.Envelope.Payload)
		return nil
	}
	m := l.messages[at[0].id]
	if m.never != "" {
		l.w.violated("%v: delivered to %s, and %s", m, c.name, m.never)
	}
	l.arrived(m)
	if c.queue.Name == deadLetters && m.queue != c.queue {
		l.buried(m)
		return m
	}
	if m.queue != c.queue {
		l.w.violated("%v: delivered from %s", m, c.queue.Name)
	}
	m.deliveries++
	m.had = append(m.had, c)
	if h := m.holder; m.isHeld() && m.heldKey == d.Tag.Key {
		l.w.violated("%v: delivered to %s in epoch %d while %s has it in flight, whose node was always there", m, c.name, d.Tag.Epoch, h.name)
	}
	due, remote := m.owed(c.proc.name, d.Tag.Epoch)
	// What was handed out to the same consumer once more, on the next connection, may wait in
	// the leader's outlet while the consumer settles what it had: nobody tells the two apart.
	if m.accepted && d.Tag.Epoch >= m.overEpoch && (due.over && m.again != c || !remote && !c.proc.stoodStill()) {
		l.w.violated("%v: delivered to %s in epoch %d after its settlement was confirmed in epoch %d", m, c.name, d.Tag.Epoch, m.overEpoch)
	}
	if m.persistent {
		l.once(c, m, d)
		l.attempts(m, d, due.floor)
	}
	return m
}

// once checks that what is handed out again is marked. [invariant 4]
func (l *ledger) once(c *client, m *message, d *routing.Delivery) {
	if m.key != 0 && m.key != d.Tag.Key {
		l.w.violated("%v: it is in its queue twice, as %x and %x", m, m.key, d.Tag.Key)
	}
	m.key = d.Tag.Key
	if d.Redelivered {
		if m.lowest == 0 || d.Tag.Epoch < m.lowest {
			m.lowest = d.Tag.Epoch
		}
	} else {
		m.unmarked++
		m.first = d.Tag.Epoch
	}
	if m.unmarked > 1+m.returns {
		l.w.violated("%v: handed out %d times without a mark, to %s in epoch %d the last time", m, m.unmarked, c.name, d.Tag.Epoch)
	}
	if m.unmarked > 0 && m.returns == 0 && m.lowest != 0 && m.lowest < m.first {
		l.w.violated("%v: handed out in epoch %d, and without a mark in epoch %d", m, m.lowest, m.first)
	}
}

// attempts checks the count of failed attempts.
func (l *ledger) attempts(m *message, d *routing.Delivery, floor uint32) {
	if d.Failed < floor {
		l.w.violated("%v: delivered with %d failed attempts, want at least %d", m, d.Failed, floor)
	}
	if m.byDeath && d.Failed+1 < m.floor {
		// An earlier delivery, whose node had been taken for dead. Its consumer has the message
		// from now on, and says what becomes of it.
		m.floor, m.byDeath = m.floor-1, false
	}
	if most := m.handed + l.crashes; int(d.Failed) > most && !l.w.troubled {
		l.w.violated("%v: delivered with %d failed attempts, it was handed out %d times, and %d processes ended", m, d.Failed, m.handed, l.crashes)
	}
	if most := m.fails + l.ends; int(d.Failed) > most {
		l.w.violated("%v: delivered with %d failed attempts, want at most %d", m, d.Failed, most)
	}
	if int(d.Failed) >= l.w.plan.maxDeliveries && m.queue.Name != deadLetters {
		l.w.violated("%v: delivered after %d failed attempts, the limit is %d", m, d.Failed, l.w.plan.maxDeliveries)
	}
}

// buried judges the arrival of a message in the dead-letter queue.
func (l *ledger) buried(m *message) {
	m.dead++
	if m.rejects == 0 && m.fails+l.ends < l.w.plan.maxDeliveries {
		l.w.violated("%v: in the dead-letter queue without a reason", m)
	}
	if m.persistent && m.accepted && m.rejects == 0 {
		l.w.violated("%v: in the dead-letter queue after it was accepted", m)
	}
}

// accept notes that a client has settled a message for good.
func (l *ledger) accept(c *client, d *delivery, epoch uint32) {
	d.m.accepted, d.m.overEpoch = true, epoch
	if l.downs > d.downs {
		d.m.again = c
	}
}

// settled judges the end of a settlement.
func (l *ledger) settled(c *client, d *delivery, o routing.Outcome, err error, dead bool) {
	m := d.m
	if routing.CodeOf(err) == routing.CodeStale {
		m.asked--
	}
	if err != nil {
		switch routing.CodeOf(err) {
		case routing.CodeTimeout, routing.CodeUnavailable, routing.CodeFull, routing.CodeStale, routing.CodeClosed:
		default:
			l.w.violated("%v: its settlement failed: %v", m, err)
		}
		return
	}
	if dead || !m.persistent {
		return
	}
	epoch := l.w.groups[d.Tag.Shard].truth.epoch
	switch {
	case o.Kind == routing.Accepted:
		if m.accepted {
			l.w.violated("%v: accepted twice", m)
		}
		l.accept(c, d, epoch)
	case o.Kind == routing.Rejected:
		m.rejected = true
	case o.Kind == routing.Modified && o.DeliveryFailed:
		l.failedAttempt(d, epoch)
	}
}

// failedAttempt notes that a failed attempt was confirmed, which later deliveries show. What
// was handed out to the same consumer on the next connection may wait in the leader's outlet
// meanwhile, and does not.
func (l *ledger) failedAttempt(d *delivery, epoch uint32) {
	if l.downs == d.downs {
		d.m.floor, d.m.floorEpoch, d.m.byDeath = max(d.m.floor, d.Failed+1), epoch, false
	}
}

// ended takes note that a process is gone, with its subscriptions.
func (l *ledger) ended(p *process) {
	l.ends += 1 + len(p.w.clients)
	l.crashes++
}

// died notes what the death of a consumer with its node has to count, whoever led the
// shard: the message that it was at, if that came again and it had nothing else to do. Where
// nodes were out of reach somebody else may have it still, and says what becomes of it.
func (l *ledger) died(c *client) {
	if c.consumer == nil || c.transactor != nil || c.closing || len(c.hand) == 0 {
		return
	}
	d := c.hand[0]
	if !l.w.quiet(d.at) && slices.ContainsFunc(d.m.had, func(o *client) bool { return o != c && o.alive }) {
		return
	}
	if d.alone && d.m.persistent && d.m.holder == c {
		d.m.byDeath = d.Failed >= d.m.floor
		d.m.floor, d.m.floorEpoch = max(d.m.floor, d.Failed+1), l.w.groups[d.Tag.Shard].truth.epoch
	}
}
