package cluster

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// readyEvery is the time between two looks while WaitReady waits.
const readyEvery = 20 * time.Millisecond

// Ready returns nil when this node can serve: the cluster has a leader, every
// log exists and has a leader, and what this node holds is up to date. Otherwise
// the error says what is missing.
func (n *Node) Ready() error {
	if err := n.server.log.err(); err != nil {
		return err
	}
	srv := n.server.srv
	if n.opts.clustered() && !n.opts.FrontOnly {
		if !n.Quorum() {
			return n.noLeader()
		}
		if !srv.JetStreamIsCurrent() {
			return fmt.Errorf("%w: catching up with the cluster", errNotReady)
		}
	}
	for shard := range n.logs {
		s := n.ShardStats(shard)
		switch {
		case !s.Exists:
			return fmt.Errorf("%w: the log of shard %d does not exist yet", errNotReady, shard)
		case s.Leader == "":
			return fmt.Errorf("%w: the log of shard %d has no leader", errNotReady, shard)
		}
		if _, here := n.store.local(n.logs[shard].stream); here && !srv.JetStreamIsStreamCurrent(account, n.logs[shard].stream) {
			return fmt.Errorf("%w: the log of shard %d is catching up", errNotReady, shard)
		}
	}
	return nil
}

// noLeader says with whom this node could elect a leader of the cluster.
func (n *Node) noLeader() error {
	names := slices.Compact(slices.Sorted(maps.Values(connected(n.server.srv))))
	with := "no other node"
	if len(names) > 0 {
		with = strings.Join(names, ", ")
	}
	return fmt.Errorf("%w: the cluster has no leader: connected to %s, %d others are in the seeds", errNotReady, with, n.server.seeds-1)
}

// WaitReady waits until the node is ready. When ctx ends first, the error says
// what is missing.
func (n *Node) WaitReady(ctx context.Context) error {
	t := time.NewTicker(readyEvery)
	defer t.Stop()
	for {
		err := n.Ready()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", err, ctx.Err())
		case ferr := <-n.failed:
			n.failed <- ferr // for who waits for it
			return ferr
		case <-t.C:
		}
	}
}
