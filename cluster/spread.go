package cluster

import (
	"context"
	"time"
)

// spreadEvery is the least time between two leaderships that a node gives away
// to spread them: each costs the clients of a shard a pause.
const spreadEvery = 3 * time.Second

// spreadCalm is how long no shard may have passed from one node to another by an election
// before leaderships are spread again. Where a machine has no time for its nodes they lose
// what they lead, and each one given away then is one more pause, and one more election.
const spreadCalm = 10 * time.Second

// spread gives a leadership away now and then while this node leads more than
// its share and all is well.
func (n *Node) spread(ctx context.Context) {
	t := time.NewTicker(spreadEvery)
	defer t.Stop()
	c := calm{leaders: make([]string, len(n.logs))}
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		if !c.look(n.leaders(), time.Now()) || !n.Healthy() {
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
		c.leaders[shard] = to // the next look finds it there, unless another one was elected
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

// calm knows who led each shard at the last look, and when one was last found with another
// node.
type calm struct {
	leaders []string
	changed time.Time
}

// look takes who leads each shard at now, and says whether that has been the same for
// spreadCalm. A shard without a leader says nothing: who has it next does, and the first
// one of all is no change.
func (c *calm) look(leaders []string, now time.Time) bool {
	for shard, leader := range leaders {
		if leader == "" {
			continue
		}
		if before := c.leaders[shard]; before != "" && before != leader {
			c.changed = now
		}
		c.leaders[shard] = leader
	}
	return c.changed.IsZero() || now.Sub(c.changed) >= spreadCalm
}
