// Package shard is the state machine of a shard: records and requests in,
// effects out. It knows queues, messages, lanes and subscriptions; it does not
// know clocks, goroutines, sockets or where the log is kept.
//
// The durable state is a function of the log: [Shard.Apply] of every record in
// order gives the same state on every node. Records hold facts that the one
// writer decided (docs/adr/0002-records-hold-facts.md); a record of a lower epoch, or one
// whose link does not fit, is void. Everything about subscriptions, credit and
// dispatch is soft: it is rebuilt from the nodes' reports when a leader takes over.
//
// A leader composes requests into an open record ([Shard.Send], [Shard.Settle]
// …), takes it out with [Shard.Seal], appends it to the log, and hands it back
// to Apply once it is committed. What follows is found in [Shard.Effects].
package shard

import (
	"slices"

	"github.com/selvedge-mq/selvedge/routing"
)

// Options bound a shard. Zero fields mean the default.
type Options struct {
	DeadLetter     routing.Address // where rejected and exhausted messages go
	DeadLetterHere bool            // that queue lives in this shard

	MaxFailed    uint16 // failed attempts after which a message is dead-lettered; default 10
	SoftBytes    int64  // memory for non-persistent messages; default 64 MiB
	RecordTarget int    // bytes at which an open record counts as full; default 512 KiB
	CleanAbove   int64  // bytes of log below which nothing is rewritten; default 64 MiB
	CutBytes     int64  // bytes worth a cut of the log's prefix; default 8 MiB
}

func (o Options) withDefaults() Options {
	if o.MaxFailed == 0 {
		o.MaxFailed = 10
	}
	if o.SoftBytes == 0 {
		o.SoftBytes = 64 << 20
	}
	if o.RecordTarget == 0 {
		o.RecordTarget = 512 << 10
	}
	if o.CleanAbove == 0 {
		o.CleanAbove = 64 << 20
	}
	if o.CutBytes == 0 {
		o.CutBytes = 8 << 20
	}
	return o
}

// Shard is the state of one shard. It is not safe for concurrent use: one
// goroutine owns it.
type Shard struct {
	opts Options

	// The durable state, a function of the log.
	pos    position
	store  store
	queues queues
	lanes  map[LaneID]*lane
	log    segments
	cut    uint64 // the greatest logged cut

	prepared  map[TxID]*prepared
	pinned    map[uint64]TxID // messages that prepared parts settle, by key
	decisions map[TxID]*decision
	ended     recent // transactions that everybody has carried out
	dying     dying
	uploads   uploads
	attempts  attempts

	// The leader's soft state.
	open    open
	subs    map[SubID]*sub
	subList []*sub // by sub.index; freed places are nil
	subFree []uint32
	dirty   []*queue // queues to look at in the next Dispatch
	expiry  expiries
	serving bool // dispatch is allowed
	soft    softBodies
	fx      Effects

	counts Counts
}

// position is where in the log's chain the state stands.
type position struct {
	epoch  uint32
	number uint64 // of the last record in the epoch
	link   uint32 // checksum of the last record that is not void
	seq    uint64 // of the last record, void or not
	valid  uint64 // of the last record that is not void
	time   int64  // of the last record, Unix milliseconds
	begun  bool   // a record was applied
}

// Counts are totals since the state was built.
type Counts struct {
	Enqueued, Accepted, Expired         uint64
	Redelivered, Stale, Void, Rewritten uint64
	DeadLettered                        uint64 // on the way to the dead-letter address, from here
	Rejected, Exhausted                 uint64 // those, by cause
	Dropped                             uint64 // refused at the dead-letter address itself
	Deleted                             uint64 // in a temporary queue that is gone
	Unreadable                          uint64 // dead, and not to be moved: their bytes are no message
}

// New returns the state of an empty log.
func New(o Options) *Shard {
	return &Shard{
		opts:   o.withDefaults(),
		store:  newStore(),
		queues: newQueues(),
		lanes:  map[LaneID]*lane{},

		prepared: map[TxID]*prepared{}, pinned: map[uint64]TxID{}, decisions: map[TxID]*decision{},

		subs: map[SubID]*sub{},
		subList: []*sub{
			nil, // index 0 means none
		},
		soft:    softBodies{bodies: map[uint64][]byte{}},
		uploads: newUploads(),

		dying: dying{numbers: map[uint64]dyingNumber{}, under: map[uint64]int64{}},

		attempts: attempts{byKey: map[uint64]attempt{}, reported: map[uint64]bool{}},
	}
}

// Epoch returns the epoch of the last valid record.
func (s *Shard) Epoch() uint32 { return s.pos.epoch }

// LastSeq returns the sequence of the last record applied.
func (s *Shard) LastSeq() uint64 { return s.pos.seq }

