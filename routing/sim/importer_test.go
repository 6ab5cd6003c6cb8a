package sim_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/selvedge-mq/selvedge/routing"
	"github.com/selvedge-mq/selvedge/routing/engine"
	"github.com/selvedge-mq/selvedge/routing/envelope"
	"github.com/selvedge-mq/selvedge/routing/shard"
)

// importerName is the node that an import speaks as. It stores nothing and serves
// no client.
const importerName = "import"

// oldFolder is the folder of a node that ran alone: its logs, and what is to come of
// the messages in them.
type oldFolder struct {
	session  uint64 // of its import, always the same
	logs     []engine.Log
	expected []*message
	done     bool
}

// copyFolder runs the import in the process's engine.
func (p *process) copyFolder() {
	ctx, stop := context.WithCancel(context.Background())
	p.atEnd = append(p.atEnd, stop)
	p.w.notef("import begins at %s", p.name)
	go func() {
		err := p.eng.Import(ctx, p.folder.logs, func(int) {})
		p.w.emit(source{kind: outCall, node: p.index, who: 3}, func() { p.when(func() { p.imported(err) }) })
	}()
}

// imported takes the end of an import: it is done, or to be repeated.
func (p *process) imported(err error) {
	w, n := p.w, p.node
	w.notef("import ends at %s: %v", p.name, err)
	if err != nil {
		if w.calm(w.now()) {
			w.violated("the import failed though nothing is wrong: %v", err)
		}
		n.crash(false)
		w.after(w.between(minElection, 2*time.Second), n.restart)
		return
	}
	p.folder.done = true
	for _, m := range p.folder.expected {
		if m.confirmed = true; !m.committed {
			w.violated("%v: the import is done, and it is in no log", m)
		}
	}
	p.goodbye()
	n.retired = true
	n.crash(false)
}

// brought reports whether all that is to be brought is in the logs.
func (f *oldFolder) brought() bool {
	return !slices.ContainsFunc(f.expected, func(m *message) bool { return !m.committed })
}

// folderShard is a log of the folder while it is being made.
type folderShard struct {
	w      *world
	f      *oldFolder
	log    *oldLog
	s      *shard.Shard
	number uint64 // of the next send
	settle uint64 // of the next settlement
	from   *client
	sent   int
}

var folderLane = shard.LaneID{Session: 1, Lane: 2}

// makeFolder makes a folder: messages, some of them consumed, and transactions
// over both its logs that were under way when its node ended.
func (w *world) makeFolder() *oldFolder {
	f := &oldFolder{session: sessionMark<<32 | uint64(w.rng.Uint32())}
	slow := []time.Duration{time.Millisecond, time.Second}[w.rng.IntN(2)]
	var parts []*folderShard
	for i := range 2 {
		p := &folderShard{
			w: w, f: f, log: &oldLog{w: w, slow: slow}, number: 1, settle: 1, from: &client{w: w, name: fmt.Sprintf("old%d", i)},
			s: shard.New(shard.Options{DeadLetter: routing.Queue(deadLetters)}),
		}
		f.logs = append(f.logs, p.log)
		parts = append(parts, p)
		p.apply(p.s.Lead("old", 1, 1))
		p.s.OpenLane(folderLane, "old", 1)
		p.s.OpenLane(shard.LaneID{Session: 1, Lane: 1}, "old", 1)
		p.fill(5 + w.rng.IntN(40))
	}
	for tx := range uint64(w.rng.IntN(4)) {
		w.leaveTransaction(parts, shard.TxID{Session: 1, Number: tx + 1})
	}
	return f
}

// apply appends what was composed.
func (p *folderShard) apply(b *shard.Batch) {
	if b == nil {
		return
	}
	if b.Rec == nil { // nothing that a folder keeps
		p.s.ApplySoft(b)
		return
	}
	p.log.recs = append(p.log.recs, b.Rec)
	if err := p.s.Apply(uint64(len(p.log.recs)), b.Rec, b); err != nil {
		p.w.violated("the old folder: %v", err)
	}
}

func (p *folderShard) seal() { p.apply(p.s.Seal(1)) }

