package cluster

import (
	"context"
	"fmt"
	"time"
)

// A replica that catches up has its leader's snapshot first and the records later. In
// between it cannot lead, and nobody whose raft group is shorter can lead it. If its
// leader is damaged, stops then, and is the only one that runs and has all, nobody
// is ever elected, the replica never becomes whole, and the repair waits for it for
// ever. So a damaged node lets the others catch up first, as far as that does not
// need what it has lost.

// Times of that wait.
const (
	sparedEvery    = 100 * time.Millisecond // between two looks
	sparedPatience = 30 * time.Second       // for who cannot catch up, since it needs what is damaged
)

// awaitSpared waits until the other nodes that run can do without this one, or it has
// taken too long.
func (n *Node) awaitSpared(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, sparedPatience)
	defer cancel()
	req := grantRequest{Node: n.opts.Node}
	for shard := range n.logs {
		req.Shards = append(req.Shards, shard)
	}
	told := false
	for {
		shard, why := n.askSpared(ctx, req)
		if why == nil {
			return
		}
		if !told {
			told = true
			n.opts.Log.Warn().Int("shard", shard).AnErr("reason", why).Msg("damaged node runs until another one has caught up")
		}
		if pause(ctx, sparedEvery) != nil {
			n.opts.Log.Warn().Int("shard", shard).AnErr("reason", why).Msg("nobody has caught up from the damaged node")
			return
		}
	}
}

// askSpared asks the other nodes once what they hold, and judges it.
func (n *Node) askSpared(ctx context.Context, req grantRequest) (shard int, why error) {
	var answers []grantAnswer
	err := askAll(ctx, n.store.nc, grantSubject, req, func(a grantAnswer) (enough bool) {
		answers = append(answers, a)
		shard, why = judgeSpared(req.Shards, answers)
		return why == nil && len(answers) >= n.storingUp(n.opts.Node)
	})
	if err != nil {
		return req.Shards[0], err
	}
	return shard, why
}

// judgeSpared returns a shard that the nodes that answer hold, and none of them whole
// and up to date, and who lacks something; nil if there is none.
func judgeSpared(shards []int, answers []grantAnswer) (shard int, why error) {
	for _, shard := range shards {
		var behind error
		for _, a := range answers {
			o := a.Shards[shard]
			if o.Whole {
				behind = nil
				break
			}
			if o.Holds {
				behind = fmt.Errorf("node %s has not caught up, and no other one that runs has all", a.Node)
			}
		}
		if behind != nil {
			return shard, behind
		}
	}
	return 0, nil
}
