package gateway

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/selvedge-mq/selvedge/cluster"
	"github.com/selvedge-mq/selvedge/gateway/api"
	"github.com/selvedge-mq/selvedge/routing"
)

// ErrRetired is the kind of errors of a node that was retired from its cluster: it
// must not be started again as it is.
var ErrRetired = cluster.ErrRetired

// registry is what the node asks of the memory of the cluster: which nodes it has,
// and to forget one that is gone for good.
type registry interface {
	// Registered returns the nodes that store and ever belonged to the cluster, as
	// far as is known; it does not wait.
	Registered() []registered
	// Retire takes a node that is gone for good out of the cluster, and tells each
	// step. An error that its user may be told is a *routing.Error: NotFound for an
	// unknown node, Invalid for one that cannot be retired as things are, Unavailable
	// without a quorum. It may be repeated, and goes on where it was.
	Retire(ctx context.Context, node, by string, tell func(step string)) error
	// Restore lets the name of a retired node be used again, with the same errors.
	Restore(ctx context.Context, node, by string) error
}

// registered is a node as the registry knows it.
type registered struct {
	name, version, cluster string
	state                  api.NodeState // absent, retiring or retired: what it is when it is not there
	lastSeen               time.Time
	retiredBy              string
	retiredAt              time.Time
}

// Registered returns the nodes in the cluster's registry.
func (f clusterFabric) Registered() []registered {
	states := map[cluster.EntryState]api.NodeState{
		cluster.EntryMember: api.NodeAbsent, cluster.EntryRetiring: api.NodeRetiring, cluster.EntryRetired: api.NodeRetired,
	}
	entries := f.Registry()
	out := make([]registered, 0, len(entries))
	for _, e := range entries {
		r := registered{name: e.Node, version: e.Version, cluster: e.Address, state: states[e.State], lastSeen: e.LastHeard()}
		if e.State != cluster.EntryMember {
			r.retiredBy, r.retiredAt = e.RetiredBy, e.RetiredAt
		}
		out = append(out, r)
	}
	return out
}

// Retire takes a node out of the cluster.
func (f clusterFabric) Retire(ctx context.Context, node, by string, tell func(step string)) error {
	return retireError(f.Node.Retire(ctx, node, by, tell))
}

// Restore lets a retired name be used again.
func (f clusterFabric) Restore(ctx context.Context, node, by string) error {
	return retireError(f.Node.Restore(ctx, node, by))
}

// retireError gives the cluster's errors their codes, and a text for people.
func retireError(err error) error {
	var code routing.Code
	switch {
	case err == nil:
		return nil
	case errors.Is(err, cluster.ErrUnknownNode):
		code = routing.CodeNotFound
	case errors.Is(err, cluster.ErrRetirement):
		code = routing.CodeInvalid
	case errors.Is(err, cluster.ErrNoQuorum):
		code = routing.CodeUnavailable
	default:
		return err
	}
	return &routing.Error{Code: code, Op: "retire", Reason: strings.TrimPrefix(err.Error(), "cluster: "), Err: err}
}

// withRegistry adds what the registry knows to the nodes of a status: those that
// are not there, and since when. The retired ones are left out unless they are asked for.
func withRegistry(nodes []api.Node, known []registered, retired bool) []api.Node {
	for _, r := range known {
		at := slices.IndexFunc(nodes, func(n api.Node) bool { return n.Name == r.name })
		if at >= 0 && nodes[at].State != api.NodeDown {
			continue // it is there
		}
		n := api.Node{Name: r.name, Version: r.version, Cluster: r.cluster, ShardsLed: []int{}, Listeners: []api.Listener{}}
		if at >= 0 {
			n = nodes[at]
			nodes = slices.Delete(nodes, at, at+1)
		}
		if r.state == api.NodeRetired && !retired {
			continue
		}
		if at < 0 || r.state != api.NodeAbsent {
			n.State = r.state
		}
		if seen := stamp(r.lastSeen); seen > n.LastSeen { // both of one zone and length
			n.LastSeen = seen
		}
		n.RetiredBy, n.RetiredAt = r.retiredBy, stamp(r.retiredAt)
		nodes = append(nodes, n)
	}
	slices.SortFunc(nodes, func(a, b api.Node) int { return cmp.Compare(a.Name, b.Name) })
	return nodes
}

// stamp is how a time stands in the API, empty for none.
func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

// registry returns the cluster's registry, nil before the cluster started.
func (s *status) registry() registry {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fabric == nil {
		return nil
	}
	return s.fabric
}
