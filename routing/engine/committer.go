package engine

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/selvedge-mq/selvedge/internal/mailbox"
	"github.com/selvedge-mq/selvedge/routing"
)

// committer drives the transactions of this node that are in several shards: all
// participants prepare, then the coordinator, which is one of them, logs the
// commit, then all finish. Each step is a request of a portal's lane, so it is
// done once, whatever becomes of leaders. If this node dies in between, the
// participants ask the coordinator. One goroutine owns it.
type committer struct {
	e       *Engine
	box     *mailbox.Mailbox[func()]
	last    atomic.Uint64 // number of the latest transaction
	running map[uint64]*commit
	idlers  idlers

	mu   sync.Mutex
	over bool // nobody looks into the box any more
}

// commit is a transaction on its way.
type commit struct {
	number   uint64
	parts    []*commitPart // the first one's shard is the coordinator
	topics   [][]byte
	c        routing.Completer
	token    uint64
	since    time.Time
	told     bool         // the client knows the end, or that there is none in time
	overdue  bool         // a portal was asked why
	waiting  int          // steps without an answer
	deciding bool         // the coordinator was asked for the commit
	code     routing.Code // why it does not commit
}

type commitPart struct {
	*txPart
	step     *txStep
	prepared bool
}

func newCommitter(e *Engine) *committer {
	return &committer{e: e, box: mailbox.New[func()](), running: map[uint64]*commit{}}
}

func (k *committer) run(ctx context.Context) {
	timer := time.NewTicker(tick)
	defer timer.Stop()
	var calls []func()
	for {
		select {
		case <-ctx.Done():
			k.abandon()
			return
		case now := <-timer.C:
			k.expire(now)
		case <-k.box.Ready():
		}
		calls = k.box.Take(calls)
		for _, f := range calls {
			f()
		}
		k.wakeIdlers()
	}
}

// begin starts a commit. The session's goroutine calls it: the first steps come
// behind what the session has sent, and before what it does next.
func (k *committer) begin(parts map[int]*txPart, topics [][]byte, c routing.Completer, token uint64) {
	m := &commit{
		number: k.last.Add(1), topics: topics, c: c, token: token, since: time.Now(), waiting: len(parts),
	}
	for _, part := range parts {
		m.parts = append(m.parts, &commitPart{txPart: part})
	}
	slices.SortFunc(m.parts, func(a, b *commitPart) int { return a.shard - b.shard })
	if !k.take(m) {
		k.tell(m, &routing.Error{Code: routing.CodeClosed, Op: "commit", Reason: "the node is shutting down: nothing took effect"})
		return
	}
	for _, p := range m.parts {
		p.step = &txStep{verb: stepPrepare, number: m.number, coordinator: m.parts[0].shard, part: p.txPart}
		p.step.done = func(code routing.Code) { k.box.Put(func() { k.prepared(m, p, code) }) }
		k.e.portals[p.shard].putStep(p.step)
	}
}

// take puts a commit into the box, unless the committer has ended.
func (k *committer) take(m *commit) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.over {
		k.box.Put(func() { k.running[m.number] = m })
	}
	return !k.over
}

func (k *committer) prepared(m *commit, p *commitPart, code routing.Code) {
	p.prepared = code == routing.CodeOK
	if !p.prepared && m.code == routing.CodeOK {
		m.code = code
	}
	if m.waiting--; m.waiting > 0 {
		return
	}
	if m.code != routing.CodeOK {
		k.conclude(m, false)
		return
	}
	m.deciding = true
	t := &txStep{verb: stepDecide, number: m.number}
	for _, p := range m.parts {
		t.shards = append(t.shards, p.shard)
	}
	t.done = func(code routing.Code) {
		k.box.Put(func() {
			m.code = code
			k.conclude(m, code == routing.CodeOK)
		})
	}
	k.e.portals[m.parts[0].shard].putStep(t)
}

// conclude carries the decision out. The client is told of a commit at once, since
// whatever it sends next comes behind; and that nothing took effect when the parts
// have ended, since it may settle their deliveries then.
func (k *committer) conclude(m *commit, commits bool) {
	for _, p := range m.parts {
		if !p.prepared {
			continue
		}
		m.waiting++
		at := k.e.portals[p.shard]
		at.putStep(&txStep{verb: stepFinish, number: m.number, commit: commits, done: func(routing.Code) {
			k.box.Put(func() { k.finished(m) })
		}})
		at.box.Put(func() { at.settled(p.txPart, p.step.taken, commits) })
	}
	if commits {
		k.e.publish(m.topics)
	}
	if commits || m.waiting == 0 {
		k.tell(m, stepError(m.code))
	}
	if m.waiting == 0 {
		delete(k.running, m.number)
	}
}

// finished ends the coordinator's decision when nobody can ask for it any more.
func (k *committer) finished(m *commit) {
	if m.waiting--; m.waiting > 0 {
		return
	}
	k.tell(m, stepError(m.code))
	k.e.portals[m.parts[0].shard].putStep(&txStep{verb: stepEnd, number: m.number, done: func(routing.Code) {
		k.box.Put(func() { delete(k.running, m.number) })
	}})
}

func (k *committer) tell(m *commit, err error) {
	if m.told {
		return
	}
	m.told = true
	k.e.metrics.transactions.WithLabelValues(routing.CodeOf(err).String()).Inc()
	if m.c != nil {
		m.c.Complete([]routing.Result{{Token: m.token, Err: err}})
	}
}

// expire tells the clients that have waited longer than the send timeout. What is
// not prepared everywhere by then does not commit.
func (k *committer) expire(now time.Time) {
	for _, m := range k.running {
		if m.told || m.overdue || now.Sub(m.since) < k.e.opts.SendTimeout {
			continue
		}
		m.overdue = true
		if !m.deciding && m.code == routing.CodeOK {
			m.code = routing.CodeTimeout
		}
		k.e.metrics.timeouts.Inc()
		k.tellOverdue(m)
	}
}

// tellOverdue tells a client that its commit is not confirmed in time, with the reason
// that the portal has which waits.
func (k *committer) tellOverdue(m *commit) {
	waits := m.parts[0]
	for _, p := range m.parts {
		if !p.prepared {
			waits = p
			break
		}
	}
	at := k.e.portals[waits.shard]
	at.box.Put(func() {
		reason := at.unconfirmed(time.Now())
		k.box.Put(func() { k.tell(m, &routing.Error{Code: routing.CodeTimeout, Op: "commit", Reason: reason}) })
	})
}

// abandon ends everything: the engine closes, and the participants will ask the
// coordinators.
func (k *committer) abandon() {
	k.mu.Lock()
	k.over = true
	k.mu.Unlock()
	for _, f := range k.box.Take(nil) {
		f()
	}
	for _, m := range k.running {
		k.tell(m, &routing.Error{Code: routing.CodeUnavailable, Op: "commit", Reason: "the node is shutting down: the outcome is unknown"})
	}
	k.idlers.wake()
}

// idle waits until nothing is on its way.
func (k *committer) idle(ctx context.Context) error {
	return k.idlers.wait(ctx, k.box)
}

func (k *committer) wakeIdlers() {
	if len(k.running) > 0 {
		return
	}
	k.idlers.wake()
}
