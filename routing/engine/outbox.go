package engine

import (
	"sync"
	"time"

	"github.com/selvedge-mq/selvedge/routing"
	"github.com/selvedge-mq/selvedge/routing/envelope"
	"github.com/selvedge-mq/selvedge/routing/shard"
)

// outLane is a portal's stream of requests of one kind: numbered from 1 without
// gaps, held until confirmed.
type outLane struct {
	lane    byte // as in the log
	peer    Lane // between nodes
	next    uint64
	lowest  uint64 // the first request that is not confirmed
	batches []*outBatch
	sent    int // of batches, those that the leader has got in this epoch

	ahead        uint64 // requests below are done already, though not all are made yet
	aheadAnswers []shard.Answer
	failed       uint64 // the first request that did not end well, 0 for none
}

// known returns the number below which the leader may forget its answers. An
// import that fails is repeated, and must hear the answer again that failed it.
func (l *outLane) known(importing bool) uint64 {
	if importing && l.failed > 0 {
		return l.failed
	}
	return l.lowest
}

// outBatch is a run of requests that travel together.
type outBatch struct {
	first   uint64
	count   int
	since   time.Time
	expired bool

	sends   *sendBatch
	reqs    []sendRequest
	settles *settleBatch
	sreqs   []settleRequest
	own     bool // nobody else has the list of settles
}

const (
	batchBytes = 256 << 10 // of sends that travel together
	batchCount = 4096      // of settlements that travel together
)

func newOutLane(lane byte, peer Lane) outLane {
	return outLane{lane: lane, peer: peer, next: 1, lowest: 1}
}

func (l *outLane) add(b *outBatch) {
	b.first = l.next
	l.next += uint64(b.count)
	l.batches = append(l.batches, b)
}

func (l *outLane) addSends(session uint64, buf []byte, reqs []sendRequest, now time.Time) {
	for len(reqs) > 0 {
		if t := reqs[0].step; t != nil {
			l.add(&outBatch{count: 1, since: now, reqs: reqs[:1], sends: &sendBatch{
				lane: l.lane, session: session, first: l.next, sizes: []int32{reqs[0].size}, buf: t.raw, step: true,
			}})
			reqs = reqs[1:]
			continue
		}
		n, size := 0, 0
		sizes := make([]int32, 0, len(reqs))
		for n < len(reqs) && reqs[n].step == nil && (n == 0 || size+int(reqs[n].size) <= batchBytes) {
			sizes = append(sizes, reqs[n].size)
			size += int(reqs[n].size)
			n++
		}
		b := &outBatch{
			count: n, since: now, reqs: reqs[:n],
			sends: &sendBatch{lane: laneSend, session: session, first: l.next, sizes: sizes, buf: buf[:size:size]},
		}
		l.add(b)
		reqs, buf = reqs[n:], buf[size:]
	}
}

func (l *outLane) addSettles(session uint64, reqs []settleRequest, now time.Time) {
	for len(reqs) > 0 {
		n := min(len(reqs), batchCount)
		list := make([]shard.Settlement, n)
		for i := range list {
			r := &reqs[i]
			list[i] = shard.Settlement{Sub: shard.SubID{Session: session, Sub: r.sub.id}, Key: r.key, Outcome: r.outcome}
		}
		l.add(&outBatch{
			count: n, since: now, sreqs: reqs[:n],
			settles: &settleBatch{session: session, first: l.next, list: list},
		})
		reqs = reqs[n:]
	}
}

func (b *outBatch) setLowest(n uint64) {
	if b.sends != nil {
		b.sends.lowest = n
		return
	}
	b.settles.lowest = n
}

// rewind prepares to send from a number on. Batches that are partly known to the
// leader are sent whole: it skips what it has.
func (l *outLane) rewind(from uint64) {
	l.sent = 0
	for l.sent < len(l.batches) && l.batches[l.sent].first+uint64(l.batches[l.sent].count) <= from {
		l.sent++
	}
}

// confirm ends every request below next, with the answers for those that did not
// go well.
func (p *portal) confirm(lane byte, next uint64, answers []shard.Answer) {
	if lane < laneSettle || lane > laneSend {
		return
	}
	l := &p.lanes[lane-laneSettle]
	switch {
	case next <= l.next:
		p.confirmBelow(l, next, answers)
	case !p.neverMade(l, verbConfirm, next): // of a session that began before this process: an import
		l.ahead, l.aheadAnswers = next, append(l.aheadAnswers, answers...)
		p.confirmAhead(l)
	}
}

