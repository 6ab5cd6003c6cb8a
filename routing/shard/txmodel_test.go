package shard

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/selvedge-mq/selvedge/routing"
	"github.com/selvedge-mq/selvedge/routing/envelope"
)

// txModel is a node that commits transactions over several shards, whose leaders
// change and whose records get lost, and which crashes itself. Its check is the
// promise: all of a transaction takes effect, or nothing, and what the node was
// told is true.
type txModel struct {
	*rapid.T
	shards  []*txShard
	session uint64
	txs     []*modelTx
	next    uint64
	told    map[string]bool // bodies that were handed out at least once
}

// txShard is one shard and what the node knows of it.
type txShard struct {
	m      *txModel
	n      int
	opts   Options
	l      *leader
	pipe   []*Batch
	lane   []txRequest // by number-1
	lowest uint64
	held   []*txDelivery
}

// txRequest is a request of the node's, made again at each leader until it is confirmed.
type txRequest struct {
	make func(s *Shard, id LaneID, number uint64)
	done func(code routing.Code)
}

type txDelivery struct {
	key    uint64
	body   string
	number uint64 // of the request that settles it, 0 for none
	end    routing.Outcome
}

type modelTx struct {
	id           TxID
	parts        []*modelPart
	waiting      int // requests of this phase that are not confirmed
	bad          bool
	committed    bool // the node was told so
	failed       bool // the node was told so
	consumed     []string
	bodies       []string
	single, over bool
}

type modelPart struct {
	at       *txShard
	settles  []*txDelivery
	sends    []string
	prepared bool
}

func newTxModel(t *rapid.T) *txModel {
	m := &txModel{T: t, session: 1, told: map[string]bool{}}
	for n := range 3 {
		s := &txShard{m: m, n: n, lowest: 1, opts: Options{CutBytes: 1, RecordTarget: 2000, DeadLetterHere: true, DeadLetter: routing.Queue("DLQ")}}
		s.l = lead(m, s.opts, nil)
		m.shards = append(m.shards, s)
		s.report()
		for i := range 6 {
			s.request(txRequest{make: sendOf(fmt.Sprintf("base %d %d", n, i)), done: func(routing.Code) {}})
		}
	}
	return m
}

func sendOf(body string) func(s *Shard, id LaneID, number uint64) {
	return func(s *Shard, id LaneID, number uint64) { s.Send(id, number, env("q", body, true)) }
}

func (s *txShard) laneID() LaneID { return LaneID{Session: s.m.session, Lane: 2} }
func (s *txShard) sub() SubID     { return SubID{Session: s.m.session, Sub: 1} }

// request makes a request, and again whatever is not confirmed.
func (s *txShard) request(r txRequest) uint64 {
	s.lane = append(s.lane, r)
	s.resend()
	return uint64(len(s.lane))
}

func (s *txShard) resend() {
	for n := s.lowest; n <= uint64(len(s.lane)); n++ {
		s.lane[n-1].make(s.l.s, s.laneID(), n)
	}
}

// report tells a new leader what the node knows.
func (s *txShard) report() {
	for _, old := range s.l.s.Sessions("n", s.m.session) {
		s.l.s.CloseSession(old)
		s.l.s.Forget(old)
	}
	expects := s.l.s.OpenLane(s.laneID(), "n", s.lowest)
	s.l.s.Subscribe(s.sub(), routing.Queue("q"))
	for _, d := range s.held {
		if d.number == 0 || d.number >= expects || s.l.s.Refused(s.laneID(), d.number) {
			s.l.s.Held(s.sub(), d.key)
		} else {
			s.l.s.HeldPinned(s.sub(), d.key)
		}
	}
	s.l.s.Serve(true)
	s.resend()
	s.carryOut()
}

