package cluster

import (
	"context"
	"time"
)

// spreadEvery is the least time between two leaderships that a node gives away
// to spread them: each costs the clients of a shard a pause.
const spreadEvery = 3 * time.Second

// spread gives a leadership away now and then while this node leads more than
// its share and all is well.
func (n *Node) spread(ctx context.Context) {
	t := time.NewTicker(spreadEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		if !n.Healthy() {
			continue
		}
		shard, to, ok := n.surplus()
		if !ok {
			continue
		}
		log := n.opts.Log.With().Int("shard", shard).Str("to", to).Logger()
		if err := n.stepDown(ctx, shard, to); err != nil {
			log.Debug().Err(err).Msg("leadership not spread")
			continue
		}
		log.Info().Msg("leadership spread")
	}
}

// surplus returns a shard to give away, and to whom: a replica that would still
// lead fewer than this node afterwards.
func (n *Node) surplus() (shard int, to string, ok bool) {
	counts := n.leaderCounts()
	own := counts[n.opts.Node]
	most := n.opts.Node
	for name, c := range counts {
		if c > counts[most] || c == counts[most] && name < most {
			most = name
		}
	}
	if most != n.opts.Node {
		return 0, "", false // one node at a time
	}
	for _, s := range n.leadership.led() {
		next := n.successor(s)
		if next != "" && counts[next]+1 < own {
			return s, next, true
		}
	}
	return 0, "", false
}
