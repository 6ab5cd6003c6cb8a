package engine

import (
	"fmt"
	"slices"
	"time"

	"github.com/selvedge-mq/selvedge/routing/shard"
)

// flight is a batch on its way: a record being appended, or requests that are
// not logged and wait for the records before them.
type flight struct {
	batch    *shard.Batch
	expect   uint64 // the record's sequence is expect+1
	answered bool
	refused  bool // the log had no room for it
	then     []func()
}

const (
	mostFlights  = 4        // appends under way at once
	pipelineFrom = 64 << 10 // bytes from which a record follows one that is under way
)

// compose takes waiting requests into the open record, settlements before sends, as
// far as there is room.
func (l *leader) compose() {
	l.composeOpenings()
	for len(l.settles) > 0 && !l.s.Full() {
		w := l.settles[0]
		id := shard.LaneID{Session: w.batch.session, Lane: laneSettle}
		l.s.Known(id, w.batch.lowest)
		for w.done < len(w.batch.list) && !l.s.Full() {
			l.s.Settle(id, w.batch.first+uint64(w.done), w.batch.list[w.done])
			w.done++
		}
		if w.done < len(w.batch.list) {
			return
		}
		l.consumed(w.node, LaneSettle, w.bytes)
		l.settles = pop(l.settles)
	}
	for len(l.sends) > 0 && !l.s.Full() {
		w := l.sends[0]
		id := shard.LaneID{Session: w.batch.session, Lane: w.batch.lane}
		l.s.Known(id, w.batch.lowest)
		for w.done < len(w.batch.sizes) && !l.s.Full() {
			size := int(w.batch.sizes[w.done])
			request := w.batch.buf[w.off : w.off+size]
			if w.batch.step {
				l.takeStep(id, w.batch.first+uint64(w.done), request)
			} else {
				l.s.Send(id, w.batch.first+uint64(w.done), request)
			}
			w.done++
			w.off += size
		}
		if w.done < len(w.batch.sizes) {
			return
		}
		l.consumed(w.node, LaneSend, w.bytes)
		l.sends = pop(l.sends)
	}
}

func pop[T any](list []*T) []*T {
	list[0] = nil
	return list[1:]
}

func (l *leader) consumed(node string, lane Lane, bytes int) {
	if bytes > 0 {
		l.e.opts.Peers.Consumed(node, lane, bytes)
	}
}

// queueSends takes a node's envelopes in; bytes of its window are given back
// when they are composed.
func (l *leader) queueSends(node string, b *sendBatch, bytes int) {
	l.sends = append(l.sends, &waiting[*sendBatch]{batch: b, node: node, bytes: bytes})
}

// queueSettles takes a node's settlements in.
func (l *leader) queueSettles(node string, b *settleBatch, bytes int) {
	l.settles = append(l.settles, &waiting[*settleBatch]{batch: b, node: node, bytes: bytes})
}

// dropWaiting forgets what a node sent and was not composed: it sends it again
// when it reports.
func (l *leader) dropWaiting(node string) {
	l.sends = dropOf(l, l.sends, node, LaneSend)
	l.settles = dropOf(l, l.settles, node, LaneSettle)
}

func dropOf[B any](l *leader, list []*waiting[B], node string, lane Lane) []*waiting[B] {
	kept := list[:0]
	for _, w := range list {
		if w.node == node {
			l.consumed(node, lane, w.bytes)
			continue
		}
		kept = append(kept, w)
	}
	clear(list[len(kept):])
	return kept
}

// flush seals the open record and appends it, if it is time: at once when no
// append is under way; behind others only when it is worth a round of its own,
// so that batches grow while the log is busy. It reports whether it did anything.
func (l *leader) flush() bool {
	size, anything, soft := l.s.Composed()
	if l.space.on() {
		return false
	}
	if !anything || soft && !l.lease.held(time.Now()) {
		return false // what is not logged rests on the lease alone
	}
	appends := 0
	for _, f := range l.flights {
		if f.batch.Rec != nil {
			appends++
		}
	}
	if appends >= mostFlights || appends >= l.lease.eager() && size < pipelineFrom {
		return false
	}
	b := l.s.Seal(nowMilli())
	if b.Rec == nil && len(l.flights) == 0 {
		l.s.ApplySoft(b)
		return true
	}
	f := &flight{batch: b, expect: l.lastExpected(), answered: b.Rec == nil, then: l.attested}
	l.attested = nil
	l.flights = append(l.flights, f)
	if b.Rec != nil {
		l.e.metrics.batch.Observe(float64(b.Entries))
		l.e.metrics.recordBytes.Observe(float64(len(b.Rec)))
		l.append(f)
	}
	return true
}

func (l *leader) append(f *flight) {
	l.log.Append(f.expect, f.batch.Rec, func(seq uint64, err error) {
		l.box.Put(func() { l.appended(f, seq, err) })
	})
}

// lastExpected returns the sequence behind which the next record belongs.
func (l *leader) lastExpected() uint64 {
	for _, f := range slices.Backward(l.flights) {
		if f.batch.Rec != nil {
			return f.expect + 1
		}
	}
	return l.s.LastSeq()
}

// appended takes the log's answer in. What is answered without a gap from the
// front is applied; the first failure ends the epoch, since everything behind it
// is unknown.
func (l *leader) appended(f *flight, seq uint64, err error) {
	f.answered = true
	if err == nil && seq != f.expect+1 {
		err = fmt.Errorf("appended at %d, expected %d: %w", seq, f.expect+1, ErrConflict)
	}
	if err == nil {
		l.hasRoom()
	} else if l.noRoom(f, err) {
		return
	}
	if err != nil {
		l.fail(fmt.Errorf("append behind %d: %w", f.expect, err))
	}
	l.applyAnswered()
}

// applyAnswered applies the batches that are answered, from the front without a
// gap. Requests that are not logged rest on the lease alone: their batch waits for
// it, however well the record before it was committed. [invariant 2]
func (l *leader) applyAnswered() {
	for l.failed == nil && len(l.flights) > 0 && l.flights[0].answered && !l.flights[0].refused {
		first := l.flights[0]
		if first.batch.Soft() && !l.lease.held(time.Now()) {
			return
		}
		l.flights = pop(l.flights)
		if first.batch.Rec == nil {
			l.s.ApplySoft(first.batch)
			continue
		}
		if first.batch.Parts == 0 || first.batch.Messages > 0 { // parts alone would only drive bodies out
			l.cache.put(first.expect+1, first.batch.Rec)
		}
		if err := l.s.Apply(first.expect+1, first.batch.Rec, first.batch); err != nil {
			l.failed = err
			return
		}
		for _, f := range first.then {
			f()
		}
	}
}

// attest calls f when it is certain that no other leader had logged anything when attest
// was called: once a record is in the log that was composed after that. The lease says
// less: a leader may be deposed within it. [invariant 2]
func (l *leader) attest(f func()) {
	l.s.Attest()
	l.attested = append(l.attested, f)
}

func (l *leader) allAnswered() bool {
	for _, f := range l.flights {
		if !f.answered {
			return false
		}
	}
	return true
}
