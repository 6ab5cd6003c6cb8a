package shard

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/selvedge-mq/selvedge/routing"
	"github.com/selvedge-mq/selvedge/routing/envelope"
)

// model is what a node's clients know of a shard: what they sent, what was
// confirmed, what they got and how they settled it. Its checks are the promises.
type model struct {
	*rapid.T
	opts Options
	l    *leader
	subs []SubID

	sends, settles []*request // by number-1
	lowest         [2]uint64  // first unconfirmed of settles and sends
	msgs           map[string]*modelMessage
	held           []*modelDelivery
	pipe           []*Batch // sealed, and in the log if they have a record, but not applied yet
	undone         [][]byte // records of former leaders that were never committed
	nextSub        uint64
	session        uint64 // of the consumers' node

	// The dead-letter address in another shard, unless it lives in this one.
	arriving []DeadLetter    // handed to the leader, on their way
	expects  uint64          // the number that the other shard takes next
	answered map[uint64]bool // numbers that it took and refused
}

type modelMessage struct {
	id         string
	number     int // of its send
	persistent bool
	confirmed  bool
	delivered  int
	released   bool // its last delivery was released as if not handed out
	accepted   bool // a settlement was confirmed as well
	dead       int  // copies that arrived at the dead-letter address
	refused    bool // a rejection or a failed attempt was told
	least      int  // failed attempts that its next delivery has to show …
	most       int  // … and may show
}

type request struct {
	env    []byte
	settle Settlement
	msg    *modelMessage
}

type modelDelivery struct {
	sub    SubID
	key    uint64
	msg    *modelMessage
	failed int
	alone  bool // it came again, and its consumer had nothing else to do
}

var (
	modelSettles = LaneID{Session: 1, Lane: 1}
	modelSends   = LaneID{Session: 1, Lane: 2}
)

func newModel(t *rapid.T) *model {
	m := &model{
		T: t, opts: Options{
			CleanAbove: 600, CutBytes: 200, RecordTarget: 2000, MaxFailed: 3,
			DeadLetter: routing.Queue("dead"), DeadLetterHere: rapid.Bool().Draw(t, "dead letters stay here"),
		},
		msgs: map[string]*modelMessage{}, session: 2, lowest: [2]uint64{1, 1}, expects: 1, answered: map[uint64]bool{},
	}
	m.l = lead(m, m.opts, nil)
	m.report(false)
	// Most of what can happen takes messages in flight.
	m.Subscribe(t)
	m.l.s.Grant(m.subs[0], 3)
	m.Send(t)
	m.Commit(t)
	m.applyFirst()
	return m
}

// report tells a new leader what the node knows; it may have lost what was in flight.
func (m *model) report(forget bool) {
	m.l.s.OpenLane(modelSettles, "n", m.lowest[0])
	m.l.s.OpenLane(modelSends, "n", m.lowest[1])
	if forget {
		m.held = nil
		m.subs = nil
		m.session++
	}
	m.l.s.OpenLane(LaneID{Session: m.session, Lane: 1}, "c", 1)
	for _, u := range m.subs {
		m.l.s.Subscribe(u, routing.Queue("q"))
	}
	for _, d := range m.held {
		m.l.s.Held(d.sub, d.key)
	}
	m.resend()
}

// resend sends whatever is not confirmed: the leader knows what it has.
func (m *model) resend() {
	for n := m.lowest[0]; n <= uint64(len(m.settles)); n++ {
		m.l.s.Settle(modelSettles, n, m.settles[n-1].settle)
	}
	for n := m.lowest[1]; n <= uint64(len(m.sends)); n++ {
		m.l.s.Send(modelSends, n, m.sends[n-1].env)
	}
}

func (m *model) Send(t *rapid.T) {
	for range rapid.IntRange(1, 5).Draw(t, "messages") {
		msg := &modelMessage{
			id: strconv.Itoa(len(m.sends)), number: len(m.sends), persistent: rapid.IntRange(0, 3).Draw(t, "np") > 0,
		}
		m.msgs[msg.id] = msg
		m.sends = append(m.sends, &request{env: env("q", msg.id, msg.persistent), msg: msg})
	}
	m.resend()
}

