package cluster

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Errors of a retirement that is not begun. Each comes with the reason.
var (
	// ErrUnknownNode says that no node of that name stores, or ever did.
	ErrUnknownNode = errors.New("cluster: the node is not known")
	// ErrRetirement says that the node cannot be retired as things are.
	ErrRetirement = errors.New("cluster: the node cannot be retired")
	// ErrNoQuorum says that a majority of the cluster is out of reach.
	ErrNoQuorum = errors.New("cluster: no quorum")
)

// mayRetire says whether a node may be retired now: nil, or why not. Its replicas
// must be nobody's need: every shard is whole without them.
func (n *Node) mayRetire(ctx context.Context, node string) error {
	switch {
	case !nodeName.MatchString(node):
		return errNoName(node)
	case !n.opts.clustered():
		return fmt.Errorf("%w: this node runs alone, there is no other one", ErrRetirement)
	case node == n.opts.Node:
		return fmt.Errorf("%w: it is the one that was asked, so it is alive: ask another one once it is stopped for good", ErrRetirement)
	case !n.Quorum():
		return fmt.Errorf("%w: a majority of the cluster is out of reach: start nodes until there is one", ErrNoQuorum)
	}
	if err := n.mayMiss(node); err != nil {
		return err
	}
	waiting, cancel := context.WithTimeout(ctx, retirePatience)
	defer cancel()
	e, err := n.registry.current(waiting, node)
	if err != nil {
		return fmt.Errorf("%w: the registry does not answer: %w", ErrNoQuorum, err)
	}
	if votes, _ := n.votes(node); !e.exists() && !votes {
		return fmt.Errorf("%w: no node %q stores, or ever did: selvedge status shows the names", ErrUnknownNode, node)
	}
	if err := n.othersMiss(ctx, node); err != nil {
		return err
	}
	if err := majorityWithout(n.peerSet(), node); err != nil {
		return err
	}
	return n.shardsWithout(ctx, node)
}

// errNoName says that no node can have that name. It is never looked for: in the
// registry's subjects it would stand for others.
func errNoName(node string) error {
	return fmt.Errorf("%w: %q is not a name of letters, digits, - and _", ErrUnknownNode, node)
}

// mayMiss returns nil if the node is not there: it was not heard lately, or has said
// goodbye.
func (n *Node) mayMiss(node string) error {
	for _, m := range n.Members() {
		switch {
		case m.Name != node:
		case !m.Storage:
			return fmt.Errorf("%w: %q stores nothing, so there is nothing to retire: stop it", ErrUnknownNode, node)
		case m.State == MemberUp || m.State == MemberRepairing:
			return fmt.Errorf("%w: it is alive, heard %v ago: stop it first, and leave it stopped",
				ErrRetirement, time.Since(m.LastSeen).Round(100*time.Millisecond))
		}
	}
	for _, p := range n.peerSet() {
		if p.id == raftID(node) && p.online && processes(n.server.srv, node) > 0 {
			return fmt.Errorf("%w: it is alive: the cluster is connected to it", ErrRetirement)
		}
	}
	return nil
}

// othersMiss returns nil if every other node that is up says that it has not heard the
// node lately: this one alone may be cut off from it. Silence is no such word: who does
// not answer may be busy, and connected to it.
func (n *Node) othersMiss(ctx context.Context, node string) error {
	left := n.storingUp(node)
	heard := false
	err := askAll(ctx, n.store.nc, standingSubject, standingRequest{Node: node}, func(s standing) (enough bool) {
		left--
		heard = s.Heard
		return heard || left <= 0
	})
	if err != nil {
		return err
	}
	return consent(heard, left)
}

// consent returns nil if no node hears the one to be retired, and none of those that are
// up has still to say so.
func consent(heard bool, silent int) error {
	switch {
	case heard:
		return fmt.Errorf("%w: it is alive: another node hears it", ErrRetirement)
	case silent > 0:
		return fmt.Errorf("%w: %d of the nodes that are up did not say in time whether they hear it: try again", ErrRetirement, silent)
	}
	return nil
}