func (s *txShard) carryOut() {
	s.l.s.Dispatch()
	fx := s.l.s.Effects()
	var ends []func()
	for _, c := range fx.Confirms {
		for n := s.lowest; n < c.Next && c.Lane == s.laneID(); n++ {
			code := routing.CodeOK
			if i := slices.IndexFunc(c.Answers, func(a Answer) bool { return a.Number == n }); i >= 0 {
				code = c.Answers[i].Code
			}
			ends = append(ends, func() { s.lane[n-1].done(code) })
		}
		if c.Lane == s.laneID() {
			s.lowest = max(s.lowest, c.Next)
		}
	}
	for _, d := range fx.Deliveries {
		body := s.body(d.Body)
		s.m.told[body] = true
		s.held = append(s.held, &txDelivery{key: d.Key, body: body})
	}
	if fx.Purge > 0 {
		n := fx.Purge - s.l.first + 1
		s.l.log = s.l.log[n:]
		s.l.first += n
	}
	fx.Reset()
	for _, end := range ends {
		end()
	}
}

func (s *txShard) body(b Body) string {
	e, err := envelope.Decode(s.l.log[b.Seq-s.l.first][b.Off : b.Off+b.Size])
	if err != nil {
		s.m.Fatal(err)
	}
	return string(e.Payload)
}

func (s *txShard) commit() {
	b := s.l.s.Seal(s.l.now)
	if b == nil {
		return
	}
	s.pipe = append(s.pipe, b)
	if b.Rec != nil {
		s.l.log = append(s.l.log, b.Rec)
	}
}

func (s *txShard) apply() {
	if len(s.pipe) == 0 {
		return
	}
	b := s.pipe[0]
	s.pipe = s.pipe[1:]
	if b.Rec == nil {
		s.l.s.ApplySoft(b)
	} else if err := s.l.s.Apply(s.l.s.LastSeq()+1, b.Rec, b); err != nil {
		s.m.Fatal(err)
	}
	s.carryOut()
}

func (s *txShard) takeOver(lost int) {
	for ; lost > 0 && len(s.pipe) > 0; lost-- {
		last := len(s.pipe) - 1
		if s.pipe[last].Rec != nil {
			s.l.log = s.l.log[:len(s.l.log)-1]
		}
		s.pipe = s.pipe[:last]
	}
	s.pipe = nil
	s.l = leadFrom(s.m, s.opts, s.l.first, s.l.log)
	s.report()
}

// clean rewrites the oldest live record, however little garbage there is, and has
// the log be cut behind it.
func (s *txShard) clean() {
	if seq, ok := s.l.s.log.oldestLive(s.l.s.pos.valid); ok {
		if err := s.l.s.Rewrite(seq, s.l.log[seq-s.l.first]); err != nil {
			s.m.Fatal(err)
		}
	}
	s.l.s.ComposeCut()
	s.commit()
	for len(s.pipe) > 0 {
		s.apply()
	}
}

func (m *txModel) pick(t *rapid.T) *txShard { return rapid.SampledFrom(m.shards).Draw(t, "shard") }

var modelOutcomes = []routing.Outcome{
	accepted,
	accepted,
	accepted,
	{Kind: routing.Released},
	{Kind: routing.Rejected},
	{Kind: routing.Modified, DeliveryFailed: true},
	{Kind: routing.Modified, UndeliverableHere: true},
}

// Begin commits a transaction over some of the shards.
func (m *txModel) Begin(t *rapid.T) {
	m.next++
	tx := &modelTx{id: TxID{Session: m.session, Number: m.next}}
	m.txs = append(m.txs, tx)
	for _, s := range m.shards {
		if !rapid.Bool().Draw(t, "takes part") {
			continue
		}
		p := &modelPart{at: s}
		for i := range rapid.IntRange(1, 3).Draw(t, "sends") {
			body := fmt.Sprintf("tx %d %d %d", m.next, s.n, i)
			p.sends = append(p.sends, body)
			tx.bodies = append(tx.bodies, body)
		}
		for _, d := range s.held {
			if d.number == 0 && rapid.IntRange(0, 2).Draw(t, "settles") == 0 {
				p.settles = append(p.settles, d)
				d.end = rapid.SampledFrom(modelOutcomes).Draw(t, "outcome")
				if d.end == accepted {
					tx.consumed = append(tx.consumed, d.body)
				}
			}
		}
		tx.parts = append(tx.parts, p)
	}
	tx.single = len(tx.parts) == 1
	for _, p := range tx.parts {
		m.prepare(tx, p)
	}
}

