package shard

import (
	"errors"
	"slices"
	"strconv"
	"strings"

	"github.com/selvedge-mq/selvedge/routing"
	"github.com/selvedge-mq/selvedge/routing/envelope"
)

// stageOrders are the lines of a script that begin with ">", by their first word.
var stageOrders = map[string]func(s *stage, words []string){
	"options":   (*stage).orderOptions,
	"lead":      (*stage).orderLead,
	"serve":     func(s *stage, _ []string) { s.l.s.Serve(true) },
	"report":    (*stage).orderReport,
	"restart":   (*stage).orderRestart,
	"subscribe": (*stage).orderSubscribe,
	"create": func(s *stage, w []string) {
		s.take(w, 2, func(id LaneID, number uint64) bool { return s.l.s.Create(id, number, addrOf(w[2])) })
	},
	"delete": func(s *stage, w []string) {
		s.take(w, 2, func(id LaneID, number uint64) bool { return s.l.s.Delete(id, number, addrOf(w[2])) })
	},
	"grant":    func(s *stage, w []string) { s.l.s.Grant(s.sub(w[1]), int32(s.number(w[2]))) },
	"drain":    func(s *stage, w []string) { s.l.s.Drain(s.sub(w[1])) },
	"close":    (*stage).orderClose,
	"gone":     func(s *stage, w []string) { s.l.s.CloseSession(s.node(w[1]).session) },
	"forget":   func(s *stage, w []string) { s.l.s.Forget(uint64(s.number(w[1]))) },
	"held":     (*stage).orderHeld,
	"send":     (*stage).orderSend,
	"settle":   (*stage).orderSettle,
	"buried":   func(s *stage, w []string) { s.l.s.Buried(s.key(w[1])) },
	"refused":  (*stage).orderRefused,
	"time":     func(s *stage, w []string) { s.l.now = s.number(w[1]) },
	"expire":   (*stage).orderExpire,
	"dispatch": func(s *stage, _ []string) { s.l.s.Dispatch(); s.tellEffects() },
	"commit":   (*stage).orderCommit,
	"seal":     (*stage).orderSeal,
	"append":   func(s *stage, _ []string) { s.append() },
	"apply":    func(s *stage, _ []string) { s.apply(); s.l.s.Dispatch(); s.tellEffects() },
	"lose":     (*stage).orderLose,
	"late":     (*stage).orderLate,
	"clean":    (*stage).orderClean,
	"cut":      func(s *stage, _ []string) { s.l.s.ComposeCut() },
	"queues":   (*stage).orderQueues,
	"counts":   (*stage).orderCounts,
	"log":      func(s *stage, _ []string) { s.say("the log has %d to %d", s.l.first, s.tail()) },
}

func (s *stage) obey(words []string) {
	s.t.Helper()
	f := stageOrders[words[0]]
	if f == nil {
		f = stageTxOrders[words[0]]
	}
	if f == nil {
		f = stageLargeOrders[words[0]]
	}
	if f == nil {
		s.t.Fatalf("unknown order %q", words)
	}
	f(s, words)
}

func (s *stage) number(text string) int64 {
	s.t.Helper()
	n, err := strconv.ParseInt(text, 0, 64)
	if err != nil {
		s.t.Fatal(err)
	}
	return n
}

// key reads epoch.counter.
func (s *stage) key(text string) uint64 {
	s.t.Helper()
	epoch, count, ok := strings.Cut(text, ".")
	if !ok {
		s.t.Fatalf("got key %q, want epoch.counter", text)
	}
	return uint64(s.number(epoch))<<keyShift | uint64(s.number(count))
}

// node returns a node by its name. Its first session has the number in its name.
func (s *stage) node(name string) *stageNode {
	s.t.Helper()
	n := s.nodes[name]
	if n == nil {
		n = &stageNode{session: uint64(s.number(strings.TrimLeft(name, "n"))), next: [3]uint64{0, 1, 1}}
		s.nodes[name] = n
	}
	return n
}

// sub reads node/number.
func (s *stage) sub(text string) SubID {
	s.t.Helper()
	node, number, _ := strings.Cut(text, "/")
	return SubID{Session: s.node(node).session, Sub: uint64(s.number(number))}
}

// field returns the value of name=value among words, or otherwise.
func field(words []string, name, otherwise string) string {
	for _, w := range words {
		if v, ok := strings.CutPrefix(w, name+"="); ok {
			return v
		}
	}
	return otherwise
}