// neverMade reports whether a leader speaks of requests that cannot be: an import alone
// has made some as another process, and it has made none yet when it begins.
func (p *portal) neverMade(l *outLane, word verb, next uint64) bool {
	if next <= l.next || l.next == 1 || p.e.importing.Load() {
		return false
	}
	p.e.log.Error().Int("shard", p.shard).Str("from", p.leader).Uint8("verb", uint8(word)).Uint64("next", next).Uint64("made", l.next).
		Msg("leader speaks of requests that were never made: its memory is damaged, or this node's; restart both")
	return true
}

// confirmAhead ends the requests of an import that were done before they were made.
func (p *portal) confirmAhead(l *outLane) {
	if !p.e.importing.Load() {
		return
	}
	p.confirmBelow(l, min(l.ahead, l.next), l.aheadAnswers)
	for len(l.aheadAnswers) > 0 && l.aheadAnswers[0].Number < l.lowest {
		l.aheadAnswers = l.aheadAnswers[1:]
	}
}

func (p *portal) confirmBelow(l *outLane, next uint64, answers []shard.Answer) {
	for len(l.batches) > 0 && l.lowest < next {
		b := l.batches[0]
		upTo := min(next, b.first+uint64(b.count))
		for l.lowest < upTo {
			code := takeAnswer(&answers, l.lowest)
			if code != routing.CodeOK && l.failed == 0 {
				l.failed = l.lowest
			}
			p.finish(b, int(l.lowest-b.first), code)
			l.lowest++
		}
		if l.lowest == b.first+uint64(b.count) {
			l.batches[0] = nil
			l.batches = l.batches[1:]
			l.sent = max(l.sent-1, 0)
		}
	}
}

// takeAnswer returns the answer to the request with a number, and drops it and
// those before it. A request without one ended well.
func takeAnswer(answers *[]shard.Answer, number uint64) routing.Code {
	code := routing.CodeOK
	for len(*answers) > 0 && (*answers)[0].Number <= number {
		if (*answers)[0].Number == number {
			code = (*answers)[0].Code
		}
		*answers = (*answers)[1:]
	}
	return code
}

// finish ends request i of a batch.
func (p *portal) finish(b *outBatch, i int, code routing.Code) {
	if b.sends != nil {
		r := &b.reqs[i]
		p.e.held.Add(-int64(r.size))
		if r.step != nil {
			p.finishStep(b, code)
			return
		}
		if !b.expired {
			p.done.add(r.c, r.token, p.sendError(b, i, code))
		}
		return
	}
	r := &b.sreqs[i]
	if r.sub.inFlight[r.key].note == r.note(b.first+uint64(i)) {
		r.sub.over(r.key) // unless it came again in the meantime
	}
	r.sub.settles--
	if !b.expired {
		p.done.add(r.c, r.token, settleError(r, code))
	}
	p.finishClose(r.sub)
}

func (p *portal) sendError(b *outBatch, i int, code routing.Code) error {
	if code == routing.CodeOK {
		return nil
	}
	if code == routing.CodeFull {
		p.e.metrics.limits.soft.Inc()
	}
	return &routing.Error{Code: code, Op: "send", Address: b.address(i), Reason: reasons[code]}
}

// address returns the address of the envelope of request i.
func (b *outBatch) address(i int) string {
	off := 0
	for _, n := range b.sends.sizes[:i] {
		off += int(n)
	}
	e, err := envelope.Decode(b.sends.buf[off : off+int(b.sends.sizes[i])])
	if err != nil {
		return ""
	}
	return e.Address.String()
}

func settleError(r *settleRequest, code routing.Code) error {
	if code == routing.CodeOK {
		return nil
	}
	return &routing.Error{Code: code, Op: "settle", Address: r.sub.opts.Address.String(), Reason: reasons[code]}
}

// reasons say to people what the codes that a leader answers mean.
var reasons = map[routing.Code]string{
	routing.CodeFull:     "the memory for non-persistent messages is full (non-persistent-bytes): consume, or send persistent messages",
	routing.CodeNotFound: "there is no such temporary queue or topic",
	routing.CodeLocked:   "a temporary queue or topic is read by the session that made it alone",
	routing.CodeStale:    "the delivery was handed out again in the meantime",
}

