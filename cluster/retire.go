package cluster

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// Times of a retirement.
const (
	retireEvery    = 250 * time.Millisecond // between two looks
	retirePatience = 5 * time.Second        // for an election that is under way
	retireTell     = 5 * time.Second        // between two lines that say the same
)

// Retire takes a node that is gone for good out of the cluster: out of the cluster's
// own group, and out of the groups of all logs, whose replicas go to other nodes as far
// as there are any. by is who wants it. tell is called with each step, and at least
// every five seconds while something is waited for.
//
// The node must not be alive, and nothing may need it: a majority is up, and what it
// holds is held, whole, by a majority of the others. Otherwise the error is an
// ErrUnknownNode, ErrRetirement or ErrNoQuorum, and nothing was changed. Retire may be
// repeated, also at another node, and goes on where an interrupted one has stopped. Two
// at a time of one node do no harm.
func (n *Node) Retire(ctx context.Context, node, by string, tell func(step string)) error {
	if err := n.mayRetire(ctx, node); err != nil {
		return err
	}
	began := time.Now().UTC().Truncate(time.Second)
	if err := n.registry.change(ctx, node, func(e *Entry) error { return n.beginRetirement(e, by, began) }); err != nil {
		return retireError(err)
	}
	n.opts.Log.Warn().Str("of", node).Str("by", by).Msg("node is being retired")
	tell(fmt.Sprintf("the registry says that %s is being retired", node))
	if err := n.removeVoter(ctx, node); err != nil {
		return retireError(err)
	}
	tell(node + " is out of the cluster's own group")
	if err := n.awaitPlaced(ctx, node, tell); err != nil {
		return retireError(err)
	}
	err := n.registry.change(ctx, node, func(e *Entry) error {
		if e.State == EntryMember {
			return fmt.Errorf("%w: it came back meanwhile: stop it, and retire it again", ErrRetirement)
		}
		if e.State == EntryRetiring {
			e.State, e.RetiredFolder = EntryRetired, e.Folder
		}
		return nil
	})
	if err != nil {
		return retireError(err)
	}
	n.opts.Log.Warn().Str("of", node).Str("by", by).Dur("after", time.Since(began)).Msg("node is retired")
	tell(node + " is retired")
	return nil
}

// beginRetirement makes an entry that of a node which is being retired. It is called
// with the entry as it is in the registry: who started meanwhile has changed it.
func (n *Node) beginRetirement(e *Entry, by string, at time.Time) error {
	if e.State == EntryRetired || e.State == EntryRetiring {
		return nil // it goes on where it was
	}
	if err := n.mayMiss(e.Node); err != nil {
		return err
	}
	e.State, e.RetiredBy, e.RetiredAt = EntryRetiring, by, at
	return nil
}

// removeVoter takes a node out of the cluster's own group. That is committed when it
// returns; then the embedded server takes the node out of the other groups by itself.
func (n *Node) removeVoter(ctx context.Context, node string) error {
	if err := n.mayMiss(node); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	nc, err := n.server.connectAs(systemUser, "system")
	if err != nil {
		return err
	}
	defer nc.Close()
	system := &store{srv: n.server.srv, nc: nc}
	body, err := encode(server.JSApiMetaServerRemoveRequest{Peer: raftID(node)})
	if err != nil {
		return err
	}
	wait := backoff{}
	for {
		var resp server.JSApiMetaServerRemoveResponse
		err := system.try(ctx, "SERVER.REMOVE", body, &resp, &resp.ApiResponse)
		switch {
		case err == nil, apiError(err, server.JSClusterServerNotMemberErr):
			return nil
		case !retryable(err) && !apiError(err, server.JSClusterServerMemberChangeInflightErr):
			return fmt.Errorf("cluster: remove %s from the cluster's own group: %w", node, err)
		}
		if werr := wait.sleep(ctx); werr != nil {
			return fmt.Errorf("cluster: remove %s from the cluster's own group: %w: %w", node, err, werr)
		}
	}
}

