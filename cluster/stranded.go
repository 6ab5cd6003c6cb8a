package cluster

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/selvedge-mq/selvedge/cluster/blocks"
)

// A replica that has its leader's snapshot and lacks records up to it is stranded when
// that leader is damaged: it does not lead, since it lacks them, and votes for nobody
// whose raft group is shorter. So nobody leads the shard, also when another replica
// has all records. Both the damaged node and the stranded one then have something that
// is worth nothing, and give it up, one after the other: the damaged one its replica,
// then the stranded one its raft group. It keeps its records. An empty raft group votes
// for anybody, but does not count for a majority: so the one that has all is elected
// when all were heard.
//
// What was confirmed is known to a majority of those that hold the shard, so to one of
// the others of each. That is asked for: how far does what you know go, be it records or
// entries of the raft group? Who has applied as much, without a gap, has all of it: what
// is applied was decided, and there is one record of each number that was.

// Times of a shard that nobody leads.
const (
	strandedAfter = 10 * time.Second // without a leader: an election takes less
	strandedEvery = 5 * time.Second  // between two questions
)

// errUnled is the kind of reasons why a node may not give up what it has of a shard that
// nobody leads.
var errUnled = errors.New("nobody leads it")

// judgeUnled says whether a node may empty its replica of a shard that nobody leads, by
// answers that say how far they reach: nil, or what is against it.
func judgeUnled(self string, shard int, known replicaState, answers []grantAnswer) error {
	replicas, opinions := knownReplicas(self, shard, known.Replicas, answers)
	if len(replicas) < 2 {
		return fmt.Errorf("%w, and a second other replica would be needed to know what was confirmed", errUnled)
	}
	need, whose, has := known.Last, self, uint64(0)
	for _, name := range replicas {
		o, answered := opinions[name]
		switch {
		case !answered:
			return fmt.Errorf("node %s does not answer", name)
		case o.Leader != "":
			return fmt.Errorf("node %s follows %s", name, o.Leader)
		case !o.Sound:
			return fmt.Errorf("the replica of node %s is not whole", name)
		case o.Reach == 0:
			return fmt.Errorf("node %s does not say how far its replica goes", name)
		case o.Reach > need:
			need, whose = o.Reach, name
		}
		if o.Current {
			has = max(has, o.Last)
		}
	}
	if has < need {
		return fmt.Errorf("%w: node %s knows of records up to %d, and of the other nodes none has them beyond %d: "+
			"to go on without those, start this node once with accept-loss, and every other one that lacks records, too", errUnled, whose, need, has)
	}
	return nil
}

// judgeStranded returns how far another replica has all records, if a replica that
// knows of some up to reach may give its raft group up; otherwise why it may not. accept
// says that what nobody else has may be lost.
func judgeStranded(self string, shard int, known replicaState, reach uint64, accept bool, answers []grantAnswer) (upTo uint64, why error) {
	replicas, opinions := knownReplicas(self, shard, known.Replicas, answers)
	has, who := uint64(0), "nobody"
	for _, name := range replicas {
		o, answered := opinions[name]
		switch {
		case !answered:
			return 0, fmt.Errorf("%w: node %s does not answer", errUnled, name)
		case o.Leader != "":
			return 0, fmt.Errorf("node %s follows %s", name, o.Leader)
		case o.Sound && o.Current && o.Last >= has:
			has, who = o.Last, "node "+name
		}
	}
	switch {
	case who == "nobody":
		return 0, fmt.Errorf("%w: no other node has a whole replica", errUnled)
	case accept:
		return math.MaxUint64, nil
	case has < reach:
		return 0, fmt.Errorf("%w: this node knows of records up to %d, and %s has them up to %d: bring back the node that this one "+
			"got them from, or start this one once with accept-loss", errUnled, reach, who, has)
	}
	return has, nil
}

// reach returns the last record that this node's replica of a shard knows of, be it in
// its log or in its raft group; 0: that cannot be told. lacks says that it has a snapshot
// and not the records up to it.
func (n *Node) reach(ctx context.Context, shard int) (last uint64, lacks bool) {
	acc, err := n.server.srv.JszAccount(&server.JSzOptions{Account: account, Streams: true, RaftGroups: true})
	if err != nil {
		return 0, false
	}
	for _, d := range acc.Streams {
		if d.Name != n.logs[shard].stream || d.RaftGroup == "" {
			continue
		}
		g, err := blocks.ScanGroup(ctx, groupDir(n.opts.Dir, d.RaftGroup), d.RaftGroup, nil)
		if err != nil {
			return 0, false // also while it is written
		}
		snap := g.Snapshot.Stream
		return max(d.State.LastSeq, g.Highest()), snap != nil && snap.Last > d.State.LastSeq
	}
	return 0, false
}

