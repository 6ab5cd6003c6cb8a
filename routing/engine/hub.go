package engine

import (
	"context"
	"time"

	"github.com/selvedge-mq/selvedge/internal/mailbox"
	"github.com/selvedge-mq/selvedge/routing"
	"github.com/selvedge-mq/selvedge/routing/envelope"
)

// hub fans the messages of topics out: to this node's subscriptions, and once to
// each node that has some. They pass no shard and no log; a message is done when
// it was handed on. One goroutine owns the hub.
type hub struct {
	e   *Engine
	box *mailbox.Mailbox[func()]
	in  intake

	subs    map[string]map[uint64]*topicSub // by topic, as hubKey names it
	temps   map[string]bool                 // temporary topics of this node
	nodes   map[string]map[string]bool      // topics that other nodes want
	away    map[string]awayNode             // nodes that were lost not long ago
	backlog map[string]*nodeBacklog         // messages that a node's window did not take
	heard   map[uint64]*interest            // interests that others have not taken note of
	number  uint64                          // of the latest interest told
	key     uint64                          // of the latest message
	done    completions
}

// interest is a subscription that waits until every node knows of it.
type interest struct {
	topic   string
	calls   []interestCall
	missing map[string]bool
}

// interestCall is the Subscribe of one subscription.
type interestCall struct {
	call
	sub *topicSub
}

type nodeBacklog struct {
	parcels []*parcelOfTopics
	bytes   int64
}

func newHub(e *Engine) *hub {
	h := &hub{
		e: e, box: mailbox.New[func()](),
		subs: map[string]map[uint64]*topicSub{}, temps: map[string]bool{}, nodes: map[string]map[string]bool{}, away: map[string]awayNode{},
		backlog: map[string]*nodeBacklog{}, heard: map[uint64]*interest{},
		key: e.session << 40,
	}
	h.in.wake = h.box.Wake
	return h
}

func (h *hub) run(ctx context.Context) {
	timer := time.NewTicker(tick)
	defer timer.Stop()
	var calls []func()
	for {
		select {
		case <-ctx.Done():
			h.abandon()
			return
		case now := <-timer.C:
			h.expire(now)
		case <-h.box.Ready():
		}
		// Calls run before messages are fanned out: a message sent after a
		// Subscribe on the same connection finds the subscription.
		calls = h.box.Take(calls)
		for _, f := range calls {
			f()
		}
		h.publish()
		h.flush()
		h.done.flush()
	}
}

// complete ends a request with a result from the hub's goroutine.
func (h *hub) complete(c routing.Completer, token uint64, err error) {
	switch {
	case c == nil:
	case h.e.over.Load(): // the hub's goroutine is gone, or goes
		c.Complete([]routing.Result{{Token: token, Err: err}})
	default:
		h.box.Put(func() { h.done.add(c, token, err) })
	}
}

// answer ends a read with an answer from the hub's goroutine.
func (h *hub) answer(s routing.PieceSink, p routing.Piece) {
	if h.e.over.Load() { // the hub's goroutine is gone, or goes
		s.Piece(p)
		return
	}
	h.box.Put(func() { s.Piece(p) })
}

// publish fans out what the sessions put in.
func (h *hub) publish() {
	buf, reqs := h.in.take()
	var remote map[string]*parcelOfTopics
	for _, r := range reqs {
		env := buf[:r.size:r.size]
		buf = buf[r.size:]
		if head, err := envelope.Peek(env); err == nil {
			name := hubKey(head.Kind, string(head.Name))
			if head.Kind == routing.KindTempTopic && !h.exists(name) {
				h.e.held.Add(-int64(r.size))
				h.done.add(r.c, r.token, &routing.Error{
					Code: routing.CodeNotFound, Op: "send", Address: routing.Address{Kind: head.Kind, Name: string(head.Name)}.String(),
					Reason: reasons[routing.CodeNotFound],
				})
				continue
			}
			h.deliver(name, env)
			remote = h.gather(remote, name, env)
		}
		h.e.held.Add(-int64(r.size))
		h.done.add(r.c, r.token, nil)
	}
	for node, o := range remote {
		h.send(node, o)
	}
	h.handOver()
}

// parcelOfTopics is a message for a node: some envelopes.
type parcelOfTopics struct {
	msg       []byte
	envelopes int
}

