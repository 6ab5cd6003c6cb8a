package sim_test

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"time"

	"github.com/selvedge-mq/selvedge/routing/engine"
)

// shardLog is the engine.Log of a shard as one process sees it.
type shardLog struct {
	p     *process
	shard int
	last  time.Duration // when the last append reaches the group: they keep their order
}

var _ engine.Log = (*shardLog)(nil)

// ask is an append or a purge on its way, and who waits for it.
type ask struct {
	from  *process
	once  sync.Once
	done  func(seq uint64, err error)
	ended bool
}

var errSilent = errors.New("sim: no answer in time")

// Append implements engine.Log.
func (l *shardLog) Append(expect uint64, rec []byte, done func(seq uint64, err error)) {
	if l.p.gone() {
		go done(0, errGone)
		return
	}
	a := &ask{from: l.p, done: done}
	e := &entry{expect: expect, rec: bytes.Clone(rec), ask: a}
	if e.rec == nil {
		e.rec = []byte{}
	}
	l.request(outAppend, e)
	l.p.hold()
}

// Purge implements engine.Log.
func (l *shardLog) Purge(ctx context.Context, upTo uint64) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if l.p.gone() {
		return errGone
	}
	ended := make(chan error, 1)
	a := &ask{from: l.p, done: func(_ uint64, err error) { ended <- err }}
	l.request(outCall, &entry{purge: true, expect: upTo, ask: a})
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// request sends an entry to whoever believes to lead the group.
func (l *shardLog) request(kind outputKind, e *entry) {
	w := l.p.w
	w.emit(source{kind: kind, node: l.p.index, shard: l.shard}, func() {
		l.p.when(func() {
			w.after(appendTimeout, func() { e.ask.answer(0, errSilent) })
			at := w.now() + w.between(5*time.Microsecond, 60*time.Microsecond)
			l.last = max(l.last+1, at)
			if at = l.last; w.lossy > 0 && w.chance(w.lossy) { // it is late, and others overtake it
				at += w.between(time.Millisecond, 2*appendTimeout)
			}
			g := w.groups[l.shard]
			arrive := func() { g.request(l.p, e) }
			if g.stuck == l.p && !e.purge {
				g.onTheWay = append(g.onTheWay, arrive)
				return
			}
			w.at(at, arrive)
		})
	})
}

// answer ends an ask, the first time only; a paused process hears of it later.
func (a *ask) answer(seq uint64, err error) {
	if a.ended {
		return
	}
	a.from.when(func() {
		a.once.Do(func() {
			a.ended = true
			a.done(seq, err)
		})
	})
}

// replica returns what the process's node has of the log.
func (l *shardLog) replica() *replica {
	return l.p.w.groups[l.shard].on(l.p.node)
}

// Read implements engine.Log.
func (l *shardLog) Read(ctx context.Context, seq uint64) ([]byte, error) {
	if err := l.wait(ctx); err != nil {
		return nil, err
	}
	first, recs := l.replica().stored()
	switch {
	case seq < first:
		return nil, engine.ErrPurged
	case seq >= first+uint64(len(recs)):
		return nil, engine.ErrNotFound
	}
	return bytes.Clone(recs[seq-first]), nil
}

// Scan implements engine.Log.
func (l *shardLog) Scan(ctx context.Context, from uint64, f func(seq uint64, rec []byte) error) error {
	if err := l.wait(ctx); err != nil {
		return err
	}
	first, recs := l.replica().stored()
	for i, rec := range recs {
		seq := first + uint64(i)
		if seq < from {
			continue
		}
		if err := f(seq, bytes.Clone(rec)); err != nil {
			return err
		}
	}
	return nil
}

// Bounds implements engine.Log.
func (l *shardLog) Bounds(ctx context.Context) (first, last uint64, err error) {
	if err := l.wait(ctx); err != nil {
		return 0, 0, err
	}
	first, recs := l.replica().stored()
	return first, first + uint64(len(recs)) - 1, nil
}

// wait is the time that a disk takes to read.
func (l *shardLog) wait(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if l.p.gone() {
		return errGone
	}
	ready := make(chan struct{})
	w := l.p.w
	w.emit(source{kind: outCall, node: l.p.index, shard: l.shard, who: 1}, func() {
		w.after(l.p.disk()/4, func() { l.p.when(func() { close(ready) }) })
	})
	select {
	case <-ready:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// disk draws the time that the node's disk takes for a sync.
func (n *node) disk() time.Duration {
	if n.slow {
		return n.w.between(5*time.Millisecond, 700*time.Millisecond)
	}
	return n.w.between(50*time.Microsecond, 500*time.Microsecond)
}