// expire fails the requests that have waited longer than the send timeout. They
// keep their numbers, since the leader may have got them.
func (p *portal) expire(now time.Time) {
	limit := p.e.opts.SendTimeout
	code := routing.CodeTimeout
	switch {
	case !p.takes():
		code = routing.CodeFull
	case !p.joined.Load():
		code = routing.CodeUnavailable
	}
	reason := sync.OnceValue(func() string { return p.unconfirmed(now) }) // it is seldom asked for
	p.e.metrics.timeouts.Add(float64(p.expireParts(now.Add(-limit), code, reason)))
	for i := range p.lanes {
		for _, b := range p.lanes[i].batches {
			if now.Sub(b.since) < limit {
				break
			}
			if !b.expired {
				p.fail(b, code, reason(), p.lanes[i].lowest)
			}
		}
	}
	for _, q := range p.subs {
		fail := func(op string) error {
			return &routing.Error{Code: code, Op: op, Address: q.opts.Address.String(), Reason: reason()}
		}
		p.e.metrics.timeouts.Add(float64(q.expireReads(now.Add(-limit), code)))
		if q.opened.over(now, limit) {
			p.e.metrics.timeouts.Inc()
			p.endSub(q, fail("subscribe"))
			p.disown(q.id) // the leader may have heard of it
			continue
		}
		if q.closer.over(now, limit) { // it ends all the same, when there is a leader
			p.e.metrics.timeouts.Inc()
			p.done.add(q.closer.c, q.closer.token, fail("unsubscribe"))
			q.closer = nil
		}
	}
}

func (p *portal) fail(b *outBatch, code routing.Code, reason string, lowest uint64) {
	if b.sends != nil && b.sends.step {
		p.failStep(b, code, reason)
		return
	}
	from := 0
	if lowest > b.first {
		from = int(lowest - b.first)
	}
	b.expired = true
	p.e.metrics.timeouts.Add(float64(b.count - from))
	for i := from; i < b.count; i++ {
		if b.sends != nil {
			p.done.add(b.reqs[i].c, b.reqs[i].token, &routing.Error{Code: code, Op: "send", Address: b.address(i), Reason: reason})
			continue
		}
		r := &b.sreqs[i]
		p.done.add(r.c, r.token, &routing.Error{Code: code, Op: "settle", Address: r.sub.opts.Address.String(), Reason: reason})
	}
}

// abandon ends everything: the engine closes.
func (p *portal) abandon() {
	calls := p.box.Take(nil)
	p.gather()
	for _, f := range calls {
		f()
	}
	for i := range p.lanes {
		for _, b := range p.lanes[i].batches {
			if !b.expired {
				p.fail(b, routing.CodeClosed, "the node is shutting down: the outcome is unknown", p.lanes[i].lowest)
			}
		}
	}
	p.expireParts(time.Now().Add(time.Hour), routing.CodeClosed, func() string { return "the node is shutting down" })
	for a := range p.creating {
		p.created(a, &routing.Error{Code: routing.CodeClosed, Op: "subscribe", Address: a.String()})
	}
	for _, q := range p.subs {
		p.endSub(q, &routing.Error{Code: routing.CodeClosed, Op: "subscribe", Address: q.opts.Address.String()})
	}
	p.done.flush()
	p.idlers.wake()
}

// collect makes a routing.Delivery of what the leader handed over.
func (p *portal) collect(q *queueSub, d *handed) {
	env, err := envelope.DecodeFor(d.body, q.opts.Address)
	if err != nil { // a rule without an exception: what nobody can read goes to the dead letters
		p.e.log.Error().Err(err).Str("addr", q.opts.Address.Name).Uint64("key", d.key).Msg("stored message cannot be read and is rejected")
		p.e.metrics.unreadable.Inc()
		p.settle.put(settleRequest{sub: q, key: d.key, outcome: routing.Outcome{Kind: routing.Rejected}})
		p.grant(q, 1)
		return
	}
	if d.kept {
		env.Expiry = 0
	}
	large := d.parts > 0
	if large {
		x := extent{head: len(env.Payload), parts: d.parts}
		if q.large == nil {
			q.large = map[uint64]extent{}
		}
		q.large[d.key], env.Size = x, x.end()
	}
	p.batch = append(p.batch, routing.Delivery{
		Tag:      routing.Tag{Shard: uint16(p.shard), Epoch: p.epoch, Key: d.key},
		Envelope: env, Failed: d.failed, Redelivered: d.redelivered || d.failed > 0,
	})
	if q.opts.Settled && !large {
		p.settle.put(settleRequest{sub: q, key: d.key, outcome: routing.Outcome{Kind: routing.Accepted}})
	}
}