func (s *stage) orderOptions(w []string) {
	number := func(name string) int { return int(s.number(field(w, name, "0"))) }
	s.opts = Options{
		MaxFailed: uint16(number("max-failed")), SoftBytes: int64(number("soft-bytes")), RecordTarget: number("record-target"),
		CleanAbove: int64(number("clean-above")), CutBytes: int64(number("cut-bytes")),
		DeadLetter: routing.Queue(field(w, "dead-letter", "DLQ")), DeadLetterHere: slices.Contains(w, "here"),
	}
}

// orderLead has a node take over: whatever is not in the log is lost, and may
// arrive late.
func (s *stage) orderLead(w []string) {
	for _, b := range s.pipe {
		s.lost = append(s.lost, b.Rec)
	}
	s.pipe, s.heard = nil, nil
	l := s.l
	l.s = replay(s.t, s.opts, l.first, l.log)
	s.pipe = append(s.pipe, l.s.Lead(w[1], s.node(w[1]).session, l.now))
	s.append()
	s.apply()
	l.s.Serve(!slices.Contains(w, "waiting"))
}

// orderReport opens a node's lanes: it sends from what it does not know to be done.
func (s *stage) orderReport(w []string) {
	n := s.node(w[1])
	var expects [3]uint64
	for lane := byte(1); lane <= 2; lane++ {
		lowest := uint64(s.number(field(w, laneNames[lane], "1")))
		expects[lane] = s.l.s.OpenLane(LaneID{Session: n.session, Lane: lane}, w[1], lowest)
		n.next[lane] = expects[lane]
	}
	s.say("%s sends on from settle %d, send %d", w[1], expects[1], expects[2])
	s.tellEffects()
}

// orderRestart makes a node another process of the same name.
func (s *stage) orderRestart(w []string) {
	session := s.node(w[1]).session + 10
	s.nodes[w[1]] = &stageNode{session: session, next: [3]uint64{0, 1, 1}}
	for _, old := range s.l.s.Sessions(w[1], session) {
		s.say("%s had session %d before", w[1], old)
	}
}

// take makes a request with the next number of a lane, or the one that is named.
func (s *stage) take(w []string, lane byte, request func(id LaneID, number uint64) bool) {
	n := s.node(w[1])
	number := n.next[lane]
	if again := field(w, "number", ""); again != "" {
		number = uint64(s.number(again))
	} else {
		n.next[lane]++
	}
	if !request(LaneID{Session: n.session, Lane: lane}, number) {
		s.say("%s %d is not taken", laneNames[lane], number)
	}
}

// addrOf returns the address of a queue; one whose name begins with "temp-" is
// temporary.
func addrOf(name string) routing.Address {
	if strings.HasPrefix(name, "temp-") {
		return routing.Address{Kind: routing.KindTempQueue, Name: name}
	}
	return routing.Queue(name)
}

func (s *stage) orderSubscribe(w []string) {
	if !s.l.s.Subscribe(s.sub(w[1]), addrOf(w[2])) {
		s.say("there is no such subscription")
	}
}

func (s *stage) orderHeld(w []string) {
	if len(w) > 3 && w[3] == "leaving" {
		s.l.s.HeldToLeave(s.sub(w[1]), s.key(w[2]))
		return
	}
	s.l.s.Held(s.sub(w[1]), s.key(w[2]))
}

// orderClose ends a subscription whose node has seen all of its deliveries, or so many.
func (s *stage) orderClose(w []string) {
	s.l.s.CloseSub(s.sub(w[1]), uint64(s.number(field(w, "seen", "0x7fffffffffffffff"))))
}

func (s *stage) orderSend(w []string) {
	env := envelope.Append(nil, &routing.Envelope{
		Address: addrOf(w[2]), Encoding: routing.EncodingSTOMP, Persistent: !slices.Contains(w, "soft"),
		Expiry: s.number(field(w, "expires", "0")), Payload: []byte(w[3]),
	})
	s.take(w, 2, func(id LaneID, number uint64) bool { return s.l.s.Send(id, number, env) })
}

var stageOutcomes = map[string]routing.Outcome{
	"accepted":  {Kind: routing.Accepted},
	"rejected":  {Kind: routing.Rejected},
	"released":  {Kind: routing.Released},
	"failed":    {Kind: routing.Modified, DeliveryFailed: true},
	"elsewhere": {Kind: routing.Modified, UndeliverableHere: true},
}

