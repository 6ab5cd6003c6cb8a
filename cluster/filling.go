package cluster

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// wrongAgain is how long a replica that was filled wrongly leaves the one that
// filled it to find its own damage.
const wrongAgain = 15 * time.Second

// filling watches the replicas of a node that were made or emptied until they have
// all that the others have. The embedded server calls a replica current also when it
// was filled by a damaged one: what that one had lost came as deletions. So before
// a replica counts as whole its files are read through.
type filling struct {
	node  *Node
	wrong map[int]time.Time // by shard: since when it is known that it was filled wrongly
}

// watch looks at all replicas once.
func (f *filling) watch(ctx context.Context) {
	n := f.node
	for shard := range n.logs {
		if n.replicas.whole(shard) && n.replicas.full(shard) || !n.caughtUp(shard) {
			continue
		}
		if since, wrong := f.wrong[shard]; wrong {
			f.again(ctx, shard, since)
			continue
		}
		if err := n.lookTwice(ctx, shard); err != nil && ctx.Err() == nil {
			f.fail(shard, err)
			continue
		}
		if ctx.Err() != nil {
			return
		}
		if !n.replicas.whole(shard) {
			n.replicas.heal(shard)
			n.opts.Log.Info().Int("shard", shard).Msg("damaged replica is whole again")
		}
		n.replicas.setFull(shard, true)
	}
}

// fail notes that a replica was filled wrongly, and has the other nodes look at
// their files.
func (f *filling) fail(shard int, err error) {
	f.wrong[shard] = time.Now()
	n := f.node
	n.opts.Log.Error().Int("shard", shard).Err(err).Msg("replica was filled with what is damaged")
	n.replicas.set(ReplicaHealth{
		Shard: shard, State: ReplicaDamaged, Reason: "filled by a damaged replica: " + err.Error(),
	})
	n.store.raise(shard)
}

// again has a replica that was filled wrongly be emptied and filled again. That needs
// all others; and while one of them is being repaired, this node stays up, since its
// vote may be needed, but does not lead.
func (f *filling) again(ctx context.Context, shard int, since time.Time) {
	n := f.node
	if err := n.Resign(ctx, shard); err != nil && !errors.Is(err, ErrNotLeader) {
		n.opts.Log.Warn().Err(err).Int("shard", shard).Msg("leadership not handed over")
	}
	if time.Since(since) < wrongAgain || !n.othersUp(shard) {
		return
	}
	n.condemn(ctx, shard, fmt.Errorf("%w: it was filled by a damaged replica", errIncomplete))
}

// othersUp says whether all other nodes that hold a shard serve.
func (n *Node) othersUp(shard int) bool {
	up := make(map[string]bool)
	for _, m := range n.Members() {
		up[m.Name] = m.State == MemberUp && len(m.Health) == 0
	}
	for _, name := range n.Replicas(shard) {
		if name != n.opts.Node && !up[name] {
			return false
		}
	}
	return true
}
