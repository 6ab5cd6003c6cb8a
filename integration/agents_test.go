package integration

import (
	"context"
	"fmt"
	"iter"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/selvedge-mq/selvedge/integration/harness"
	"github.com/selvedge-mq/selvedge/integration/history"
	"github.com/selvedge-mq/selvedge/integration/interop"
)

// redial is how long an agent waits before it connects again.
const redial = 20 * time.Millisecond

// crowd is clients that go on whatever happens: each connects again, to the next
// of its nodes, when its connection fails. A producer never sends a message
// twice, so that what comes twice is the broker's doing. All that they see is in
// the history.
type crowd struct {
	t       *testing.T
	history *history.Recorder
	ctx     context.Context //nolint:containedctx // the end of all agents
	cancel  context.CancelFunc
	sending context.Context //nolint:containedctx // the end of sending
	quiet   context.CancelFunc
	senders sync.WaitGroup
	takers  sync.WaitGroup
	queues  map[string]*harness.Node // that somebody takes from → a node to ask

	mu        sync.Mutex
	confirmed int
	open      map[string]bool // confirmed and not received
	received  map[string]bool
	watchers  []watcher
}

// newCrowd returns a crowd without anybody in it; who is left at the end of the
// test is ended.
func newCrowd(t *testing.T) *crowd {
	t.Helper()
	c := &crowd{
		t: t, history: history.NewRecorder(),
		open: map[string]bool{}, received: map[string]bool{}, queues: map[string]*harness.Node{},
	}
	c.ctx, c.cancel = context.WithCancel(t.Context())
	c.sending, c.quiet = context.WithCancel(c.ctx)
	t.Cleanup(func() {
		c.cancel()
		c.senders.Wait()
		c.takers.Wait()
		if t.Failed() {
			t.Logf("the last errors of clients: %s", strings.Join(c.told(), "\n"))
			c.keep()
		}
	})
	return c
}

// keep writes the history of a failed test to a file, and says where.
func (c *crowd) keep() {
	f, err := os.CreateTemp("", "selvedge-history-*.jsonl")
	if err != nil {
		c.t.Logf("keep the history: %v", err)
		return
	}
	defer f.Close()
	if err := history.Write(f, c.history.Events()); err != nil {
		c.t.Logf("keep the history: %v", err)
		return
	}
	c.t.Logf("the history is in %s", f.Name())
}

// sender is a producer of the crowd.
type sender struct {
	name   string
	client interop.Streamer
	nodes  []*harness.Node // which it connects to, in turn
	queue  string
	every  time.Duration // 0: as fast as it can
	window int           // unanswered messages at once
	loose  bool          // non-persistent messages
	size   int           // of a body at least; what is missing is filled up
}

// send starts a producer.
func (c *crowd) send(s sender) {
	c.senders.Go(func() {
		a := &account{crowd: c, sender: s, sent: map[string]bool{}, room: make(chan struct{}, s.window)}
		for attempt := 0; c.sending.Err() == nil; attempt++ {
			node := s.nodes[attempt%len(s.nodes)]
			a.connection = fmt.Sprintf("%s#%d", s.name, attempt)
			to := at(node, s.client, s.queue)
			to.Loose, to.Size = s.loose, s.size
			err := s.client.Stream(c.ctx, to, a.next, a.confirm)
			a.fail(err)
			c.again(c.sending, s.name, err)
		}
	})
}

// account is what a producer has sent over its present connection and was not
// told the end of.
type account struct {
	*crowd
	sender
	connection string
	number     int
	room       chan struct{} // a place taken for each message in sent

	mu   sync.Mutex
	sent map[string]bool
}

// next yields messages until sending is over or the connection has failed.
func (a *account) next(ctx context.Context) iter.Seq[string] {
	return func(yield func(string) bool) {
		var tick <-chan time.Time
		if a.every > 0 {
			t := time.NewTicker(a.every)
			defer t.Stop()
			tick = t.C
		}
		for a.turn(ctx, tick) {
			id := history.ID(a.name, a.number)
			a.number++
			a.mu.Lock()
			a.sent[id] = true
			a.mu.Unlock()
			a.history.Add(history.Event{Kind: history.Sending, Client: a.connection, Queue: a.queue, Message: id})
			if !yield(id) {
				return
			}
		}
	}
}

// turn waits until the next message may be sent; false when there is none.
func (a *account) turn(ctx context.Context, tick <-chan time.Time) bool {
	if a.every > 0 {
		select {
		case <-tick:
		case <-ctx.Done():
			return false
		case <-a.sending.Done():
			return false
		}
	}
	select {
	case a.room <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	case <-a.sending.Done():
		return false
	}
}

func (a *account) confirm(id string) {
	a.history.Add(history.Event{Kind: history.Confirmed, Client: a.name, Queue: a.queue, Message: id})
	a.mu.Lock()
	delete(a.sent, id)
	a.mu.Unlock()
	<-a.room
	a.noteConfirmed(id)
}

// fail notes that what is unanswered has failed.
func (a *account) fail(err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	reason := "the connection ended"
	if err != nil {
		reason = err.Error()
	}
	for id := range a.sent {
		a.history.Add(history.Event{Kind: history.Failed, Client: a.name, Queue: a.queue, Message: id, Reason: reason})
		<-a.room
	}
	clear(a.sent)
}