func (s *stage) orderSettle(w []string) {
	sub := s.sub(w[1])
	node, _, _ := strings.Cut(w[1], "/")
	r := Settlement{Sub: sub, Key: s.key(w[2]), Outcome: stageOutcomes[w[3]]}
	if r.Outcome.Kind == 0 {
		s.t.Fatalf("unknown outcome %q", w[3])
	}
	w[1] = node
	s.take(w, 1, func(id LaneID, number uint64) bool { return s.l.s.Settle(id, number, r) })
}

// orderRefused has the dead-letter address not take a message.
func (s *stage) orderRefused(w []string) {
	code := routing.CodeFull
	if field(w, "code", "full") == "invalid" {
		code = routing.CodeInvalid
	}
	s.l.s.Unburied(s.key(w[1]), code)
}

func (s *stage) orderExpire([]string) {
	if next := s.l.s.Expire(s.l.now); next != 0 {
		s.say("the next expiry is at %d", next)
	}
}

// orderCommit composes, commits and dispatches until nothing is left to do.
func (s *stage) orderCommit([]string) {
	for {
		s.l.s.Bury(true)
		s.l.s.Dispatch()
		s.tellEffects()
		b := s.l.s.Seal(s.l.now)
		if b == nil {
			return
		}
		s.pipe = append(s.pipe, b)
		s.append()
		s.apply()
	}
}

func (s *stage) orderSeal([]string) {
	s.l.s.Dispatch()
	if b := s.l.s.Seal(s.l.now); b != nil {
		s.pipe = append(s.pipe, b)
	} else {
		s.say("nothing to seal")
	}
	s.tellEffects()
}

// append has the log take the oldest record that is under way.
func (s *stage) append() {
	b := s.pipe[0]
	s.pipe = s.pipe[1:]
	s.heard = append(s.heard, b)
	if b.Rec != nil {
		s.l.log = append(s.l.log, b.Rec)
		s.tellRecord(s.tail(), b.Rec)
	}
}

// apply has the leader hear of the oldest record that is in the log.
func (s *stage) apply() {
	b := s.heard[0]
	s.heard = s.heard[1:]
	if b.Rec == nil {
		s.l.s.ApplySoft(b)
		return
	}
	s.applyRecord(b)
}

func (s *stage) applyRecord(b *Batch) {
	s.t.Helper()
	void, seq := s.l.s.Counts().Void, s.l.s.LastSeq()+1
	if err := s.l.s.Apply(seq, b.Rec, b); err != nil && !errors.Is(err, ErrVoid) { // a leader would end
		s.t.Fatal(err)
	}
	if s.l.s.Counts().Void > void {
		s.say("%d: void", seq)
	}
}

func (s *stage) orderLose([]string) {
	last := len(s.pipe) - 1
	s.lost = append(s.lost, s.pipe[last].Rec)
	s.pipe = s.pipe[:last]
}

// orderLate has a record that was lost arrive at the log's end after all.
func (s *stage) orderLate([]string) {
	rec := s.lost[0]
	s.lost = s.lost[1:]
	s.l.log = append(s.l.log, rec)
	s.tellRecord(s.tail(), rec)
	s.applyRecord(&Batch{Rec: rec})
}

// orderClean rewrites what is live in the oldest record that holds anything.
func (s *stage) orderClean([]string) {
	seq, ok := s.l.s.CleanTarget()
	if !ok {
		s.say("nothing to clean")
		return
	}
	s.say("record %d is written again", seq)
	if err := s.l.s.Rewrite(seq, s.l.log[seq-s.l.first]); err != nil {
		s.t.Fatal(err)
	}
}

func (s *stage) orderQueues([]string) {
	s.l.s.Queues(func(q QueueInfo) bool {
		s.say("%s: %d messages, %d in flight, %d consumers, in %d, out %d", q.Address.Name, q.Depth, q.InFlight, q.Consumers, q.In, q.Out)
		return true
	})
}

func (s *stage) orderCounts([]string) {
	c := s.l.s.Counts()
	s.say("enqueued %d, accepted %d, dead-lettered %d, expired %d, redelivered %d, stale %d, void %d",
		c.Enqueued, c.Accepted, c.DeadLettered, c.Expired, c.Redelivered, c.Stale, c.Void)
}
