package engine

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"
)

// HandOver gives the leadership of this node's shards to other nodes and returns
// when they lead, or ctx ends. It waits for no client: the requests that are
// not confirmed are sent to the next leaders. A shard that no other node holds
// stays here, and so does one that no other node can lead: that is ErrAlone.
//
// A leader that hands over composes nothing more and waits for the answers to its
// appends, so that the next one finds a log at rest.
func (e *Engine) HandOver(ctx context.Context) error {
	e.mu.Lock()
	led := slices.Collect(maps.Values(e.leaders))
	e.mu.Unlock()
	errs := make([]error, len(led))
	var wg sync.WaitGroup
	for i, l := range led {
		if replicas := e.opts.Fabric.Replicas(l.shard); len(replicas) < 2 {
			continue
		}
		wg.Go(func() { errs[i] = l.handOver(ctx) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// yieldMost is how long a leader yields at most: when nobody took over by then it
// leads on.
const yieldMost = 2 * time.Second

// restMost is how much of that it waits for the answers to its appends: the rest is for
// the one that takes over.
const restMost = yieldMost / 2

// yielding is a leader's state while it hands over.
type yielding struct {
	until time.Time     // zero: it does not
	rest  chan struct{} // closed when no append is under way
}

// handOver asks the fabric for another leader once this one is at rest.
func (l *leader) handOver(ctx context.Context) error {
	if l.e.alone(l.shard, time.Now()) {
		return ErrAlone
	}
	rest := make(chan struct{})
	if !l.e.atLeader(l.shard, func(l *leader) { l.yield(time.Now(), rest) }) {
		return nil
	}
	ctx, stop := context.WithTimeout(ctx, yieldMost)
	defer stop()
	ctx, rested := unless(ctx, func(now time.Time) bool { return l.e.alone(l.shard, now) })
	defer rested()
	select {
	case <-rest:
	case <-time.After(restMost): // the log is silent: whoever leads next finds out what became of it
	case <-ctx.Done():
	}
	err := context.Cause(ctx)
	if !errors.Is(err, ErrAlone) {
		err = l.e.opts.Fabric.Resign(ctx, l.shard)
	}
	if err != nil {
		l.e.atLeader(l.shard, func(l *leader) { l.yields = yielding{} })
		return err
	}
	return l.e.portals[l.shard].followsAnother(ctx)
}

// followsAnother waits until the portal has joined a leader on another node.
func (p *portal) followsAnother(ctx context.Context) error {
	ch := make(chan struct{})
	p.box.Put(func() {
		p.awaiting = append(p.awaiting, ch)
		if p.joined.Load() && p.leader != p.e.node {
			p.tellFollowing()
		}
	})
	select {
	case <-ch:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (p *portal) tellFollowing() {
	for _, ch := range p.awaiting {
		close(ch)
	}
	p.awaiting = nil
}

// yield has the leader stop composing and handing out.
func (l *leader) yield(now time.Time, rest chan struct{}) {
	if l.failed != nil || !l.yields.until.IsZero() {
		close(rest)
		return
	}
	l.yields = yielding{until: now.Add(yieldMost), rest: rest}
}

// resting reports whether the leader hands over, and tells when it is at rest.
func (l *leader) resting() bool {
	if l.yields.until.IsZero() {
		return false
	}
	if len(l.flights) == 0 && l.yields.rest != nil {
		close(l.yields.rest)
		l.yields.rest = nil
	}
	return true
}

// Drain waits until every request of this node's clients is confirmed, or ctx
// ends. It does not wait for what nobody can confirm: that is ErrAlone.
func (e *Engine) Drain(ctx context.Context) error {
	errs := make([]error, 1+len(e.portals))
	var wg sync.WaitGroup
	wg.Go(func() {
		ctx, stop := unless(ctx, e.aloneInAll)
		defer stop()
		errs[0] = e.commits.idle(ctx)
	})
	for i, p := range e.portals {
		wg.Go(func() {
			ctx, stop := unless(ctx, func(now time.Time) bool { return e.alone(p.shard, now) })
			defer stop()
			errs[1+i] = p.idle(ctx)
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}
