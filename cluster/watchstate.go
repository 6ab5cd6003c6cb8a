package cluster

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// stateEvery is the time between two looks at what the logs hold. What a node
// that was killed is known to have held is at most two of them old.
const stateEvery = time.Second

// watchState keeps the folder's state, and sees when a replica that was emptied is
// full again, until ctx ends.
func (n *Node) watchState(ctx context.Context) {
	t := time.NewTicker(stateEvery)
	defer t.Stop()
	var seen []replicaState // by the look before: on disk for sure, if it was to be synced
	filled := filling{node: n, wrong: make(map[int]time.Time)}
	stranded := stranded{node: n, since: make(map[int]time.Time), asked: make(map[int]time.Time)}
	for {
		if n.damaged.Load() {
			return // what is noted of a damaged replica is what was known of the whole one
		}
		if err := n.names.keep(); err != nil {
			n.opts.Log.Warn().Err(err).Msg("names of new files not synced: the next look tries again")
		}
		filled.watch(ctx)
		now := n.replicaStates(n.state.Shards)
		if seen != nil {
			n.keepState(seen, now)
		}
		seen = now
		if stranded.watch(ctx) {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
	}
}

// caughtUp says whether the replica of a shard has all that the others have.
func (n *Node) caughtUp(shard int) bool {
	stream := n.logs[shard].stream
	_, here := n.store.local(stream)
	if !n.opts.clustered() {
		return here
	}
	s := n.ShardStats(shard)
	return here && s.Leader != "" && n.server.srv.JetStreamIsStreamCurrent(account, stream)
}

// keepState writes what the logs held at the look before, with the groups and
// replicas of now, if it differs from what is written.
func (n *Node) keepState(seen, now []replicaState) {
	states := slices.Clone(now)
	for shard := range states {
		states[shard].Last = seen[shard].Last
		states[shard].Filling = !n.replicas.whole(shard)
		if states[shard].Filling {
			states[shard].Last = 0
		}
		states[shard].Full = n.replicas.full(shard)
		states[shard].Behind = n.behind(shard, states[shard], n.state.shard(shard))
	}
	if slices.EqualFunc(states, n.state.Shards, equalState) {
		return
	}
	n.state.Shards = states
	if err := saveState(n.opts.Dir, n.state); err != nil {
		n.opts.Log.Warn().Err(err).Msg("state of the data folder not written")
	}
}

// behind says whether the replica of a shard may be catching up: as before, while
// nobody leads it.
func (n *Node) behind(shard int, now, before replicaState) bool {
	switch {
	case now.Group == "":
		return false
	case n.ShardStats(shard).Leader == "":
		return before.Behind || before.Group == ""
	default:
		return !n.caughtUp(shard)
	}
}

func equalState(a, b replicaState) bool {
	return a.Group == b.Group && a.Last == b.Last && a.Filling == b.Filling && a.Full == b.Full && a.Behind == b.Behind &&
		slices.Equal(a.Replicas, b.Replicas)
}

// replicaStates returns what the node's replicas hold now. What cannot be told is
// as it was before.
func (n *Node) replicaStates(before []replicaState) []replicaState {
	states := make([]replicaState, len(n.logs))
	copy(states, before)
	acc, err := n.server.srv.JszAccount(&server.JSzOptions{Account: account, Streams: true, RaftGroups: true})
	if err != nil {
		return states
	}
	for _, d := range acc.Streams {
		shard := slices.IndexFunc(n.logs, func(l *shardLog) bool { return l.stream == d.Name })
		if shard < 0 {
			continue
		}
		found := replicaState{Group: d.RaftGroup, Last: d.State.LastSeq, Replicas: n.Replicas(shard)}
		states[shard] = knownReplica(n.opts.clustered(), found, states[shard])
	}
	return states
}

// knownReplica returns what is to be remembered of a replica that was something
// before. A server of a cluster has the files before it knows whose they are: so long
// it names no group, and takes itself for the only one that holds them.
func knownReplica(clustered bool, found, before replicaState) replicaState {
	if clustered && found.Group == "" {
		return before
	}
	s := replicaState{Last: found.Last, Replicas: knownNames(found.Replicas, before.Replicas)}
	if len(found.Replicas) > 1 {
		s.Group = found.Group
	}
	return s
}

// knownNames returns who holds a log, to be remembered: as it was before while the
// server has made up a name for a node that it has not met yet.
func knownNames(now, before []string) []string {
	if slices.ContainsFunc(now, func(name string) bool { return strings.HasPrefix(name, strangerPrefix) }) {
		return before
	}
	return now
}

// finalStates returns what the replicas hold at an end in order, before the
// embedded server ends.
func (n *Node) finalStates() []replicaState {
	if n.opts.FrontOnly {
		return nil
	}
	return n.replicaStates(nil)
}

// inOrder says whether the embedded server has written all that it was given, so
// far: what it holds back after a failure is not in its files, and its end does not
// tell.
func (n *Node) inOrder() bool {
	return !n.damaged.Load() && n.stores() && n.server.log.err() == nil
}

// keepClean writes that the node was stopped in order, and what its logs held at
// least, when the embedded server has ended and all is on disk. If the end was not
// in order it writes nothing: the next start verifies the files.
func (n *Node) keepClean(last []replicaState, inOrder bool) error {
	if n.opts.FrontOnly {
		return nil
	}
	if !inOrder {
		n.opts.Log.Warn().Msg("stopped out of order: the next start verifies the logs")
		return nil
	}
	if err := syncStored(n.opts.Dir); err != nil {
		return err
	}
	files, err := storedFiles(n.opts.Dir)
	if err != nil {
		return err
	}
	n.state.Clean, n.state.Files = true, files
	states := make([]replicaState, len(n.logs))
	copy(states, n.state.Shards)
	for shard, s := range last {
		if len(s.Replicas) > 0 && n.replicas.whole(shard) {
			s.Full, s.Behind = states[shard].Full, states[shard].Behind
			states[shard] = s
		}
	}
	n.state.Shards = states
	return saveState(n.opts.Dir, n.state)
}
