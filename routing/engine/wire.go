package engine

import (
	"encoding/binary"

	"github.com/selvedge-mq/selvedge/internal/cursor"
	"github.com/selvedge-mq/selvedge/routing"
	"github.com/selvedge-mq/selvedge/routing/shard"
)

// A message between nodes begins with an octet that says what it is, the shard
// (u16) and the epoch (u32) that it belongs to. A node ignores what carries a
// lower epoch than it has seen. What a leader says to a portal names its hearer next.
type verb byte

const (
	verbPing      verb = 1  // leader → all: I lead; number, and the epoch that it refutes, if there is one
	verbPong      verb = 2  // → leader: number
	verbReport    verb = 3  // → leader: everything that a portal knows
	verbWelcome   verb = 4  // leader →: the numbers from which to send
	verbSubscribe verb = 5  // → leader: subscription, address
	verbOpened    verb = 6  // leader →: the subscription is in force
	verbGrant     verb = 7  // → leader: subscription, credit
	verbDrain     verb = 8  // → leader: subscription
	verbDrained   verb = 9  // leader →: subscription, credit given back
	verbClose     verb = 10 // → leader: subscription
	verbClosed    verb = 11 // leader →: subscription
	verbConfirm   verb = 12 // leader →: lane, next, answers
	verbSettle    verb = 13 // → leader: settlements
	verbSend      verb = 14 // → leader: envelopes
	verbDeliver   verb = 15 // leader →: deliveries
	verbInterest  verb = 16 // hub → hub: topics with subscriptions, all or one more or less
	verbHeard     verb = 17 // hub → hub: an interest is known
	verbTopic     verb = 18 // hub → hub: envelopes of topics

	verbGuest        verb = 19 // → leader: another shard's leader is here, the first dead letter not confirmed, its epoch
	verbExpect       verb = 20 // leader →: another shard, the number of the next dead letter
	verbLetter       verb = 21 // → leader: a dead letter of another shard
	verbConfirmGuest verb = 22 // leader →: another shard, next, answers

	verbRefuse verb = 24 // leader →: the subscription cannot be
	verbFull   verb = 23 // who leads, or should → all: the log has no room, or has some again

	verbRead        verb = 26 // → leader: a piece of a large delivery is asked for
	verbPiece       verb = 27 // leader →: the answer
	verbLargeLetter verb = 28 // → leader: a dead letter of another shard, whose parts are there

	verbStep    verb = 30 // → leader: a step of a transaction
	verbAsk     verb = 31 // → coordinator's leader: a transaction, its node, the shard whose part waits
	verbVerdict verb = 32 // → participant's leader: a transaction, whether it commits, the coordinator
	verbCarried verb = 33 // → coordinator's leader: a transaction, the shard that has carried it out
)

// head is what every message begins with.
type head struct {
	verb  verb
	shard int
	epoch uint32
}

const headSize = 1 + 2 + 4

func (h head) append(dst []byte) []byte {
	dst = append(dst, byte(h.verb))
	dst = binary.BigEndian.AppendUint16(dst, uint16(h.shard))
	return binary.BigEndian.AppendUint32(dst, h.epoch)
}

func readHead(c *cursor.Cursor) head {
	return head{verb: verb(c.Octet()), shard: int(c.U16()), epoch: c.U32()}
}

func appendSubscribe(dst []byte, id uint64, a routing.Address) []byte {
	dst = binary.AppendUvarint(dst, id)
	dst = append(dst, byte(a.Kind))
	return cursor.AppendBytes(dst, a.Name)
}

func readSubscribe(c *cursor.Cursor) (uint64, routing.Address) {
	return c.Uvarint(), routing.Address{Kind: routing.Kind(c.Octet()), Name: string(c.Bytes())}
}

func appendSub(dst []byte, id uint64) []byte { return binary.AppendUvarint(dst, id) }

func appendGrant(dst []byte, id uint64, n int32) []byte {
	return binary.BigEndian.AppendUint32(binary.AppendUvarint(dst, id), uint32(n))
}

// settleBatch is a run of settlements with consecutive numbers.
type settleBatch struct {
	session uint64
	first   uint64
	lowest  uint64 // the node knows the ends of all below
	list    []shard.Settlement
}

const (
	outcomeFailed = 1 << 4
	outcomeElse   = 1 << 5
)

func (b *settleBatch) append(dst []byte) []byte {
	dst = binary.BigEndian.AppendUint64(dst, b.session)
	dst = binary.AppendUvarint(dst, b.first)
	dst = binary.AppendUvarint(dst, b.lowest)
	for i := range b.list {
		dst = appendSettlement(dst, &b.list[i])
	}
	return dst
}