func (m *model) Subscribe(t *rapid.T) {
	if len(m.subs) > 3 {
		t.Skip("enough subscriptions")
	}
	m.nextSub++
	id := SubID{Session: m.session, Sub: m.nextSub}
	m.subs = append(m.subs, id)
	m.l.s.Subscribe(id, routing.Queue("q"))
}

func (m *model) Grant(t *rapid.T) {
	if len(m.subs) == 0 {
		t.Skip("no subscription")
	}
	m.l.s.Grant(rapid.SampledFrom(m.subs).Draw(t, "sub"), int32(rapid.IntRange(-2, 6).Draw(t, "credit")))
	m.carryOut()
}

func (m *model) Close(t *rapid.T) {
	if len(m.subs) == 0 || m.lowest[0] <= uint64(len(m.settles)) {
		t.Skip("no subscription, or settlements under way")
	}
	i := rapid.IntRange(0, len(m.subs)-1).Draw(t, "sub")
	id := m.subs[i]
	m.subs = slices.Delete(m.subs, i, i+1)
	m.mayFail(id)
	m.mayBeginInVain(m.l, m.l.s.subs[id])
	m.held = slices.DeleteFunc(m.held, func(d *modelDelivery) bool { return d.sub == id })
	m.l.s.CloseSub(id, math.MaxUint64)
}

func (m *model) Settle(t *rapid.T) {
	if len(m.held) == 0 {
		t.Skip("nothing in flight")
	}
	i := rapid.IntRange(0, len(m.held)-1).Draw(t, "delivery")
	d := m.held[i]
	m.held = slices.Delete(m.held, i, i+1)
	o := routing.Outcome{Kind: rapid.SampledFrom([]routing.OutcomeKind{
		routing.Accepted, routing.Accepted, routing.Accepted, routing.Released, routing.Rejected, routing.Modified,
	}).Draw(t, "outcome"), DeliveryFailed: true}
	m.settles = append(m.settles, &request{settle: Settlement{Sub: d.sub, Key: d.key, Outcome: o}, msg: d.msg})
	switch o.Kind {
	case routing.Released:
		d.msg.released = true
	case routing.Modified:
		d.msg.most++
		d.msg.refused = true
	case routing.Rejected:
		d.msg.refused = true
	default:
	}
	m.resend()
}

// Commit appends what is composed; the leader has not heard of it yet.
func (m *model) Commit(*rapid.T) {
	b := m.l.s.Seal(m.l.now)
	if b == nil {
		return
	}
	m.pipe = append(m.pipe, b)
	if b.Rec != nil {
		m.l.log = append(m.l.log, b.Rec)
	}
}

// Apply has the leader hear of the first append under way.
func (m *model) Apply(t *rapid.T) {
	if len(m.pipe) == 0 {
		t.Skip("nothing is under way")
	}
	m.applyFirst()
}

func (m *model) applyFirst() {
	b := m.pipe[0]
	m.pipe = m.pipe[1:]
	if b.Rec == nil {
		m.l.s.ApplySoft(b)
	} else if err := m.l.s.Apply(m.l.s.LastSeq()+1, b.Rec, b); err != nil {
		m.Fatal(err)
	}
	m.carryOut()
}

// Arrive brings the next dead letter to the other shard, which takes each number
// once and in order. The word of it may be lost with the leader.
func (m *model) Arrive(t *rapid.T) {
	if len(m.arriving) == 0 {
		t.Skip("nobody is dying")
	}
	m.arrive(rapid.IntRange(0, 4).Draw(t, "refused") == 0)
}

func (m *model) arrive(refused bool) {
	d := m.arriving[0]
	m.arriving = m.arriving[1:]
	switch {
	case d.Number == 0 && refused:
		m.l.s.Unburied(d.Key, routing.CodeFull)
	case d.Number == 0:
		m.die(m.message(d.Body))
		m.l.s.Buried(d.Key)
	case d.Number < m.expects && !m.answered[d.Number]:
		m.l.s.Buried(d.Key)
	case d.Number < m.expects:
		m.l.s.Unburied(d.Key, routing.CodeFull)
	case refused && d.Number == m.expects:
		m.expects++
		m.answered[d.Number] = true
		m.l.s.Unburied(d.Key, routing.CodeFull)
	case d.Number == m.expects:
		m.expects++
		m.die(m.message(d.Body))
		m.l.s.Buried(d.Key)
	default:
		m.Fatalf("dead letter %d comes before %d", d.Number, m.expects)
	}
}

