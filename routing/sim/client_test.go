package sim_test

import (
	"context"
	"fmt"
	"slices"

	"github.com/selvedge-mq/selvedge/routing"
)

// client is a session of a node's client: a producer or a consumer. The engine
// calls it from its goroutines; everything it does happens in events.
type client struct {
	w       *world
	index   int
	name    string
	proc    *process
	session routing.Session
	alive   bool
	queue   routing.Address

	temp *tempQueue // its own, nil for none

	tokens uint64
	calls  map[uint64]func(err error) // by token, what waits for a result

	*producer
	*consumer
	*transactor
	*listener
}

// errand is what a request is about. The answers to requests of one kind come in
// an order that the engine decides.
type errand uint64

const (
	ofSend errand = iota
	ofSettle
	ofCommit
	ofStep
)

const errandShift = 56

var (
	_ routing.Completer = (*client)(nil)
	_ routing.Sink      = (*client)(nil)
)

// connect opens a session at a process.
func (w *world) connect(p *process, kind string, queue routing.Address) *client {
	c := &client{
		w: w, index: len(w.clients), name: fmt.Sprintf("%s%d@%s", kind, len(w.clients), p.name), proc: p, alive: true,
		queue: queue, calls: map[uint64]func(error){},
	}
	w.clients = append(w.clients, c)
	s, err := p.eng.Open(context.Background(), routing.SessionOptions{ClientID: c.name})
	if err != nil {
		w.violated("%s cannot connect: %v", c.name, err)
		c.alive = false
		return c
	}
	c.session = s
	w.notef("connect %s to %s", c.name, queue.Name)
	return c
}

// anyProcess returns a process that runs and serves clients, nil if there is none.
func (w *world) anyProcess() *process {
	if p := w.prober; p != nil && p.proc == p && !p.paused {
		return p
	}
	first := w.rng.IntN(w.plan.nodes)
	for i := range w.plan.nodes {
		if n := w.nodes[(first+i)%w.plan.nodes]; n.running() && n.proc.eng != nil {
			return n.proc
		}
	}
	return nil
}

// token has f called with the result of a request.
func (c *client) token(of errand, f func(err error)) uint64 {
	c.tokens++
	token := uint64(of)<<errandShift | c.tokens
	c.calls[token] = f
	return token
}

// act has f run while the client lives and its node runs.
func (c *client) act(f func()) {
	c.proc.when(func() {
		if c.alive {
			f()
		}
	})
}

// nodeDied ends a client of a process, and has it come back elsewhere.
func (c *client) nodeDied(p *process) {
	if c.proc != p || !c.alive {
		return
	}
	c.alive = false
	if c.temp != nil {
		c.temp.gone = true
	}
	if c.transactor != nil && c.txn != nil {
		c.txn.state = txVoid
	}
	c.w.ledger.died(c)
	c.w.after(c.w.between(connectLeast, connectMost), c.again)
}

// again has a client come back, or another one in its place.
func (c *client) again() {
	switch {
	case c.w.anyProcess() == nil:
		c.w.after(connectMost, c.again)
	case c.producer != nil:
		c.w.produce(c.queue, c.persistent, c.window, c.limit-c.sent)
	case c.w.healed:
		if c.consumer != nil && c.kind && c.temp == nil && c.transactor == nil {
			c.w.consumeKindly(c.queue, true)
		}
	case c.temp != nil:
		c.w.request(false)
	case c.listener != nil:
		c.w.listen(c.queue)
	case c.transactor != nil:
		c.w.transact(c.queue, c.left)
	case c.consumer != nil:
		c.w.consume(c.queue)
	}
}

// Complete implements routing.Completer.
func (c *client) Complete(results []routing.Result) {
	results = slices.Clone(results)
	slices.SortStableFunc(results, func(a, b routing.Result) int { return int(a.Token) - int(b.Token) })
	from := source{kind: outCallback, node: c.proc.index, who: c.index, lane: 1 + int(results[0].Token>>errandShift)}
	c.w.emit(from, func() {
		c.act(func() {
			for _, r := range results {
				c.ended(r)
			}
		})
	})
	c.proc.hold()
}

func (c *client) ended(r routing.Result) {
	f := c.calls[r.Token]
	if f == nil {
		c.w.violated("%s: request %d ended twice", c.name, r.Token)
		return
	}
	delete(c.calls, r.Token)
	c.w.notef("end %s request %d code %v", c.name, r.Token, routing.CodeOf(r.Err))
	f(r.Err)
}

// Deliver implements routing.Sink.
func (c *client) Deliver(ds []routing.Delivery) {
	ds = slices.Clone(ds)
	c.w.emit(source{kind: outHandover, node: c.proc.index, who: c.index}, func() { c.local(ds) })
	c.w.emit(source{kind: outCallback, node: c.proc.index, who: c.index}, func() {
		c.act(func() {
			for i := 0; i < len(ds) && c.alive; i++ {
				if c.listener != nil {
					c.hear(&ds[i])
				} else {
					c.take(&ds[i])
				}
			}
		})
	})
	c.proc.hold()
}

// local judges deliveries of a leader on the client's own node: they pass no network.
func (c *client) local(ds []routing.Delivery) {
	if c.proc.proc != c.proc {
		return
	}
	for i := range ds {
		t := ds[i].Tag
		if t.Shard == routing.TopicShard {
			continue
		}
		if c.w.groups[t.Shard].truth.epochs[t.Epoch] != c.proc.session {
			continue
		}
		for _, at := range marks(ds[i].Envelope.Payload) {
			c.w.ledger.handover(c.proc, c.proc.name, int(t.Shard), t.Epoch, at.id)
		}
	}
}

// Drained implements routing.Sink.
func (c *client) Drained(n uint32) {
	c.w.emit(source{kind: outCallback, node: c.proc.index, who: c.index}, func() {
		c.act(func() { c.drained(n) })
	})
	c.proc.hold()
}

// Closed implements routing.Sink.
func (c *client) Closed(err error) {
	c.w.emit(source{kind: outCallback, node: c.proc.index, who: c.index}, func() {
		c.act(func() { c.w.violated("%s: the broker ended its subscription: %v", c.name, err) })
	})
}
