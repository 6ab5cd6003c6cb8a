package cluster

import (
	"context"
	"time"
)

// scrubEvery is the least time between the beginnings of two passes over all logs:
// small ones are not read all the time.
const scrubEvery = 6 * time.Hour

// scrub reads the files of this node's replicas through, again and again until ctx
// ends, no faster than Options.Scrub says. A replica that nobody reads would
// otherwise rot until it leads. What looks damaged is looked at once more, as
// what a reader met.
func (n *Node) scrub(ctx context.Context) {
	t := time.NewTicker(scrubEvery)
	defer t.Stop()
	for {
		for shard := range n.logs {
			if !n.replicas.whole(shard) || !n.replicas.full(shard) {
				continue // it is read through when it is
			}
			if err := n.look(ctx, shard, n.paced(ctx)); err != nil && ctx.Err() == nil {
				n.opts.Log.Warn().Err(err).Int("shard", shard).Msg("replica is suspected to be damaged")
				n.suspect(shard)
			}
		}
		if ctx.Err() == nil {
			n.metrics.scrubDone.SetToCurrentTime()
		}
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
	}
}

// paced returns what waits after so many bytes were read, until that fits the rate.
func (n *Node) paced(ctx context.Context) func(bytes int64) {
	due := time.Now()
	return func(bytes int64) {
		n.metrics.scrubbed.Add(float64(bytes))
		if now := time.Now(); due.Before(now) {
			due = now // what was lost is not made good
		}
		due = due.Add(time.Duration(float64(bytes) / float64(n.opts.Scrub) * float64(time.Second)))
		_ = pause(ctx, time.Until(due)) // who reads sees the end of ctx itself
	}
}