func (m *model) die(msg *modelMessage) {
	msg.dead++
	if msg.dead > 1 && msg.persistent {
		m.Fatalf("message %s came %d times to the dead-letter address", msg.id, msg.dead)
	}
	if !msg.refused && msg.most < int(m.opts.MaxFailed) {
		m.Fatalf("message %s died without a reason", msg.id)
	}
}

// lose takes the youngest records under way out of the log: they were never
// committed, but may arrive late.
func (m *model) lose(n int) {
	for ; n > 0 && len(m.pipe) > 0; n-- {
		b := m.pipe[len(m.pipe)-1]
		m.pipe = m.pipe[:len(m.pipe)-1]
		if b.Rec != nil {
			m.undone = append(m.undone, b.Rec)
			m.l.log = m.l.log[:len(m.l.log)-1]
		}
	}
}

// Fail has a node begin an epoch whose records are never committed: the next
// leader will take the same epoch number.
func (m *model) Fail(*rapid.T) {
	if len(m.pipe) > 0 {
		return
	}
	s := replay(m, m.opts, m.l.first, m.l.log)
	m.undone = append(m.undone, s.Lead("other", 9, m.l.now).Rec)
	s.OpenLane(modelSends, "n", m.lowest[1])
	for range 3 {
		s.Send(modelSends, s.Expects(modelSends), env("q", "phantom", true))
		m.undone = append(m.undone, s.Seal(m.l.now).Rec)
	}
}

// Clean rewrites the oldest live record and cuts the log.
func (m *model) Clean(*rapid.T) {
	if seq, ok := m.l.s.CleanTarget(); ok {
		if err := m.l.s.Rewrite(seq, m.l.log[seq-m.l.first]); err != nil {
			m.Fatal(err)
		}
	}
	m.l.s.ComposeCut()
}

// TakeOver has another leader take over: what was composed is lost, a record that
// the former leader sealed may still arrive, and the node may have crashed.
func (m *model) TakeOver(t *rapid.T) {
	m.lose(rapid.IntRange(0, 3).Draw(t, "records lost"))
	m.pipe, m.arriving = nil, nil
	old := m.l
	m.l = leadFrom(m, m.opts, old.first, old.log)
	if len(m.undone) > 0 && rapid.Bool().Draw(t, "a late append") {
		late := m.undone[rapid.IntRange(0, len(m.undone)-1).Draw(t, "which")]
		void := m.l.s.Counts().Void
		m.l.log = append(m.l.log, late)
		if err := m.l.s.Apply(m.l.first+uint64(len(m.l.log))-1, late, nil); err != nil {
			m.Fatal(err)
		}
		if m.l.s.Counts().Void != void+1 {
			m.Fatal("a late record of a former leader was not void")
		}
	}
	for _, msg := range m.msgs {
		msg.released = false // what a former leader knew of releases is gone: a mark too many is allowed
	}
	crash := rapid.IntRange(0, 3).Draw(t, "crash") == 0
	m.interrupt(old)
	if crash {
		m.crash()
	}
	m.report(crash)
	m.l.s.Serve(true)
	m.carryOut()
}

// carryOut dispatches and takes the effects in, as the node would.
func (m *model) carryOut() {
	m.l.s.Bury(true)
	m.l.s.Dispatch()
	fx := m.l.s.Effects()
	for _, c := range fx.Confirms {
		m.confirm(c)
	}
	for _, d := range fx.Deliveries {
		m.deliver(d)
	}
	m.arriving = append(m.arriving, fx.DeadLetters...)
	if fx.Purge > 0 {
		n := fx.Purge - m.l.first + 1
		m.l.log = m.l.log[n:]
		m.l.first += n
	}
	fx.Reset()
}