// gather adds an envelope to the parcel for each node that wants its topic.
func (h *hub) gather(remote map[string]*parcelOfTopics, name string, env []byte) map[string]*parcelOfTopics {
	for node, topics := range h.nodes {
		if !topics[name] {
			continue
		}
		if remote == nil {
			remote = map[string]*parcelOfTopics{}
		}
		o := remote[node]
		if o == nil {
			o = &parcelOfTopics{msg: head{verb: verbTopic}.append(nil)}
			remote[node] = o
		}
		o.msg = appendEnvelope(o.msg, env)
		if o.envelopes++; len(o.msg) >= deliverBytes {
			h.send(node, o)
			delete(remote, node)
		}
	}
	return remote
}

// send gives a node its messages, or keeps them while its window is full, up to
// a limit.
func (h *hub) send(node string, o *parcelOfTopics) {
	b := h.backlog[node]
	if b == nil && h.e.opts.Peers.Send(node, LaneDeliver, o.msg) {
		return
	}
	if b == nil {
		b = &nodeBacklog{}
		h.backlog[node] = b
	}
	if b.bytes+int64(len(o.msg)) > h.e.opts.TopicBytes {
		h.e.metrics.topicDrops.Add(float64(o.envelopes))
		return
	}
	b.parcels = append(b.parcels, o)
	b.bytes += int64(len(o.msg))
}

// flush sends what waited for windows.
func (h *hub) flush() {
	for node, b := range h.backlog {
		for len(b.parcels) > 0 && h.e.opts.Peers.Send(node, LaneDeliver, b.parcels[0].msg) {
			b.bytes -= int64(len(b.parcels[0].msg))
			b.parcels[0] = nil
			b.parcels = b.parcels[1:]
		}
		if len(b.parcels) == 0 {
			delete(h.backlog, node)
		}
	}
}

// deliver gives a message to this node's subscriptions of a topic.
func (h *hub) deliver(name string, env []byte) {
	subs := h.subs[name]
	if len(subs) == 0 {
		return
	}
	h.key++
	tag := routing.Tag{Shard: routing.TopicShard, Key: h.key}
	for _, t := range subs {
		t.offer(topicMessage{tag: tag, env: env})
	}
}

// handOver hands every subscription what it has credit for.
func (h *hub) handOver() {
	for _, subs := range h.subs {
		for _, t := range subs {
			t.handOver()
		}
	}
}

// subscribe implements the session's Subscribe for topics. The result comes when
// every node that is up knows of the interest.
func (h *hub) subscribe(id uint64, o routing.SubscribeOptions, sink routing.Sink, c routing.Completer, token uint64) *topicSub {
	t := &topicSub{h: h, id: id, opts: o, sink: sink}
	h.box.Put(func() {
		name := t.key()
		first := len(h.subs[name]) == 0
		if first {
			h.subs[name] = map[uint64]*topicSub{}
		}
		h.subs[name][id] = t
		if !first || h.temps[name] {
			h.joinInterest(name, interestCall{call{c, token, time.Now()}, t})
			return
		}
		h.tellInterest(name, interestCall{call{c, token, time.Now()}, t})
	})
	return t
}

// tellInterest tells every node of a new interest and remembers who has to
// take note of it.
func (h *hub) tellInterest(name string, by interestCall) {
	h.number++
	in := &interest{topic: name, calls: []interestCall{by}, missing: map[string]bool{}}
	for _, node := range h.e.up() {
		in.missing[node] = true
		h.e.control(node, appendInterest(h.number, interestMore, []string{name}))
	}
	if len(in.missing) == 0 {
		h.done.add(by.c, by.token, nil)
		return
	}
	h.heard[h.number] = in
}

// joinInterest has a further subscription to a topic wait for the latest interest
// that is being told, if there is one.
func (h *hub) joinInterest(name string, by interestCall) {
	latest := uint64(0)
	for number, in := range h.heard {
		if in.topic == name {
			latest = max(latest, number)
		}
	}
	if in := h.heard[latest]; in != nil {
		in.calls = append(in.calls, by)
		return
	}
	h.done.add(by.c, by.token, nil)
}

// took notes that a node knows of the interest with that number.
func (h *hub) took(node string, number uint64) {
	in := h.heard[number]
	if in == nil {
		return
	}
	delete(in.missing, node)
	if len(in.missing) == 0 {
		for _, by := range in.calls {
			h.done.add(by.c, by.token, nil)
		}
		delete(h.heard, number)
	}
}