// taker is a consumer of the crowd.
type taker struct {
	name   string
	client interop.Streamer
	nodes  []*harness.Node
	queue  string
	credit int
	judge  func(interop.Message) interop.Outcome // nil accepts everything
}

// take starts a consumer.
func (c *crowd) take(k taker) {
	c.queues[k.queue] = k.nodes[0]
	c.takers.Go(func() {
		for attempt := 0; c.ctx.Err() == nil; attempt++ {
			connection := fmt.Sprintf("%s#%d", k.name, attempt)
			node := k.nodes[attempt%len(k.nodes)]
			c.history.Add(history.Event{Kind: history.Opened, Client: connection, Queue: k.queue})
			err := k.client.Consume(c.ctx, at(node, k.client, k.queue), k.credit, func(m interop.Message) interop.Outcome {
				c.history.Add(history.Event{Kind: history.Received, Client: connection, Queue: k.queue, Message: m.Body, Marked: m.Redelivered})
				c.noteReceived(m.Body)
				outcome := interop.Accept
				if k.judge != nil {
					outcome = k.judge(m)
				}
				if outcome == interop.Release {
					c.history.Add(history.Event{Kind: history.Released, Client: connection, Queue: k.queue, Message: m.Body})
				}
				return outcome
			})
			c.history.Add(history.Event{Kind: history.Gone, Client: connection, Queue: k.queue})
			c.again(c.ctx, k.name, err)
		}
	})
}

// again notes why a connection ended and waits a moment.
func (c *crowd) again(ctx context.Context, name string, err error) {
	if err != nil && ctx.Err() == nil {
		c.history.Add(history.Event{Kind: history.Disconnected, Client: name, Reason: err.Error()})
	}
	t := time.NewTimer(redial)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

func (c *crowd) noteConfirmed(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.confirmed++
	if !c.received[id] {
		c.open[id] = true
	}
	c.watchers = told(c.watchers, c.confirmed)
}

func (c *crowd) noteReceived(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.received[id] = true
	delete(c.open, id)
}

// afterConfirmed waits until so many more messages are confirmed.
func (c *crowd) afterConfirmed(more int) {
	c.t.Helper()
	c.mu.Lock()
	ch := make(chan struct{})
	c.watchers = append(c.watchers, watcher{c.confirmed + more, ch})
	c.mu.Unlock()
	end := time.NewTimer(harness.Patience)
	defer end.Stop()
	select {
	case <-ch:
	case <-end.C:
		c.t.Fatalf("after %v: %d more messages are not confirmed yet; errors %v", harness.Patience, more, c.told())
	}
}

// lastErrors are how many errors a failed test shows.
const lastErrors = 8

// told returns the last errors that agents saw.
func (c *crowd) told() []string {
	var out []string
	for _, e := range slices.Backward(c.history.Events()) {
		if e.Kind == history.Disconnected {
			out = append(out, fmt.Sprintf("%v %s: %s", rounded(e.At), e.Client, e.Reason))
		}
		if len(out) == lastErrors {
			break
		}
	}
	return out
}

// harm notes what is done to the cluster, and returns when.
func (c *crowd) harm(what string) time.Duration {
	c.history.Add(history.Event{Kind: history.Harmed, Message: what})
	return c.history.Since()
}

// between returns the events from one time on until another.
func (c *crowd) between(from, until time.Duration) []history.Event {
	events := c.history.Events()
	return slices.DeleteFunc(slices.Clone(events), func(e history.Event) bool { return e.At < from || e.At >= until })
}

// expect notes sends of before that failed and may still arrive.
func (c *crowd) expect(failed []history.Event) {
	for _, e := range failed {
		c.history.Add(history.Event{Kind: history.Sending, Client: e.Client, Queue: e.Queue, Message: e.Message})
		c.history.Add(history.Event{Kind: history.Failed, Client: e.Client, Queue: e.Queue, Message: e.Message, Reason: e.Reason})
	}
}

// forget lets go of the history of a crowd that has ended.
func (c *crowd) forget() {
	c.history, c.open, c.received = history.NewRecorder(), nil, nil
}

// finish ends the sending, waits until everything confirmed has been received and
// nothing is left in the queues, ends everybody and returns the verdict.
func (c *crowd) finish() history.Verdict {
	c.t.Helper()
	c.settle()
	defer c.accuse()
	harness.Until(c.t, "all that was confirmed at a consumer", func() (string, bool) {
		c.mu.Lock()
		defer c.mu.Unlock()
		return fmt.Sprintf("%d of %d missing", len(c.open), c.confirmed), len(c.open) == 0
	})
	for queue, n := range c.queues {
		harness.AwaitDepth(c.t, n.HTTP, queue, 0)
	}
	return c.end()
}

// settle ends the sending and waits until every message was answered; who waits
// for too long is ended.
func (c *crowd) settle() {
	c.quiet()
	end := time.AfterFunc(harness.Patience, c.cancel)
	defer end.Stop()
	c.senders.Wait()
}

// end ends everybody at once and returns the verdict.
func (c *crowd) end() history.Verdict {
	c.t.Helper()
	c.cancel()
	c.senders.Wait()
	c.takers.Wait()
	return history.Check(c.history.Events(), history.Options{})
}