func (m *model) confirm(c Confirm) {
	lane, all := 0, m.settles
	if c.Lane == modelSends {
		lane, all = 1, m.sends
	}
	if c.Next > uint64(len(all))+1 {
		m.Fatalf("lane %v is confirmed up to %d, %d requests were made", c.Lane, c.Next, len(all))
	}
	for n := m.lowest[lane]; n < c.Next; n++ {
		r := all[n-1]
		failed := slices.ContainsFunc(c.Answers, func(a Answer) bool { return a.Number == n })
		switch {
		case failed && lane == 1:
			m.Fatalf("send %d was refused", n)
		case failed:
		case lane == 1:
			r.msg.confirmed = true
		case r.settle.Outcome.Kind == routing.Accepted:
			r.msg.accepted = true
		}
	}
	m.lowest[lane] = max(m.lowest[lane], c.Next)
}

func (m *model) message(b Body) *modelMessage {
	raw := b.Bytes
	if raw == nil {
		raw = m.l.log[b.Seq-m.l.first][b.Off : b.Off+b.Size]
	}
	e, err := envelope.Decode(raw)
	if err != nil {
		m.Fatal(err)
	}
	return m.msgs[string(e.Payload)]
}

func (m *model) deliver(d Delivery) {
	msg := m.message(d.Body)
	if d.Address == m.opts.DeadLetter {
		if !d.Body.Kept {
			m.Fatalf("dead letter %s still expires", msg.id)
		}
		m.die(msg)
		m.held = append(m.held, &modelDelivery{sub: d.Sub, key: d.Key, msg: msg})
		return
	}
	if msg.accepted {
		m.Fatalf("message %s was accepted and is handed out again", msg.id)
	}
	if msg.delivered > 0 && msg.persistent && !d.Redelivered && !msg.released {
		m.Fatalf("message %s is handed out again without a mark", msg.id)
	}
	if msg.delivered == 0 && msg.persistent {
		for _, earlier := range m.msgs {
			if earlier.number < msg.number && earlier.persistent && earlier.delivered == 0 && earlier.dead == 0 {
				m.Fatalf("message %s is handed out before message %s", msg.id, earlier.id)
			}
		}
	}
	m.checkFailed(msg, d)
	msg.delivered++
	msg.released = false
	m.held = append(m.held, &modelDelivery{
		sub: d.Sub, key: d.Key, msg: msg, failed: int(d.Failed), alone: d.Redelivered && m.idle(d.Sub),
	})
}

// Check is called after every step.
func (m *model) Check(*rapid.T) {
	if len(m.pipe) > 0 {
		return
	}
	again := replay(m, m.opts, m.l.first, m.l.log)
	if diff := cmp.Diff(durable(m.l.s), durable(again)); diff != "" {
		m.Fatalf("a replay of the log gives another state (-leader +replay):\n%s", diff)
	}
	depth, inFlight := 0, 0
	m.l.s.Queues(func(q QueueInfo) bool { depth, inFlight = depth+q.Depth, inFlight+q.InFlight; return true })
	if depth != m.l.s.Live() || inFlight < 0 {
		m.Fatalf("got %d messages in queues and %d live, %d in flight", depth, m.l.s.Live(), inFlight)
	}
	for _, u := range m.l.s.subList {
		if u != nil && u.q.credit < int64(u.credit) {
			m.Fatalf("the queue has less credit (%d) than its subscription (%d)", u.q.credit, u.credit)
		}
	}
}

