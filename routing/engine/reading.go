package engine

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/selvedge-mq/selvedge/internal/cursor"
	"github.com/selvedge-mq/selvedge/routing"
	"github.com/selvedge-mq/selvedge/routing/shard"
)

// reading is a read of a large delivery that was not answered. The portal asks
// each new leader again, so an answer that is lost with a leader comes from the next.
type reading struct {
	number uint64 // names it: an answer to a former one is not taken for its own
	key    uint64
	offset int64 // in the payload
	most   int
	to     routing.PieceSink
	token  uint64
	since  time.Time
}

// mostReads is how many reads of a delivery may be under way: one, and one of the
// former delivery of the same message, which its consumer may still be at when the
// message comes again.
const mostReads = 2

// readsOf returns how many reads of a delivery were not answered.
func (q *queueSub) readsOf(key uint64) (n int) {
	for _, r := range q.reading {
		if r.key == key {
			n++
		}
	}
	return n
}

// extent is how much a large delivery has to read.
type extent struct {
	head  int   // bytes that came with the delivery
	parts int64 // bytes behind them
}

func (x extent) end() int64 { return int64(x.head) + x.parts }

// Read implements routing.Subscription.
func (q *queueSub) Read(t routing.Tag, offset int64, most int, s routing.PieceSink, token uint64) {
	r := &reading{key: t.Key, offset: offset, most: most, to: s, token: token, since: time.Now()}
	if q.p.e.over.Load() {
		r.fail(q, routing.CodeClosed, "the node is shutting down")
		return
	}
	q.p.box.Put(func() { q.p.read(q, r) })
}

func (r *reading) fail(q *queueSub, code routing.Code, reason string) {
	r.to.Piece(routing.Piece{Token: r.token, Offset: r.offset, Err: &routing.Error{
		Code: code, Op: "read", Address: q.opts.Address.String(), Reason: reason,
	}})
}

// read begins a read.
func (p *portal) read(q *queueSub, r *reading) {
	_, held := q.inFlight[r.key]
	x, large := q.large[r.key]
	switch {
	case q.gone.Load() || p.subs[q.id] != q:
		r.fail(q, routing.CodeClosed, "the subscription has ended")
	case !held:
		r.fail(q, routing.CodeStale, "the delivery is settled")
	case !large:
		r.fail(q, routing.CodeInvalid, "the message came as a whole")
	case q.readsOf(r.key) >= mostReads:
		r.fail(q, routing.CodeInvalid, "the delivery is being read: one piece at a time")
	case r.offset < int64(x.head) || r.offset >= x.end() || r.most < 1 || r.most > routing.MaxPart:
		r.fail(q, routing.CodeInvalid, fmt.Sprintf("there is no piece of %d bytes at %d: want 1 to %d, from %d to %d",
			r.most, r.offset, routing.MaxPart, x.head, x.end()))
	default:
		p.lastRead++
		r.number = p.lastRead
		if q.reading == nil {
			q.reading = map[uint64]*reading{}
		}
		q.reading[r.number] = r
		p.ask(q, r)
	}
}

// ask asks the leader for a piece. Without a leader the next one is asked.
func (p *portal) ask(q *queueSub, r *reading) {
	sub, number, key, most := q.id, r.number, r.key, r.most
	offset := r.offset - int64(q.large[r.key].head)
	msg := appendSub(p.head(verbRead).append(nil), sub)
	msg = binary.AppendUvarint(msg, number)
	msg = binary.BigEndian.AppendUint64(msg, key)
	msg = binary.AppendUvarint(binary.AppendUvarint(msg, uint64(offset)), uint64(most))
	p.tell(msg, func(l *leader) {
		l.read(pieceAsked{sub: shard.SubID{Session: p.e.session, Sub: sub}, number: number, key: key, offset: offset, most: most})
	})
}

// askAgain asks a new leader for what the former one has not answered.
func (p *portal) askAgain() {
	for _, id := range slices.Sorted(maps.Keys(p.subs)) {
		q := p.subs[id]
		for _, number := range slices.Sorted(maps.Keys(q.reading)) {
			p.ask(q, q.reading[number])
		}
	}
}

// piece takes a leader's answer to a read.
func (p *portal) piece(report uint64, a *pieceAnswer) {
	q := p.subs[a.sub]
	if q == nil || report != p.reports {
		return
	}
	r := q.reading[a.number]
	if r == nil || r.key != a.key {
		return // an answer to a read that was given up
	}
	delete(q.reading, a.number)
	if a.code != routing.CodeOK {
		p.giveUp(q, a)
		r.fail(q, a.code, reasons[a.code])
		return
	}
	r.to.Piece(routing.Piece{Token: r.token, Offset: r.offset, Bytes: a.bytes})
	if q.opts.Settled && r.offset+int64(len(a.bytes)) == q.large[a.key].end() && q.inFlight[a.key].note == 0 {
		p.settle.put(settleRequest{sub: q, key: a.key, outcome: routing.Outcome{Kind: routing.Accepted}})
	}
}

// giveUp gives a delivery back that its consumer cannot read to its end, if the consumer
// settles nothing: it is another one's, but this node reports it to the next leader as long
// as it is in flight here.
func (p *portal) giveUp(q *queueSub, a *pieceAnswer) {
	if q.opts.Settled && a.code == routing.CodeStale && q.inFlight[a.key].note == 0 {
		p.settle.put(settleRequest{sub: q, key: a.key, outcome: routing.Outcome{Kind: routing.Released}})
	}
}

