package engine

import (
	"context"
	"errors"
	"sync"
	"time"
)

// A node that is the last one to stop has nobody to hand over to, and nobody confirms
// anything to it any more: it need not wait. Two nodes that meet anew after a reset, or one
// that is just coming back, are a matter of a moment, so that moment is granted. It is no
// longer, because nothing is saved by it: after this node's end those that come later are
// a majority without it, and elect one of them, or are none, and serve nobody.

// ErrAlone says that too few nodes can be reached for a shard to have a leader.
var ErrAlone = errors.New("no majority of the nodes that hold the shard can be reached")

// Times of the looks whether a node is alone.
const (
	aloneAfter = 250 * time.Millisecond // without a node that came or went
	aloneEvery = 25 * time.Millisecond
)

// alone reports whether no majority of the nodes that hold a shard can be reached, and
// nobody has come or gone for a while. A node that does not know who holds it is not alone.
func (e *Engine) alone(shard int, now time.Time) bool {
	replicas := e.opts.Fabric.Replicas(shard)
	e.mu.Lock()
	changed := e.changed
	e.mu.Unlock()
	return len(replicas) > 0 && e.reached(replicas) <= len(replicas)/2 && now.Sub(changed) >= aloneAfter
}

// aloneInAll reports whether this node is alone in all shards: then no transaction ends.
func (e *Engine) aloneInAll(now time.Time) bool {
	for shard := range e.portals {
		if !e.alone(shard, now) {
			return false
		}
	}
	return true
}

// unless returns a context that ends with the cause ErrAlone at the first look that finds
// this node alone. The first look is not at once: who has nothing to wait for can say so
// before it. stop must be called, and waits for the looks to end.
func unless(ctx context.Context, alone func(now time.Time) bool) (_ context.Context, stop func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	var wg sync.WaitGroup
	wg.Go(func() {
		t := time.NewTicker(aloneEvery)
		defer t.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case now := <-t.C:
				if alone(now) {
					cancel(ErrAlone)
					return
				}
			}
		}
	})
	return ctx, func() {
		cancel(nil)
		wg.Wait()
	}
}