// message makes a message of the folder.
func (p *folderShard) message() *message {
	m := p.w.ledger.send(p.from, queueName(p.w.rng.IntN(p.w.plan.queues)), p.sent, true)
	m.ended, m.expires = true, 0
	p.sent++
	return m
}

func (p *folderShard) encode(m *message) []byte { return envelope.Append(nil, m.envelope(p.w)) }

// fill sends messages and has some consumed.
func (p *folderShard) fill(n int) {
	var all []*message
	for range n {
		m := p.message()
		p.s.Send(folderLane, p.number, p.encode(m))
		p.number++
		if all = append(all, m); p.w.chance(0.3) {
			p.seal()
		}
	}
	p.seal()
	for i, key := range p.keys() {
		if p.w.chance(0.3) {
			p.s.Settle(shard.LaneID{Session: 1, Lane: 1}, p.settle, shard.Settlement{Key: key, Outcome: routing.Outcome{Kind: accepted}})
			p.settle++
			all[i].never = "it was consumed before the import"
			continue
		}
		p.f.expected = append(p.f.expected, all[i])
	}
	p.seal()
}

func (p *folderShard) keys() []uint64 {
	var keys []uint64
	_ = p.s.Each(func(m shard.Stored) error { // it fails if this does
		keys = append(keys, m.Key)
		return nil
	})
	return keys
}

// leaveTransaction leaves a transaction as a node leaves it that ends in the middle.
func (w *world) leaveTransaction(parts []*folderShard, tx shard.TxID) {
	var sent []*message
	for _, p := range parts {
		m := p.message()
		sent = append(sent, m)
		p.s.Prepare(folderLane, p.number, tx, 0, &shard.Part{Sends: [][]byte{p.encode(m)}})
		p.number++
		p.seal()
	}
	commits := w.chance(0.5)
	if !commits {
		for _, m := range sent {
			m.never = "its transaction did not commit"
		}
		return
	}
	p := parts[0]
	p.s.Decide(folderLane, p.number, tx, []uint16{0, 1})
	p.number++
	p.seal()
	if w.chance(0.5) {
		p = parts[1]
		p.s.Finish(folderLane, p.number, tx, true)
		p.number++
		p.seal()
	}
	parts[0].f.expected = append(parts[0].f.expected, sent...)
}

// oldLog is a log that only can be read.
type oldLog struct {
	w    *world
	slow time.Duration // greatest time of the first read
	recs [][]byte

	reads int // by the importer's goroutine
}

var errReadOnly = errors.New("sim: the old folder is not written to")

// Append implements engine.Log.
func (l *oldLog) Append(_ uint64, _ []byte, done func(seq uint64, err error)) { done(0, errReadOnly) }

// Purge implements engine.Log.
func (l *oldLog) Purge(context.Context, uint64) error { return errReadOnly }

// wait is the time that a disk takes to read: so long at times that an import has not
// asked for all it brings when it hears what an earlier run of it has brought. What is
// read time and again takes less.
func (l *oldLog) wait(ctx context.Context) error {
	ready := make(chan struct{})
	l.reads++
	most := max(time.Millisecond, l.slow/time.Duration(l.reads))
	l.w.emit(source{kind: outCall, node: l.w.plan.nodes, who: 5}, func() {
		l.w.after(l.w.between(time.Microsecond, most), func() { close(ready) })
	})
	select {
	case <-ready:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Read implements engine.Log.
func (l *oldLog) Read(_ context.Context, seq uint64) ([]byte, error) {
	if seq > uint64(len(l.recs)) {
		return nil, engine.ErrNotFound
	}
	return bytes.Clone(l.recs[seq-1]), nil
}

// Scan implements engine.Log.
func (l *oldLog) Scan(ctx context.Context, from uint64, f func(seq uint64, rec []byte) error) error {
	if err := l.wait(ctx); err != nil {
		return err
	}
	for i, rec := range l.recs {
		if seq := uint64(i + 1); seq >= from {
			if err := f(seq, bytes.Clone(rec)); err != nil {
				return err
			}
		}
	}
	return nil
}

// Bounds implements engine.Log.
func (l *oldLog) Bounds(context.Context) (first, last uint64, err error) {
	return 1, uint64(len(l.recs)), nil
}