func (p *modelPart) part(sub SubID) *Part {
	part := &Part{}
	for _, body := range p.sends {
		part.Sends = append(part.Sends, env("q", body, true))
	}
	for _, d := range p.settles {
		part.Settles = append(part.Settles, Settlement{Sub: sub, Key: d.key, Outcome: d.end})
	}
	return part
}

func (m *txModel) prepare(tx *modelTx, p *modelPart) {
	tx.waiting++
	coordinator := uint16(tx.parts[0].at.n)
	number := uint64(len(p.at.lane) + 1)
	for _, d := range p.settles {
		d.number = number
	}
	p.at.request(txRequest{
		make: func(s *Shard, id LaneID, number uint64) {
			if tx.single {
				s.Transact(id, number, p.part(p.at.sub()))
			} else {
				s.Prepare(id, number, tx.id, coordinator, p.part(p.at.sub()))
			}
		},
		done: func(code routing.Code) {
			tx.waiting--
			p.prepared = code == routing.CodeOK
			if !p.prepared {
				tx.bad = true
				p.release(false)
			}
			if tx.waiting == 0 {
				m.decide(tx)
			}
		},
	})
}

// release ends what the node knows of a part's deliveries: settled, or the consumer's again.
func (p *modelPart) release(committed bool) {
	for _, d := range p.settles {
		d.number = 0
		if committed {
			p.at.held = slices.DeleteFunc(p.at.held, func(o *txDelivery) bool { return o == d })
		}
	}
}

func (m *txModel) decide(tx *modelTx) {
	if tx.single || tx.bad {
		m.finish(tx, !tx.bad)
		return
	}
	var shards []uint16
	for _, p := range tx.parts {
		shards = append(shards, uint16(p.at.n))
	}
	tx.parts[0].at.request(txRequest{
		make: func(s *Shard, id LaneID, number uint64) { s.Decide(id, number, tx.id, shards) },
		done: func(code routing.Code) { m.finish(tx, code == routing.CodeOK) },
	})
}

func (m *txModel) finish(tx *modelTx, commit bool) {
	tx.committed, tx.failed = commit, !commit
	for _, p := range tx.parts {
		if !p.prepared {
			continue
		}
		p.release(commit)
		if tx.single {
			continue
		}
		tx.waiting++
		p.at.request(txRequest{
			make: func(s *Shard, id LaneID, number uint64) { s.Finish(id, number, tx.id, commit) },
			done: func(routing.Code) {
				if tx.waiting--; tx.waiting == 0 {
					m.end(tx)
				}
			},
		})
	}
}

func (m *txModel) end(tx *modelTx) {
	tx.parts[0].at.request(txRequest{
		make: func(s *Shard, id LaneID, number uint64) { s.EndDecision(id, number, tx.id) },
		done: func(routing.Code) { tx.over = true },
	})
}

// Ask has the participants ask their coordinators, which give up what they do not
// know, and has coordinators forget the commits of dead nodes that are carried out.
func (m *txModel) Ask(*rapid.T) {
	for _, s := range m.shards {
		s.l.s.Prepared(func(tx TxID, coordinator uint16, node string) {
			at := m.shards[coordinator].l.s
			if commit, known := at.Verdict(tx); known {
				s.l.s.Resolve(tx, commit)
			} else {
				at.GiveUp(tx, node)
			}
		})
	}
	for _, s := range m.shards {
		s.l.s.Commits(func(tx TxID, shards []uint16) {
			held := slices.ContainsFunc(shards, func(n uint16) bool { return m.shards[n].l.s.Holds(tx) })
			if tx.Session != m.session && !held {
				s.l.s.ForgetDecision(tx)
			}
		})
	}
}

// Crash has the node come back as another process that knows nothing.
func (m *txModel) Crash(*rapid.T) {
	m.session++
	for _, s := range m.shards {
		s.lane, s.lowest, s.held = nil, 1, nil
		s.report()
	}
}