// awaitPlaced waits until no log has a replica on the node, and every one has as many
// as there are nodes for, all of them up to date. The leader of the cluster places
// them, see place.
func (n *Node) awaitPlaced(ctx context.Context, node string, tell func(string)) error {
	var said string
	var saidAt time.Time
	for {
		missing := n.unplaced(ctx, node)
		if missing == "" {
			tell("every log has its replicas on other nodes")
			return nil
		}
		if missing != said || time.Since(saidAt) > retireTell {
			said, saidAt = missing, time.Now()
			tell("waiting: " + missing)
		}
		if err := pause(ctx, retireEvery); err != nil {
			return fmt.Errorf("cluster: interrupted while %s: %w", missing, err)
		}
	}
}

// unplaced says what is missing until all logs do without the node, empty for
// nothing.
func (n *Node) unplaced(ctx context.Context, node string) string {
	for _, cfg := range n.streams(n.storingUp(node)) {
		what := describe(cfg.Name)
		info, err := n.store.info(ctx, cfg.Name)
		if err != nil || info.Cluster == nil || info.Cluster.Leader == "" {
			return what + " has no leader"
		}
		var names []string
		for _, p := range info.Cluster.Replicas {
			switch name := peerName(p); {
			case isNode(name, node):
				return what + " still has a replica on it"
			case p.Pending, !p.Offline && !p.Current:
				return fmt.Sprintf("%s is being copied to %s, %d operations behind", what, name, p.Lag)
			default:
				names = append(names, name)
			}
		}
		names = append(names, info.Cluster.Leader)
		switch {
		case info.Cluster.Desired != nil:
			return what + " changes its replicas"
		case len(names) < cfg.Replicas, info.Config.Replicas != len(names):
			return fmt.Sprintf("%s has replicas on %s alone", what, strings.Join(names, ", "))
		}
	}
	return ""
}

// storingUp returns how many nodes that store are up, one left out.
func (n *Node) storingUp(without string) int {
	up := 0
	for _, m := range n.Members() {
		if m.Storage && m.State == MemberUp && m.Name != without {
			up++
		}
	}
	return up
}

// Restore takes the retirement of a node's name back: it may enter the cluster again,
// with an empty data folder, since what its old one holds is stale. If the retirement
// had not taken effect yet, it may come back as it was.
func (n *Node) Restore(ctx context.Context, node, by string) error {
	switch {
	case !nodeName.MatchString(node):
		return errNoName(node)
	case !n.opts.clustered():
		return fmt.Errorf("%w: this node runs alone, there is no other one", ErrUnknownNode)
	}
	ctx, cancel := context.WithTimeout(ctx, retirePatience)
	defer cancel()
	votes, known := n.votes(node)
	if !known {
		s, err := askStanding(ctx, n.store.nc, node)
		if err != nil {
			return fmt.Errorf("%w: %w", ErrNoQuorum, err)
		}
		votes = s.Votes
	}
	err := n.registry.change(ctx, node, func(e *Entry) error {
		switch {
		case !e.exists():
			return fmt.Errorf("%w: no node %q stores, or ever did", ErrUnknownNode, node)
		case e.State == EntryMember:
			return fmt.Errorf("%w: it is not, so there is nothing to undo", ErrRetirement)
		case e.State == EntryRetiring && !votes:
			e.RetiredFolder = e.Folder
		}
		e.State = EntryMember
		return nil
	})
	if err != nil {
		return retireError(err)
	}
	n.opts.Log.Warn().Str("of", node).Str("by", by).Msg("retirement is undone")
	return nil
}

// retireError gives an error that says nothing else the kind ErrNoQuorum, if the
// cluster did not answer in time.
func retireError(err error) error {
	for _, kind := range []error{ErrUnknownNode, ErrRetirement, ErrNoQuorum, context.Canceled} {
		if errors.Is(err, kind) {
			return err
		}
	}
	if retryable(err) {
		return fmt.Errorf("%w: the cluster did not answer in time: %w", ErrNoQuorum, err)
	}
	return err
}