// majorityWithout says whether the voters that are there are a majority of those
// that are left without a node. No voters are known on a front-only node; there the
// leader of the cluster sees to it.
func majorityWithout(set []peer, node string) error {
	left, online := 0, 0
	for _, p := range set {
		if p.id == raftID(node) {
			continue
		}
		left++
		if p.online {
			online++
		}
	}
	if left > 0 && online < left/2+1 {
		return fmt.Errorf("%w: %d of the %d nodes that would be left are there, which is no majority: start more of them first",
			ErrRetirement, online, left)
	}
	return nil
}

// errLone says that no other node has a replica, for certain: no wait changes that.
var errLone = errors.New("no other node that holds a replica is up: bring this one back with its disk, or start those that hold one")

// shardsWithout waits a while until every shard is whole without the node: an
// election may be under way.
func (n *Node) shardsWithout(ctx context.Context, node string) error {
	shards := make([]int, len(n.logs))
	for shard := range shards {
		shards[shard] = shard
	}
	ctx, cancel := context.WithTimeout(ctx, retirePatience)
	defer cancel()
	for {
		shard, why := n.askWithout(ctx, node, shards)
		if why == nil {
			return nil
		}
		if errors.Is(why, errLone) || pause(ctx, retireEvery) != nil {
			return fmt.Errorf("%w: shard %d needs it: %w", ErrRetirement, shard, why)
		}
	}
}

// askWithout asks all nodes once, as a node does that wants to empty its replicas: it
// is the same question, whether all that was confirmed is elsewhere. It returns the
// first shard that is not, and why.
func (n *Node) askWithout(ctx context.Context, node string, shards []int) (shard int, why error) {
	up := n.storingUp(node)
	return askGrants(ctx, n.store.nc, grantRequest{Node: node, Shards: shards}, func(answers []grantAnswer) (int, error) {
		return judgeWithout(node, shards, answers, up)
	})
}

// judgeWithout returns the first shard that cannot do without a node, and why; one that
// never can comes before those.
func judgeWithout(node string, shards []int, answers []grantAnswer, up int) (shard int, why error) {
	for _, s := range shards {
		err := judgeShard(node, s, answers, up)
		if errors.Is(err, errLone) {
			return s, err
		}
		if why == nil && err != nil {
			shard, why = s, err
		}
	}
	return shard, why
}

// judgeShard says whether a shard can do without a node. If it has a replica there, a
// majority of the others must be whole, up to date, and follow one leader, another
// one: then each of them has all that was ever confirmed, and they can elect. Of two
// replicas the other one has it, once it was filled. up is how many other nodes that
// store are up: when all of them have answered, none of them has what none says it has.
func judgeShard(node string, shard int, answers []grantAnswer, up int) error {
	held, others := false, make(map[string]bool)
	for _, a := range answers {
		o := a.Shards[shard]
		if !o.Holds {
			continue
		}
		others[a.Node] = true
		for _, name := range o.Replicas {
			if isNode(name, node) {
				held = true
			} else {
				others[name] = true
			}
		}
	}
	switch {
	case len(others) == 0 && up > 0 && len(answers) >= up:
		return errLone
	case len(others) == 0:
		return errors.New("no other node that holds a replica answers")
	case !held:
		return nil
	}
	whole, leader := 0, ""
	for _, a := range answers {
		o := a.Shards[shard]
		if !o.Holds || !o.Whole || len(others) > 1 && (o.Leader == "" || isNode(o.Leader, node)) {
			continue
		}
		if whole > 0 && o.Leader != leader && len(others) > 1 {
			return fmt.Errorf("node %s follows another leader", a.Node)
		}
		whole, leader = whole+1, o.Leader
	}
	if whole < len(others)/2+1 {
		return fmt.Errorf("%d of its %d other replicas are there, whole and up to date, which is no majority", whole, len(others))
	}
	return nil
}

// isNode says whether a server's name for a replica means the node: its name, or what
// is made up while the server has not met it.
func isNode(name, node string) bool { return name == node || name == strangerPrefix+raftID(node) }