// durable lists what must be a function of the log.
func durable(s *Shard) []string {
	var out []string
	_ = s.Each(func(it Stored) error {
		at, m := it.Body, s.store.at(s.store.find(it.Key))
		out = append(out, fmt.Sprintf("%x in %s at %d+%d failed %d dying %d kept %v",
			it.Key, it.Queue.Name, at.Seq, at.Off, m.failed, it.Dying, at.Kept))
		return nil
	})
	for key, n := range s.dying.numbers {
		if s.store.find(key) == 0 {
			out = append(out, fmt.Sprintf("number %d of %x at %d", n.number, key, n.home))
		}
	}
	for key, a := range s.attempts.byKey {
		if a.logged {
			out = append(out, fmt.Sprintf("attempt at %x, session %d", key, a.session))
		}
	}
	for _, q := range s.queues.list {
		if q != nil && q.declared {
			out = append(out, fmt.Sprintf("queue %d %s reserved %x", q.id, q.addr.Name, q.reserved))
		}
	}
	for id, l := range s.lanes {
		if l.home != 0 {
			out = append(out, fmt.Sprintf("lane %v next %d", id, l.next))
		}
	}
	for tx, p := range s.prepared {
		if p.home == 0 {
			continue
		}
		out = append(out, fmt.Sprintf("prepared %v of %s at %d, %+v, pins %v", tx, p.node, p.home, p.sends, p.pins))
	}
	for tx, d := range s.decisions {
		if d.home == 0 {
			continue
		}
		out = append(out, fmt.Sprintf("decision %v of %s at %d, commit %v, %v", tx, d.node, d.home, d.commit, d.shards))
	}
	for id, u := range s.uploads.byID {
		if u.key != 0 && s.store.find(u.key) == 0 {
			continue // its message ended before this log begins: the leader has it aborted
		}
		for _, p := range u.parts {
			out = append(out, fmt.Sprintf("upload %v of %x part %d at %d+%d of %d", id, u.key, p.index, p.seq, p.off, p.size))
		}
	}
	slices.Sort(out)
	out = append(out, fmt.Sprintf("dying numbers up to %d", s.dying.last))
	return append(out, fmt.Sprintf("position %+v", s.pos))
}

// finish consumes everything: each message that was confirmed must have come.
func (m *model) finish() {
	m.TakeOverAfterCrash()
	id := SubID{Session: m.session, Sub: 1 << 20}
	m.subs = []SubID{id}
	m.l.s.Subscribe(id, routing.Queue("q"))
	dead := SubID{Session: m.session, Sub: 1<<20 + 1}
	m.l.s.Subscribe(dead, m.opts.DeadLetter)
	for range 50 {
		m.l.s.Grant(id, 1000)
		m.l.s.Grant(dead, 1000)
		m.carryOut()
		for len(m.arriving) > 0 {
			m.arrive(false)
		}
		m.Commit(nil)
		for len(m.pipe) > 0 {
			m.applyFirst()
		}
		for _, d := range m.held {
			m.settles = append(m.settles, &request{
				settle: Settlement{Sub: d.sub, Key: d.key, Outcome: routing.Outcome{Kind: routing.Accepted}}, msg: d.msg,
			})
		}
		m.held = nil
		m.resend()
	}
	for _, msg := range m.msgs {
		if msg.persistent && !msg.confirmed {
			m.Fatalf("message %s was never confirmed", msg.id)
		}
		if msg.persistent && msg.delivered == 0 && msg.dead == 0 {
			m.Fatalf("message %s was confirmed and lost", msg.id)
		}
	}
	for _, msg := range m.msgs {
		if msg.persistent && !msg.accepted && msg.dead == 0 {
			m.Fatalf("message %s is gone, neither accepted nor dead", msg.id)
		}
	}
	if n := m.l.s.Live(); n != 0 {
		m.Fatalf("%d messages are left", n)
	}
}

// TakeOverAfterCrash has a new leader serve a node that forgot what it held.
func (m *model) TakeOverAfterCrash() {
	m.pipe, m.arriving = nil, nil
	m.interrupt(m.l)
	m.crash()
	m.l = leadFrom(m, m.opts, m.l.first, m.l.log)
	m.report(true)
	m.l.s.Serve(true)
	m.carryOut()
}

func TestShard_KeepsItsPromisesInEveryHistory(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := newModel(t)
		t.Repeat(map[string]func(*rapid.T){
			"send": m.Send, "subscribe": m.Subscribe, "grant": m.Grant, "close": m.Close, "settle": m.Settle,
			"commit": m.Commit, "apply": m.Apply, "arrive": m.Arrive, "fail": m.Fail, "clean": m.Clean, "take over": m.TakeOver, "": m.Check,
		})
		m.finish()
	})
}
