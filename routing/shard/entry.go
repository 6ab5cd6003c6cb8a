package shard

import (
	"encoding/binary"
	"fmt"

	"github.com/selvedge-mq/selvedge/internal/cursor"
	"github.com/selvedge-mq/selvedge/routing"
)

// kind is the type of an entry; the numbers are part of the log's bytes.
type kind byte

const (
	kindEpoch     kind = 1  // a leader took over: node, session
	kindQueue     kind = 2  // the whole state of a queue: id, kind, name, reservation
	kindEnqueue   kind = 3  // a new message: key, queue, flags, envelope
	kindSettle    kind = 4  // a message is gone: key, cause
	kindCount     kind = 5  // a message's failed attempts: key, failed
	kindReserve   kind = 6  // messages of the queue up to key may be handed out
	kindLane      kind = 7  // the whole state of a lane
	kindDrop      kind = 8  // a session left: its lanes are gone
	kindRewrite   kind = 9  // a live message moved to the tail: key, queue, failed, flags, envelope
	kindCut       kind = 10 // the log may be purged up to a sequence
	kindPrepare   kind = 16 // a part of a transaction waits: id, coordinator, node, pins, messages
	kindFinish    kind = 17 // a part has ended: id, whether it committed
	kindDecision  kind = 18 // a coordinator's word: id, whether it commits, node, participants
	kindEnd       kind = 19 // a decision is carried out: id
	kindMove      kind = 11 // a message moved to the dead-letter queue of this shard: key, queue, cause
	kindTemporary kind = 13 // the whole state of a temporary queue: owner's session, then as a queue
	kindGone      kind = 14 // a temporary queue is gone, and what was in it: id
	kindPart      kind = 24 // a part of a large message: upload, index, key of the message or 0, bytes
	kindAbort     kind = 25 // an upload ends without a message
	kindDying     kind = 12 // a message is on its way to the dead-letter queue of another shard: key, number, cause
	kindAttempt   kind = 15 // a consumer is at a message that may have been handed out before: session of its node, key
)

// cause is why a message is gone; the numbers are part of the log's bytes.
type cause byte

const (
	causeAccepted   cause = 1
	causeDeadLetter cause = 2
	causeExpired    cause = 3
	causeDropped    cause = 4 // refused at the dead-letter queue itself
	causeUnreadable cause = 5 // dead, and its bytes are no message
	causeRejected   cause = 6 // of a death: a consumer rejected it
	causeExhausted  cause = 7 // of a death: too many attempts failed
)

const (
	flagReserve     = 1 << 0 // enqueue: the reservation moves to this message
	flagRedelivered = 1 << 1 // rewrite: it may have been handed out
	flagMoved       = 1 << 2 // rewrite: it was moved to the dead-letter queue
	flagDying       = 1 << 3 // rewrite: it is dying, and its number follows
	flagLarge       = 1 << 6 // enqueue, rewrite: it has parts, and their upload and their bytes follow the flags
	flagAttempt     = 1 << 4 // rewrite: a consumer is at it, and the session of its node follows
)

// entry is a decoded entry; which fields are set depends on the kind. Slices
// alias the record.
type entry struct {
	kind    kind
	key     uint64
	queue   uint32
	flags   byte
	cause   cause
	failed  uint16
	addr    routing.Kind
	name    []byte
	session uint64
	lane    byte
	next    uint64
	answers []Answer
	body    []byte
	bodyOff int // of body in the entries
	upload  UploadID
	index   uint32 // of a part
	bytes   int64  // of a large message's parts

	tx          TxID
	coordinator uint16
	pins        []pin
	sends       []preparedSend
	shards      []uint16
}

func appendEpoch(dst []byte, node string, session uint64) []byte {
	dst = append(dst, byte(kindEpoch))
	dst = binary.BigEndian.AppendUint64(dst, session)
	return cursor.AppendBytes(dst, node)
}

func appendQueue(dst []byte, q *queue) []byte {
	dst = append(dst, byte(kindQueue))
	dst = binary.AppendUvarint(dst, uint64(q.id))
	dst = append(dst, byte(q.addr.Kind))
	dst = binary.BigEndian.AppendUint64(dst, max(q.reserved, q.promised))
	return cursor.AppendBytes(dst, q.addr.Name)
}

// appendEnqueue appends a new message; u is the upload of a large one, else nil.
func appendEnqueue(dst []byte, key uint64, queue uint32, flags byte, u *upload, body []byte) []byte {
	dst = append(dst, byte(kindEnqueue))
	dst = binary.BigEndian.AppendUint64(dst, key)
	dst = binary.AppendUvarint(dst, uint64(queue))
	if u != nil {
		dst = appendLarge(append(dst, flags|flagLarge), u, u.size)
	} else {
		dst = append(dst, flags)
	}
	return cursor.AppendBytes(dst, body)
}

func appendRewrite(dst []byte, m *message, dying, attempt uint64, u *upload, body []byte) []byte {
	dst = append(dst, byte(kindRewrite))
	dst = binary.BigEndian.AppendUint64(dst, m.key)
	dst = binary.AppendUvarint(dst, uint64(m.queue))
	var flags byte
	if m.has(markRedelivered) {
		flags |= flagRedelivered
	}
	if m.has(markMoved) {
		flags |= flagMoved
	}
	if m.has(markDying) {
		flags |= flagDying
	}
	if attempt != 0 {
		flags |= flagAttempt
	}
	if u != nil {
		dst = appendLarge(append(dst, flags|flagLarge), u, u.body)
	} else {
		dst = append(dst, flags)
	}
	dst = binary.AppendUvarint(dst, uint64(m.failed))
	if m.has(markDying) {
		dst = binary.AppendUvarint(dst, dying)
	}
	if attempt != 0 {
		dst = binary.BigEndian.AppendUint64(dst, attempt)
	}
	return cursor.AppendBytes(dst, body)
}

