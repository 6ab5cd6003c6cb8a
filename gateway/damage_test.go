package gateway

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/selvedge-mq/selvedge/cluster"
	"github.com/selvedge-mq/selvedge/gateway/api"
)

// Healthy says that nothing is missing.
func (f *fakeFabric) Healthy() bool { return f.Ready() == nil }

func TestStatus_DamagedReplicasAreTold(t *testing.T) {
	damaged := []api.Damaged{{Shard: 2, State: "repairing", Reason: "why"}}
	health := []cluster.ReplicaHealth{{Shard: 2, State: cluster.ReplicaRepairing, Reason: "why"}}
	for _, c := range []struct {
		name    string
		own     []api.Damaged
		members []member
		node    int // whose state is looked at
		want    api.NodeState
		damaged []api.Damaged
	}{
		{"of this node", damagedOf(health), nil, 0, api.NodeRepairing, damaged},
		{
			"of another node that serves nevertheless", nil,
			[]member{{name: "n2", up: true, status: published(t, api.Node{Name: "n2", State: api.NodeUp}), damaged: damaged}},
			1, api.NodeRepairing, damaged,
		},
		{
			"of another node that waits for its repair", nil,
			[]member{{name: "n2", repairing: true, damaged: damaged}},
			1, api.NodeRepairing, damaged,
		},
		{
			"of a node that went away meanwhile", nil,
			[]member{{name: "n2", damaged: damaged}},
			1, api.NodeDown, nil,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFakeFabric()
			f.members = c.members
			s := newTestStatus(t, "c", "n1")
			s.setDamaged(c.own)
			s.attach(f, &fakeBroker{counts: counts{ready: true}})
			s.setServing()
			got := s.nodes()
			if got.State != api.StateDegraded {
				t.Errorf("got the cluster %s, want it degraded", got.State)
			}
			if n := got.Nodes[c.node]; n.State != c.want || !cmp.Equal(n.Damaged, c.damaged) {
				t.Errorf("got the node %s with %+v, want %s with %+v", n.State, n.Damaged, c.want, c.damaged)
			}
		})
	}
}

// While the cluster is not healthy by its own account, the status does not say so
// either, though every node that is known says that it is up.
func TestStatus_HealthyIsWhatTheClusterCallsHealthy(t *testing.T) {
	f := newFakeFabric()
	s := newTestStatus(t, "c", "n1")
	s.attach(f, &fakeBroker{counts: counts{ready: true}})
	s.setServing()
	if got := s.nodes().State; got != api.StateHealthy {
		t.Errorf("got %s, want %s", got, api.StateHealthy)
	}
	f.set(func(f *fakeFabric) { f.missing = errDraining })
	if got := s.nodes().State; got != api.StateDegraded {
		t.Errorf("with a replica that catches up: got %s, want %s", got, api.StateDegraded)
	}
}

// Clients hear why a node ends that nobody has stopped.
func TestWhyStops_NamesTheStorage(t *testing.T) {
	for _, c := range []struct {
		name string
		err  error
		want string
	}{
		{"told to stop", nil, ""},
		{"a write failed", fmt.Errorf("%w: %w", ErrRepair, cluster.ErrStorage), "its storage takes no more writes"},
		{"damage found", fmt.Errorf("%w: %w", ErrRepair, cluster.ErrDamaged), "its storage is damaged"},
		{"another failure", cluster.ErrServer, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := whyStops(c.err); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}