func (m *txModel) Check(*rapid.T) {
	for _, s := range m.shards {
		if len(s.pipe) > 0 {
			continue
		}
		again := replay(m, s.opts, s.l.first, s.l.log)
		if diff := cmp.Diff(durable(s.l.s), durable(again)); diff != "" {
			m.Fatalf("shard %d: a replay of the log gives another state (-leader +replay):\n%s", s.n, diff)
		}
		for key := range again.pinned {
			if p := again.store.find(key); p != 0 && (!again.store.at(p).has(markPinned) || again.store.at(p).has(markReady)) {
				m.Fatalf("shard %d: message %x is settled by a part that waits, and not pinned after a replay", s.n, key)
			}
		}
	}
}

// settleDown lets everything come to its end.
func (m *txModel) settleDown() {
	for range 40 {
		m.Ask(nil)
		for _, s := range m.shards {
			s.l.s.Grant(s.sub(), 100)
			s.carryOut()
			s.commit()
			for len(s.pipe) > 0 {
				s.apply()
			}
		}
	}
}

// rewriteAll writes everything live again: the log begins anew.
func (m *txModel) rewriteAll() {
	for _, s := range m.shards {
		end := s.l.s.LastSeq()
		for range 3 * len(s.l.log) {
			s.clean()
		}
		if s.l.first <= end {
			m.Fatalf("shard %d: record %d is still in the log though everything behind it was written again", s.n, s.l.first)
		}
		s.takeOver(0)
	}
}

func (m *txModel) judge() {
	live := map[string]bool{}
	for _, s := range m.shards {
		_ = s.l.s.Each(func(it Stored) error {
			live[s.body(it.Body)] = true
			return nil
		})
		if n, d, p := len(s.l.s.prepared), len(s.l.s.decisions), len(s.l.s.pinned); n+p > 0 || d > 0 && !m.givenUp(s) {
			m.Fatalf("shard %d: %d parts wait, %d decisions and %d pins are left", s.n, n, d, p)
		}
	}
	took := map[string]int{}
	for _, tx := range m.txs {
		if len(tx.parts) == 0 {
			continue
		}
		effect := m.told[tx.bodies[0]]
		for _, body := range tx.bodies {
			if m.told[body] != effect {
				m.Fatalf("transaction %v: %q was seen: %v, %q: %v", tx.id, tx.bodies[0], effect, body, m.told[body])
			}
		}
		if tx.committed && !effect || tx.failed && effect {
			m.Fatalf("transaction %v: told committed %v, failed %v; took effect: %v", tx.id, tx.committed, tx.failed, effect)
		}
		if effect {
			for _, body := range tx.consumed {
				took[body]++
			}
		}
	}
	for body := range m.told {
		if gone := !live[body]; took[body] > 1 || gone != (took[body] == 1) {
			m.Fatalf("%q is gone: %v, and %d transactions that took effect have settled it", body, gone, took[body])
		}
	}
}

// givenUp reports whether all decisions that are left were given up: they stay
// until their session is dropped.
func (m *txModel) givenUp(s *txShard) bool {
	for tx, d := range s.l.s.decisions {
		if d.commit || tx.Session == m.session {
			return false
		}
	}
	return true
}

func TestTransactions_TakeEffectAsAWholeInEveryHistory(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := newTxModel(t)
		t.Repeat(map[string]func(*rapid.T){
			"begin":  m.Begin,
			"grant":  func(t *rapid.T) { s := m.pick(t); s.l.s.Grant(s.sub(), 3); s.carryOut() },
			"commit": func(t *rapid.T) { m.pick(t).commit() },
			"apply":  func(t *rapid.T) { m.pick(t).apply() },
			"take over": func(t *rapid.T) {
				m.pick(t).takeOver(rapid.IntRange(0, 3).Draw(t, "records lost"))
			},
			"clean": func(t *rapid.T) {
				s := m.pick(t)
				for range rapid.IntRange(1, 6).Draw(t, "records") {
					s.clean()
				}
			},
			"ask": m.Ask,
			"crash": func(t *rapid.T) {
				if rapid.IntRange(0, 4).Draw(t, "crash") == 0 {
					m.Crash(t)
				}
			},
			"": m.Check,
		})
		m.settleDown()
		m.judge()
		m.rewriteAll()
		m.judge()
	})
}