// expire forgets the nodes that were lost long ago, and fails the subscriptions of
// whose interest a node has not taken note in time, though it is up. They are closed.
func (h *hub) expire(now time.Time) {
	for node, n := range h.away {
		if now.Sub(n.since) >= h.e.opts.SendTimeout {
			delete(h.away, node)
		}
	}
	for number, in := range h.heard {
		kept := in.calls[:0]
		for _, by := range in.calls {
			if !by.over(now, h.e.opts.SendTimeout) {
				kept = append(kept, by)
				continue
			}
			h.e.metrics.timeouts.Inc()
			err := &routing.Error{Code: routing.CodeTimeout, Op: "subscribe", Reason: "not every node has taken note in time"}
			if by.sub != nil {
				h.drop(by.sub)
				err.Address = by.sub.opts.Address.String()
			}
			h.done.add(by.c, by.token, err)
		}
		if in.calls = kept; len(kept) == 0 {
			delete(h.heard, number)
		}
	}
}

func (h *hub) unsubscribe(t *topicSub, by call) {
	h.drop(t)
	h.done.add(by.c, by.token, nil)
}

// drop forgets a subscription, and has the other nodes forget the interest with
// the last one of its topic.
func (h *hub) drop(t *topicSub) {
	t.gone.Store(true)
	name := t.key()
	if subs := h.subs[name]; subs[t.id] == t {
		delete(subs, t.id)
		if len(subs) == 0 {
			delete(h.subs, name)
			if !h.temps[name] {
				h.tellLess(name)
			}
		}
	}
	t.waiting, t.bytes = nil, 0
}

func (h *hub) tellLess(name string) {
	for _, node := range h.e.up() {
		h.e.control(node, appendInterest(0, interestLess, []string{name}))
	}
}

// hubKey names a topic in the hub. A temporary one has a mark in front that no
// name has.
func hubKey(k routing.Kind, name string) string {
	if k == routing.KindTempTopic {
		return "\x00" + name
	}
	return name
}

// awayNode is what a node wanted that is out of reach, and since when: its temporary
// topics may well exist.
type awayNode struct {
	topics map[string]bool
	since  time.Time
}

// exists reports whether a temporary topic exists: its node has told all others of
// it, as it tells them of what it wants.
func (h *hub) exists(key string) bool {
	if h.temps[key] {
		return true
	}
	for _, topics := range h.nodes {
		if topics[key] {
			return true
		}
	}
	for _, n := range h.away {
		if n.topics[key] {
			return true
		}
	}
	return false
}

// create begins a temporary topic; it exists when every node that is up knows.
func (h *hub) create(a routing.Address, end *temporaryEnd) {
	h.box.Put(func() {
		key := hubKey(a.Kind, a.Name)
		h.temps[key] = true
		h.tellInterest(key, interestCall{call: call{c: end, since: time.Now()}})
	})
}

// remove ends a temporary topic.
func (h *hub) remove(a routing.Address, end *temporaryEnd) {
	h.box.Put(func() {
		key := hubKey(a.Kind, a.Name)
		if h.temps[key] {
			delete(h.temps, key)
			h.tellLess(key)
		}
		h.done.add(end, 0, nil)
	})
}

// peerUp tells a node every topic that this one wants.
func (h *hub) peerUp(node string) {
	names := make([]string, 0, len(h.subs)+len(h.temps))
	for name := range h.temps {
		names = append(names, name)
	}
	for name := range h.subs {
		names = append(names, name)
	}
	h.e.controlFirst(node, appendInterest(0, interestAll, names))
}

// peerDown forgets what a node wanted, and drops what waits for it; nobody waits for it
// any more.
func (h *hub) peerDown(node string) {
	if topics := h.nodes[node]; topics != nil {
		h.away[node] = awayNode{topics: topics, since: time.Now()}
		delete(h.nodes, node)
	}
	if b := h.backlog[node]; b != nil {
		for _, o := range b.parcels {
			h.e.metrics.topicDrops.Add(float64(o.envelopes))
		}
		delete(h.backlog, node)
	}
	for number := range h.heard {
		h.took(node, number)
	}
}

func (h *hub) abandon() {
	for _, f := range h.box.Take(nil) {
		f()
	}
	_, reqs := h.in.take()
	for _, r := range reqs {
		h.done.add(r.c, r.token, &routing.Error{Code: routing.CodeClosed, Op: "send", Reason: "the node is shutting down"})
	}
	for _, in := range h.heard {
		for _, by := range in.calls {
			h.done.add(by.c, by.token, &routing.Error{Code: routing.CodeClosed, Op: "subscribe"})
		}
	}
	h.done.flush()
}
