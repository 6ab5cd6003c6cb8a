package cluster

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/rs/zerolog"
)

// Times of a repair.
const (
	grantEvery = 250 * time.Millisecond // between two questions
	repairTell = 10 * time.Second       // between two log lines that it waits
)

// check verifies the files of this node's replicas and repairs what is damaged,
// before the embedded server reads them. When it returns nil the server may start.
func (n *Node) check(ctx context.Context) error {
	if n.opts.FrontOnly {
		return nil
	}
	n.state = loadState(n.opts.Dir)
	found, err := verify(ctx, n.opts, n.marker.Shards, n.state)
	if err != nil {
		return err
	}
	if !found.whole() {
		if err := n.repair(ctx, found); err != nil {
			return err
		}
	}
	if err := errors.Join(found.cutTorn(), n.freeStranded(ctx)); err != nil {
		return err
	}
	for shard := range n.marker.Shards {
		n.replicas.setFull(shard, n.state.shard(shard).Full)
		if n.state.shard(shard).Filling {
			n.replicas.set(ReplicaHealth{Shard: shard, State: ReplicaRepairing, Reason: "filled by the other replicas"})
		}
	}
	n.state.started(n.opts.SyncInterval == 0)
	return saveState(n.opts.Dir, n.state)
}

// repair empties the damaged replicas when the others allow it.
func (n *Node) repair(ctx context.Context, found *verification) error {
	reasons, all := found.shards, n.wholeNode(found)
	if all != nil {
		reasons = make(map[int]error)
		for shard := range n.marker.Shards {
			reasons[shard] = all
		}
	}
	shards := slices.Sorted(maps.Keys(reasons))
	for _, shard := range shards {
		n.opts.Log.Error().Int("shard", shard).Err(reasons[shard]).Msg("replica is damaged")
		n.replicas.set(ReplicaHealth{Shard: shard, State: ReplicaDamaged, Reason: reasons[shard].Error()})
	}
	if err := n.allowed(ctx, shards); err != nil {
		if !n.opts.AcceptLoss || ctx.Err() != nil {
			return fmt.Errorf("%w: %w: %w", ErrDamaged, reasons[shards[0]], err)
		}
		n.opts.Log.Error().Ints("shards", shards).Err(err).Msg("loss is accepted: the shards begin empty")
	}
	return n.empty(all != nil, shards)
}

// wholeNode returns why all replicas of the node are to be emptied, nil if those
// that are damaged are enough. A replica of a cluster whose raft group is not known
// cannot be emptied alone: the group would stay, and tell of records that are gone.
func (n *Node) wholeNode(found *verification) error {
	if found.node != nil || !n.opts.clustered() {
		return found.node
	}
	for _, shard := range slices.Sorted(maps.Keys(found.shards)) {
		if known := n.state.shard(shard); known.Group == "" && len(known.Replicas) != 1 {
			return fmt.Errorf("the raft group of shard %d is not known: %w", shard, found.shards[shard])
		}
	}
	return nil
}

// empty moves the files of the damaged replicas away.
func (n *Node) empty(all bool, shards []int) error {
	var kept string
	var err error
	if all {
		kept, err = setAsideNode(n.opts.Dir)
	}
	for _, shard := range shards {
		if !all {
			kept, err = setAsideShard(n.opts.Dir, shard, n.state.shard(shard).Group)
		}
		if err != nil {
			return err
		}
		n.state.emptied(shard)
		n.opts.Log.Warn().Int("shard", shard).Str("kept", kept).Msg("damaged replica set aside")
	}
	return nil
}

// allowed waits until the other replicas of the shards are whole, so that this
// node's may be emptied. A node on its own has no other.
func (n *Node) allowed(ctx context.Context, shards []int) error {
	if !n.opts.clustered() {
		return errors.New("a node on its own cannot repair a damaged log: restore the data folder from a backup, " +
			"or start once with accept-loss, which sets the damaged shards aside and begins them empty")
	}
	for _, shard := range shards {
		if known := n.state.shard(shard).Replicas; slices.Equal(known, []string{n.opts.Node}) {
			return fmt.Errorf("shard %d: %w to repair it from: restore the data folder from a backup, "+
				"or start once with accept-loss, which sets the damaged shard aside and begins it empty", shard, errOnlyReplica)
		}
	}
	if n.opts.AcceptLoss {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, n.opts.AcceptAfter)
		defer cancel()
	}
	p, err := n.openProbe(ctx)
	if err != nil {
		return err
	}
	defer p.close()
	return p.wait(ctx, shards)
}