func appendSettlement(dst []byte, r *shard.Settlement) []byte {
	o := byte(r.Outcome.Kind)
	if r.Outcome.DeliveryFailed {
		o |= outcomeFailed
	}
	if r.Outcome.UndeliverableHere {
		o |= outcomeElse
	}
	dst = append(dst, o)
	dst = binary.AppendUvarint(dst, r.Sub.Sub)
	return binary.BigEndian.AppendUint64(dst, r.Key)
}

func readSettlement(c *cursor.Cursor, session uint64) shard.Settlement {
	o := c.Octet()
	return shard.Settlement{
		Sub: shard.SubID{Session: session, Sub: c.Uvarint()}, Key: c.U64(),
		Outcome: routing.Outcome{
			Kind:              routing.OutcomeKind(o & 0xf),
			DeliveryFailed:    o&outcomeFailed != 0,
			UndeliverableHere: o&outcomeElse != 0,
		},
	}
}

func readSettles(c *cursor.Cursor) *settleBatch {
	b := &settleBatch{session: c.U64(), first: c.Uvarint(), lowest: c.Uvarint()}
	for c.More() {
		b.list = append(b.list, readSettlement(c, b.session))
	}
	return b
}

// sendBatch is a run of envelopes with consecutive numbers. buf holds them with
// their sizes in sizes.
type sendBatch struct {
	lane    byte // not on the wire: the verb says it
	step    bool // nor this: the one request is a step of a transaction
	session uint64
	first   uint64
	lowest  uint64
	sizes   []int32
	buf     []byte
}

func (b *sendBatch) append(dst []byte) []byte {
	dst = binary.BigEndian.AppendUint64(dst, b.session)
	dst = binary.AppendUvarint(dst, b.first)
	dst = binary.AppendUvarint(dst, b.lowest)
	dst = binary.AppendUvarint(dst, uint64(len(b.sizes)))
	for _, n := range b.sizes {
		dst = binary.AppendUvarint(dst, uint64(n))
	}
	return append(dst, b.buf...)
}

func readSends(c *cursor.Cursor, lane byte) *sendBatch {
	b := &sendBatch{lane: lane, session: c.U64(), first: c.Uvarint(), lowest: c.Uvarint()}
	total := 0
	for n := c.Uvarint(); n > 0 && !c.Bad; n-- {
		size := c.Uvarint()
		if size > uint64(len(c.Rest)) {
			c.Bad = true
			return b
		}
		total += int(size)
		b.sizes = append(b.sizes, int32(size))
	}
	b.buf = c.Take(total)
	return b
}

func appendConfirm(dst []byte, cf *shard.Confirm) []byte {
	dst = append(dst, cf.Lane.Lane)
	dst = binary.AppendUvarint(dst, cf.Next)
	for _, a := range cf.Answers {
		dst = binary.AppendUvarint(dst, a.Number)
		dst = append(dst, byte(a.Code))
	}
	return dst
}

func readConfirm(c *cursor.Cursor) (lane byte, next uint64, answers []shard.Answer) {
	lane, next = c.Octet(), c.Uvarint()
	for c.More() {
		answers = append(answers, shard.Answer{Number: c.Uvarint(), Code: routing.Code(c.Octet())})
	}
	return lane, next, answers
}

// handed is a delivery on its way from the leader to a portal.
type handed struct {
	sub         uint64
	key         uint64
	failed      uint32
	redelivered bool
	kept        bool  // it does not expire any more
	parts       int64 // bytes that are not in the body
	body        []byte
}

const (
	handedAgain = 1 << 0
	handedKept  = 1 << 1
	handedLarge = 1 << 2
)

func appendHanded(dst []byte, d *handed) []byte {
	dst = binary.AppendUvarint(dst, d.sub)
	dst = binary.BigEndian.AppendUint64(dst, d.key)
	dst = binary.AppendUvarint(dst, uint64(d.failed))
	dst = append(dst, flag(d.redelivered)*handedAgain|flag(d.kept)*handedKept|flag(d.parts > 0)*handedLarge)
	if d.parts > 0 {
		dst = binary.AppendUvarint(dst, uint64(d.parts))
	}
	return cursor.AppendBytes(dst, d.body)
}

func readHanded(c *cursor.Cursor) handed {
	d := handed{sub: c.Uvarint(), key: c.U64(), failed: uint32(c.Uvarint())}
	flags := c.Octet()
	d.redelivered, d.kept = flags&handedAgain != 0, flags&handedKept != 0
	if flags&handedLarge != 0 {
		d.parts = int64(c.Uvarint())
	}
	d.body = c.Bytes()
	return d
}

func flag(b bool) byte {
	if b {
		return 1
	}
	return 0
}