// Cut returns the greatest sequence that a logged cut allows to purge.
func (s *Shard) Cut() uint64 { return s.cut }

// Counts returns the totals.
func (s *Shard) Counts() Counts { return s.counts }

// Live returns the number of messages that are not settled.
func (s *Shard) Live() int { return s.store.live }

// SoftLive returns the number of messages that are not persistent: they end with
// this leader.
func (s *Shard) SoftLive() int { return len(s.soft.bodies) }

// SoftBytes returns the bytes of those messages.
func (s *Shard) SoftBytes() int64 { return s.soft.bytes }

// LogBytes returns the bytes of the records in the log and how many of them
// hold something live.
func (s *Shard) LogBytes() (total, live int64) { return s.log.total, s.log.live }

// QueueInfo describes a queue for people.
type QueueInfo struct {
	Address   routing.Address
	Depth     int // messages not settled, those in flight included
	InFlight  int
	Consumers int
	Bytes     int64
	In, Out   uint64
}

// Queues calls f for each queue in the order of their creation, until f returns false.
func (s *Shard) Queues(f func(QueueInfo) bool) { s.QueuesFrom(0, f) }

// QueuesFrom does the same from a place on. It returns the place of the queue that f
// did not take, 0 if there is none.
func (s *Shard) QueuesFrom(place int, f func(QueueInfo) bool) (next int) {
	for i := min(place, len(s.queues.list)); i < len(s.queues.list); i++ {
		q := s.queues.list[i]
		if q == nil || q.addr.Name == "" {
			continue
		}
		info := QueueInfo{
			Address: q.addr, Depth: q.depth, InFlight: q.depth - q.ready.len,
			Consumers: len(q.subs), Bytes: q.bytes, In: q.in, Out: q.out,
		}
		if !f(info) {
			return i
		}
	}
	return 0
}

// Effects are what a leader has to do after calls into the shard. The slices are
// reused: they are valid until the next call of Effects.
type Effects struct {
	Deliveries  []Delivery
	Confirms    []Confirm
	Drained     []Drained
	DeadLetters []DeadLetter
	Purge       uint64 // purge the log up to here; 0 for nothing
}

// Delivery is a message to be handed to a subscription.
type Delivery struct {
	Sub         SubID
	Key         uint64
	Address     routing.Address
	Body        Body
	Failed      uint32
	Redelivered bool
}

// Body is where a message's envelope lies: Bytes, or a place in the log.
type Body struct {
	Bytes []byte
	Seq   uint64
	Off   uint32
	Size  uint32
	Kept  bool // it does not expire any more, whatever the envelope says

	Parts int64 // of a large message: the bytes that are not in the envelope
}

// Confirm says that every request of a lane below Next is done: well, but for
// those with an answer.
type Confirm struct {
	Lane    LaneID
	Next    uint64
	Answers []Answer // of requests not confirmed before, ascending
}

// Drained says that a subscription's remaining credit is gone.
type Drained struct {
	Sub    SubID
	Credit uint32
}

// DeadLetter is a message to be sent to the dead-letter address in another shard.
// It stays in this one, dying, until Buried or Unburied is called for its key.
// Numbers ascend; the other shard takes each once. 0 is the number of those
// that are not persistent. One without a body uses up the number of a message that
// is gone: its queue was deleted.
type DeadLetter struct {
	Key     uint64
	Number  uint64
	Address routing.Address
	Body    Body
	Failed  uint32
}

// Effects returns what came of the calls since the last one.
func (s *Shard) Effects() *Effects { return &s.fx }

// Reset empties the effects once they were carried out.
func (e *Effects) Reset() {
	clear(e.Deliveries)
	clear(e.Confirms)
	clear(e.DeadLetters)
	e.Deliveries = e.Deliveries[:0]
	e.Confirms = e.Confirms[:0]
	e.Drained = e.Drained[:0]
	e.DeadLetters = e.DeadLetters[:0]
	e.Purge = 0
}

// Stored is a live persistent message.
type Stored struct {
	Key   uint64
	Queue routing.Address // in which it is, or was before it died
	Body  Body
	Dying uint64 // its number on the way to the dead-letter address in another shard, 0 if it is not
}

// Each calls f for every live persistent message, in the order of their keys.
func (s *Shard) Each(f func(m Stored) error) error {
	keys := make([]uint64, 0, s.store.live)
	for _, p := range s.store.table {
		if p != 0 && !s.store.at(p).has(markSoft) {
			keys = append(keys, s.store.at(p).key)
		}
	}
	slices.Sort(keys)
	for _, k := range keys {
		m := s.store.at(s.store.find(k))
		if err := f(Stored{Key: k, Queue: s.queueOf(m).addr, Body: s.bodyOf(m), Dying: s.dying.numbers[k].number}); err != nil {
			return err
		}
	}
	return nil
}