func appendSettle(dst []byte, key uint64, c cause) []byte {
	dst = append(dst, byte(kindSettle), byte(c))
	return binary.BigEndian.AppendUint64(dst, key)
}

func appendCount(dst []byte, key uint64, failed uint16) []byte {
	dst = append(dst, byte(kindCount))
	dst = binary.BigEndian.AppendUint64(dst, key)
	return binary.AppendUvarint(dst, uint64(failed))
}

func appendReserve(dst []byte, queue uint32, key uint64) []byte {
	dst = append(dst, byte(kindReserve))
	dst = binary.BigEndian.AppendUint64(dst, key)
	return binary.AppendUvarint(dst, uint64(queue))
}

func appendLane(dst []byte, id LaneID, node string, next uint64, answers []Answer) []byte {
	dst = append(dst, byte(kindLane), id.Lane)
	dst = binary.BigEndian.AppendUint64(dst, id.Session)
	dst = binary.AppendUvarint(dst, next)
	dst = cursor.AppendBytes(dst, node)
	dst = binary.AppendUvarint(dst, uint64(len(answers)))
	for _, a := range answers {
		dst = binary.AppendUvarint(dst, a.Number)
		dst = append(dst, byte(a.Code))
	}
	return dst
}

func appendMove(dst []byte, key uint64, queue uint32, why cause) []byte {
	dst = append(dst, byte(kindMove), byte(why))
	dst = binary.BigEndian.AppendUint64(dst, key)
	return binary.AppendUvarint(dst, uint64(queue))
}

func appendDying(dst []byte, key, number uint64, why cause) []byte {
	dst = append(dst, byte(kindDying), byte(why))
	dst = binary.BigEndian.AppendUint64(dst, key)
	return binary.AppendUvarint(dst, number)
}

func appendDrop(dst []byte, session uint64) []byte {
	dst = append(dst, byte(kindDrop))
	return binary.BigEndian.AppendUint64(dst, session)
}

func appendCut(dst []byte, upTo uint64) []byte {
	dst = append(dst, byte(kindCut))
	return binary.AppendUvarint(dst, upTo)
}

// entryReader walks the entries of a record.
type entryReader struct{ cursor.Cursor }

// next reads one entry into e.
func (r *entryReader) next(e *entry) error {
	at := r.Off
	*e = entry{
		kind: kind(r.Octet()), answers: e.answers[:0], pins: e.pins[:0], sends: e.sends[:0], shards: e.shards[:0],
	}
	switch e.kind {
	case kindEpoch:
		e.session, e.name = r.U64(), r.Bytes()
	case kindQueue:
		e.queue, e.addr, e.key, e.name = r.queue(), routing.Kind(r.Octet()), r.U64(), r.Bytes()
	case kindTemporary:
		e.session = r.U64()
		e.queue, e.addr, e.key, e.name = r.queue(), routing.Kind(r.Octet()), r.U64(), r.Bytes()
	case kindGone:
		e.queue = r.queue()
	case kindEnqueue:
		e.key, e.queue, e.flags = r.U64(), r.queue(), r.Octet()
		r.large(e)
		e.body, e.bodyOff = r.body()
	case kindRewrite:
		e.key, e.queue, e.flags = r.U64(), r.queue(), r.Octet()
		r.large(e)
		e.failed = uint16(r.Uvarint())
		if e.flags&flagDying != 0 {
			e.next = r.Uvarint()
		}
		if e.flags&flagAttempt != 0 {
			e.session = r.U64()
		}
		e.body, e.bodyOff = r.body()
	case kindSettle:
		e.cause, e.key = cause(r.Octet()), r.U64()
	case kindCount:
		e.key, e.failed = r.U64(), uint16(r.Uvarint())
	case kindReserve:
		e.key, e.queue = r.U64(), r.queue()
	case kindLane:
		r.lane(e)
	case kindDrop:
		e.session = r.U64()
	case kindCut:
		e.next = r.Uvarint()
	case kindMove:
		e.cause, e.key, e.queue = cause(r.Octet()), r.U64(), r.queue()
	case kindDying:
		e.cause, e.key, e.next = cause(r.Octet()), r.U64(), r.Uvarint()
	case kindAttempt:
		e.session, e.key = r.U64(), r.U64()
	case kindPrepare:
		r.prepare(e)
	case kindFinish:
		e.tx, e.flags = r.tx(), r.Octet()
	case kindDecision:
		r.decision(e)
	case kindEnd:
		e.tx = r.tx()
	case kindPart:
		r.part(e)
	case kindAbort:
		e.upload = r.upload()
	default:
		r.Bad = true
	}
	if r.Bad {
		return fmt.Errorf("%w: entry of kind %d at octet %d", ErrCorrupt, e.kind, at)
	}
	return nil
}

func (r *entryReader) lane(e *entry) {
	e.lane, e.session, e.next, e.name = r.Octet(), r.U64(), r.Uvarint(), r.Bytes()
	for n := r.Uvarint(); n > 0 && !r.Bad; n-- {
		e.answers = append(e.answers, Answer{Number: r.Uvarint(), Code: routing.Code(r.Octet())})
	}
}

// maxQueueID bounds the table of queues, also against a damaged record.
const maxQueueID = 1 << 22

func (r *entryReader) queue() uint32 {
	v := r.Uvarint()
	if v > maxQueueID {
		r.Bad = true
		return 0
	}
	return uint32(v)
}

func (r *entryReader) body() ([]byte, int) {
	b := r.Bytes()
	return b, r.Off - len(b)
}