// over forgets a delivery that is not in flight any more, and ends what is read of it.
func (q *queueSub) over(key uint64) {
	for _, number := range slices.Sorted(maps.Keys(q.reading)) {
		if r := q.reading[number]; r.key == key {
			delete(q.reading, number)
			r.fail(q, routing.CodeStale, "the delivery is settled")
		}
	}
	delete(q.inFlight, key)
	delete(q.large, key)
}

// endReads ends the reads of a subscription that ends.
func (q *queueSub) endReads() {
	for _, number := range slices.Sorted(maps.Keys(q.reading)) {
		q.reading[number].fail(q, routing.CodeClosed, "the subscription has ended")
	}
	clear(q.reading)
}

// expireReads fails the reads that have waited longer than the limit.
func (q *queueSub) expireReads(before time.Time, code routing.Code) (n int) {
	if len(q.reading) == 0 {
		return 0 // nearly always, and this is asked of every subscription, four times a second
	}
	for _, number := range slices.Sorted(maps.Keys(q.reading)) {
		if r := q.reading[number]; r.since.Before(before) {
			delete(q.reading, number)
			r.fail(q, code, "no answer in time: it may be tried again")
			n++
		}
	}
	return n
}

// pieceAsked is a read as the leader takes it.
type pieceAsked struct {
	sub    shard.SubID
	number uint64
	key    uint64
	offset int64 // behind the head
	most   int
	stale  bool // the message is not the subscription's
}

// pieceAnswer is what comes of it.
type pieceAnswer struct {
	sub    uint64
	number uint64
	key    uint64
	code   routing.Code
	bytes  []byte
}

func readPieceAsked(c *cursor.Cursor) (sub uint64, a pieceAsked) {
	sub = c.Uvarint()
	a = pieceAsked{number: c.Uvarint(), key: c.U64(), offset: int64(c.Uvarint()), most: int(c.Uvarint())}
	if a.offset < 0 || a.most < 1 || a.most > routing.MaxPart {
		c.Bad = true
	}
	return sub, a
}

func appendPiece(dst []byte, a *pieceAnswer) []byte {
	dst = binary.AppendUvarint(appendSub(dst, a.sub), a.number)
	dst = append(binary.BigEndian.AppendUint64(dst, a.key), byte(a.code))
	return append(dst, a.bytes...)
}

func readPiece(c *cursor.Cursor) *pieceAnswer {
	a := &pieceAnswer{sub: c.Uvarint(), number: c.Uvarint(), key: c.U64(), code: routing.Code(c.Octet())}
	a.bytes = c.Rest
	return a
}

// read has the outlet of its node answer a read.
func (l *leader) read(a pieceAsked) {
	a.stale = !l.s.Reads(a.sub, a.key)
	l.pieces = append(l.pieces, a)
}

// answer finds the bytes of a read.
func (o *outlet) answer(ctx context.Context, a *pieceAsked) (*pieceAnswer, error) {
	out := &pieceAnswer{sub: a.sub.Sub, number: a.number, key: a.key, code: routing.CodeStale}
	if a.stale {
		return out, nil
	}
	part, start, err := o.l.partAt(ctx, a.key, a.offset)
	if errors.Is(err, ErrPurged) { // settled in the meantime
		return out, nil
	}
	if err != nil {
		return nil, err
	}
	from := int(a.offset - start)
	out.code = routing.CodeOK
	// A copy: the client is slow, and the record is large.
	out.bytes = slices.Clone(part[from:min(len(part), from+a.most)])
	return out, nil
}

// partAt returns the part of a message that has the byte at an offset behind the head,
// and the offset of its first byte; also when the cleaner moves it in the
// meantime. ErrPurged means that the message is gone.
func (l *leader) partAt(ctx context.Context, key uint64, offset int64) ([]byte, int64, error) {
	type place struct {
		at    shard.Body
		start int64
		ok    bool
	}
	var last uint64
	for {
		ch := make(chan place, 1)
		l.box.Put(func() {
			at, start, ok := l.s.PartAt(key, offset)
			ch <- place{at, start, ok}
		})
		select {
		case now := <-ch:
			if !now.ok || now.at.Seq == last {
				return nil, 0, ErrPurged
			}
			b, err := l.parts.body(ctx, l.log, now.at)
			if !errors.Is(err, ErrPurged) {
				return b, now.start, err
			}
			last = now.at.Seq
		case <-ctx.Done():
			return nil, 0, ctx.Err()
		}
	}
}

// sendPiece brings an answer to the node.
func (o *outlet) sendPiece(ctx context.Context, epoch uint32, a *pieceAnswer) {
	e := o.l.e
	if o.node == e.node {
		p := e.portals[o.l.shard]
		p.box.Put(func() { p.piece(o.to.report, a) })
		return
	}
	msg := o.to.append(head{verb: verbPiece, shard: o.l.shard, epoch: epoch}.append(nil))
	e.sendWhenWritable(ctx, o.node, o.to.session, LaneDeliver, appendPiece(msg, a), o.leaseHeld)
}