// probe is a stay in the cluster without storage: the node meets the others, and
// can ask them, while its own files are not touched.
type probe struct {
	node    *Node
	server  *embedded
	nc      *nats.Conn
	members *members
}

// probeSuffix tells the probe's name from the node's: to the other servers it is
// somebody else, who stores nothing.
const probeSuffix = "_repair"

func (n *Node) openProbe(ctx context.Context) (*probe, error) {
	o := n.opts
	o.Node += probeSuffix
	o.FrontOnly = true
	server, err := startServer(ctx, o, n.metrics, net.DefaultResolver.LookupHost)
	if err != nil {
		return nil, err
	}
	nc, err := server.connect("repair")
	if err != nil {
		server.stop()
		return nil, err
	}
	m, err := newMembers(nc, Member{
		Name: n.opts.Node, Session: n.session, State: MemberRepairing, Storage: true, Version: n.opts.Version,
	}, n.replicas.list, zerolog.Nop())
	if err != nil {
		nc.Close()
		server.stop()
		return nil, err
	}
	p := &probe{node: n, server: server, nc: nc, members: m}
	if err := listenNames(&store{srv: server.srv, nc: nc}, m, ""); err != nil {
		p.close()
		return nil, err
	}
	return p, nil
}

func (p *probe) close() {
	p.members.close()
	p.nc.Close()
	p.server.stop()
}

// wait asks until all shards may be emptied.
func (p *probe) wait(ctx context.Context, shards []int) error {
	t := time.NewTicker(grantEvery)
	defer t.Stop()
	var told time.Time
	asked, unled := time.Now(), error(nil)
	for {
		if err := p.server.log.err(); err != nil {
			return err
		}
		p.members.publish()
		req := grantRequest{Node: p.node.opts.Node, Shards: shards, Reach: time.Since(asked) > strandedAfter}
		shard, why := askGrants(ctx, p.nc, req, func(answers []grantAnswer) (int, error) { return p.judge(req, answers) })
		if req.Reach {
			asked, unled = time.Now(), why
		}
		if why == nil {
			return nil
		}
		if errors.Is(why, errOnlyReplica) {
			return fmt.Errorf("shard %d: %w", shard, why)
		}
		if errors.Is(unled, errUnled) && errors.Is(why, errNotWhole) {
			why = unled // which says more
		}
		p.node.replicas.set(ReplicaHealth{Shard: shard, State: ReplicaDamaged, Reason: "its repair waits: " + why.Error()})
		if time.Since(told) > repairTell {
			told = time.Now()
			level := zerolog.WarnLevel
			if errors.Is(why, errMutual) {
				level = zerolog.ErrorLevel
			}
			p.node.opts.Log.WithLevel(level).Int("shard", shard).AnErr("reason", why).Msg("repair waits for the other replicas")
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the repair of shard %d: %w: %w", shard, why, ctx.Err())
		case <-t.C:
		}
	}
}

// mutual says whether a node is being repaired as well, and waits for this one,
// since both hold a shard whose replica there is damaged.
func (p *probe) mutual(node string) bool {
	for _, m := range p.members.list(time.Now()) {
		if m.Name != node || m.State != MemberRepairing {
			continue
		}
		return slices.ContainsFunc(m.Health, func(h ReplicaHealth) bool {
			holders := p.node.state.shard(h.Shard).Replicas
			return h.State == ReplicaDamaged && (len(holders) == 0 || slices.Contains(holders, p.node.opts.Node))
		})
	}
	return false
}

// judge returns the first of the shards that may not be emptied, and why.
func (p *probe) judge(req grantRequest, answers []grantAnswer) (shard int, why error) {
	for _, shard := range req.Shards {
		known := p.node.state.shard(shard)
		why := judgeGrant(req.Node, shard, known, answers, p.mutual)
		if errors.Is(why, errNotWhole) && req.Reach {
			why = judgeUnled(req.Node, shard, known, answers)
		}
		if why != nil {
			return shard, why
		}
	}
	return 0, nil
}