// stranded watches the replicas of a node that wait for a leader. It is of one
// goroutine.
type stranded struct {
	node  *Node
	since map[int]time.Time // by shard: since when it waits
	asked map[int]time.Time
}

// watch looks at all replicas once. It returns true if the node has to begin again.
func (s *stranded) watch(ctx context.Context) (again bool) {
	n := s.node
	if !n.opts.clustered() {
		return false
	}
	for shard := range n.logs {
		if !n.waits(shard) {
			delete(s.since, shard)
			continue
		}
		now := time.Now()
		if s.since[shard].IsZero() {
			s.since[shard] = now
		}
		waited := now.Sub(s.since[shard])
		if waited < strandedAfter || now.Sub(s.asked[shard]) < strandedEvery {
			continue
		}
		s.asked[shard] = now
		if s.ask(ctx, shard, n.opts.AcceptLoss && waited >= n.opts.AcceptAfter) {
			return true
		}
	}
	return false
}

// waits says whether this node's replica of a shard lacks records, and nobody leads.
func (n *Node) waits(shard int) bool {
	stream := n.logs[shard].stream
	if !n.replicas.whole(shard) || n.server.srv.JetStreamIsStreamCurrent(account, stream) {
		return false
	}
	d, here := n.store.local(stream)
	return here && (d.Cluster == nil || d.Cluster.Leader == "")
}

// ask asks the others whether the raft group of a replica may be given up, and has that
// done if so.
func (s *stranded) ask(ctx context.Context, shard int, accept bool) (again bool) {
	n := s.node
	reach, lacks := n.reach(ctx, shard)
	if !lacks {
		return false // it may lead: it waits for votes
	}
	var upTo uint64
	why := fmt.Errorf("%w: no other node answers", errUnled)
	req := grantRequest{Node: n.opts.Node, Shards: []int{shard}}
	var answers []grantAnswer
	err := askAll(ctx, n.store.nc, grantSubject, req, func(a grantAnswer) (enough bool) {
		answers = append(answers, a)
		upTo, why = judgeStranded(n.opts.Node, shard, n.state.shard(shard), reach, accept, answers)
		return why == nil
	})
	if err = errors.Join(err, why); err != nil {
		n.opts.Log.Warn().Int("shard", shard).AnErr("reason", err).Msg("replica lacks records, and no leader has them for it")
		return false
	}
	n.giveUpGroup(ctx, shard, upTo)
	return true
}

// giveUpGroup ends this process of the node: the next one gives the raft group of a shard
// up, if it still knows of no record beyond upTo.
func (n *Node) giveUpGroup(ctx context.Context, shard int, upTo uint64) {
	n.damaged.Store(true)
	n.state.strand(shard, upTo)
	if err := saveState(n.opts.Dir, n.state); err != nil {
		n.opts.Log.Warn().Err(err).Msg("state of the data folder not written")
	}
	n.handOver(ctx)
	n.fail(fmt.Errorf("%w: the replica of shard %d lacks records that another node has, and keeps it from leading", ErrReopen, shard))
	n.server.srv.Shutdown()
}

// freeStranded moves away the raft groups that are to be given up, before the embedded
// server starts, and keeps the records: if the group has learned of more since it
// was asked for, it stays.
func (n *Node) freeStranded(ctx context.Context) error {
	for shard := range n.state.Shards {
		known := n.state.shard(shard)
		if known.Stranded == 0 {
			continue
		}
		n.state.Shards[shard].Stranded = 0
		g, err := blocks.ScanGroup(ctx, groupDir(n.opts.Dir, known.Group), known.Group, nil)
		if err != nil || g.Highest() > known.Stranded {
			n.opts.Log.Info().Int("shard", shard).Err(err).Msg("raft group is kept: it has changed")
			continue
		}
		if err := syncStored(n.opts.Dir); err != nil { // the records were in the group too
			return err
		}
		kept, err := setAsideGroup(n.opts.Dir, shard, known.Group)
		if err != nil {
			return err
		}
		n.state.Shards[shard].Last = 0
		n.opts.Log.Warn().Int("shard", shard).Str("kept", kept).Msg("raft group set aside: another node has all records that it knew of")
	}
	return nil
}
