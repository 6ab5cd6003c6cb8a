package gateway

import (
	"encoding/json"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/selvedge-mq/selvedge/gateway/api"
)

func published(t *testing.T, n api.Node) []byte {
	t.Helper()
	text, err := json.Marshal(n)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestNodes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, b := newFakeFabric(), &fakeBroker{counts: counts{ready: true, led: []int{2, 0}}}
		s := newTestStatus(t, "prod", "n2")
		s.attach(f, b)
		s.setServing()
		s.setAddresses(func(n *api.Node) { n.STOMP, n.Cluster = ":61613", "10.0.0.2:6222" })
		none := []api.Listener{}
		start := time.Now()
		s.refresh(start)
		<-time.After(2 * time.Second) // by the bubble's clock
		b.counts.sends, b.counts.deliveries = 20, 10
		b.counts.fates = api.Counts{Dropped: api.Drops{Expired: 3}, Redelivered: 1}
		s.refresh(time.Now())
		n1 := api.Node{Name: "n1", State: api.NodeDraining, Version: "0.9", STOMP: "10.0.0.1:61613", Connections: 7, ShardsLed: []int{1}, Counts: api.Counts{Dropped: api.Drops{Expired: 1, LeaderChange: 2}, Stale: 5}, Listeners: none}
		n3 := api.Node{Name: "n3", State: api.NodeUp, Version: "1.0", STOMP: "10.0.0.3:61613", Connections: 9, ShardsLed: []int{3}, Listeners: none}
		f.members = []member{
			{name: "n3", up: false, version: "1.0", status: published(t, n3)},
			{name: "n2", up: true},
			{name: "n1", up: true, status: published(t, n1)},
		}
		want := api.Nodes{
			Cluster: "prod", Node: "n2", Quorum: true, State: api.StateDegraded,
			Counts:  api.Counts{Dropped: api.Drops{Expired: 4, LeaderChange: 2}, Redelivered: 1, Stale: 5},
			Reasons: []string{"n1 is draining", "n3 is down"},
			Nodes: []api.Node{
				n1,
				{
					Name: "n2", State: api.NodeUp, Version: "1.0", UptimeSeconds: 2, STOMP: ":61613", Cluster: "10.0.0.2:6222",
					SendsPerSecond: 10, DeliveriesPerSec: 5, ShardsLed: []int{0, 2}, ReplicaLag: 2, StoredBytes: 4096, Listeners: none,
					Counts: api.Counts{Dropped: api.Drops{Expired: 3}, Redelivered: 1},
				},
				{Name: "n3", State: api.NodeDown, Version: "1.0", STOMP: "10.0.0.3:61613", ShardsLed: []int{}, Listeners: none},
			},
		}
		if d := cmp.Diff(want, s.nodes()); d != "" {
			t.Errorf("got (+), want (-):\n%s", d)
		}
		f.members[0].status = nil // forgotten by the cluster, remembered here
		if d := cmp.Diff(want, s.nodes()); d != "" {
			t.Errorf("got (+), want (-):\n%s", d)
		}
		var self api.Node
		if err := json.Unmarshal([]byte(f.published()), &self); err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want.Nodes[1], self); d != "" {
			t.Errorf("published: got (+), want (-):\n%s", d)
		}
	})
}

func TestClusterState(t *testing.T) {
	up := func(state api.NodeState) []member {
		return []member{{name: "n2", up: true, status: published(t, api.Node{Name: "n2", State: state})}}
	}
	disk := func(state api.DiskState) []member {
		return []member{{name: "n2", up: true, status: published(t, api.Node{Name: "n2", State: api.NodeUp, Disk: state})}}
	}
	for _, tt := range []struct {
		name    string
		quorum  bool
		ready   bool
		members []member
		want    api.State
		why     string
	}{
		{"a node alone is healthy", true, true, nil, api.StateHealthy, ""},
		{"all up is healthy", true, true, up(api.NodeUp), api.StateHealthy, ""},
		{"a node that is up and silent is starting", true, true, []member{{name: "n2", up: true}}, api.StateDegraded, "n2 is starting"},
		{"a node that drains degrades", true, true, up(api.NodeDraining), api.StateDegraded, "n2 is draining"},
		{"a node that is down degrades", true, true, []member{{name: "n2"}}, api.StateDegraded, "n2 is down"},
		{"a node that could not go on says why", true, true, []member{{name: "n2", ended: "its reason"}}, api.StateDegraded, "n2 is down (it could not go on: its reason)"},
		{"a shard without a leader degrades", true, false, nil, api.StateDegraded, "a shard has no leader"},
		{"a disk with little room degrades", true, true, disk(api.DiskLow), api.StateDegraded, "the disk of n2 is low"},
		{"a full disk degrades", true, true, disk(api.DiskFull), api.StateDegraded, "the disk of n2 is full: no node takes messages until there is room (disk-full)"},
		{"a disk with room is healthy", true, true, disk(api.DiskOK), api.StateHealthy, ""},
		{"without a majority nothing goes", false, true, up(api.NodeUp), api.StateNoQuorum, "a majority of the cluster is out of reach: start nodes until there is one, or look at the network between them"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := newFakeFabric()
			f.quorum, f.members = tt.quorum, tt.members
			s := newTestStatus(t, "", "n1")
			s.attach(f, &fakeBroker{counts: counts{ready: tt.ready}})
			s.setServing()
			got := s.nodes()
			if got.State != tt.want {
				t.Errorf("got %s, want %s", got.State, tt.want)
			}
			if why := strings.Join(got.Reasons, "; "); why != tt.why {
				t.Errorf("reasons: got %q, want %q", why, tt.why)
			}
		})
	}
}

func TestFailover(t *testing.T) {
	f := newFakeFabric()
	node := func(name string, state api.NodeState, amqp, cluster string) member {
		at := []api.Listener{{Name: "amqp-tls", Address: "10.9.9.9:5671"}, {Name: "amqp", Address: amqp}}
		return member{name: name, up: true, status: published(t, api.Node{Name: name, State: state, Cluster: cluster, Listeners: at})}
	}
	f.members = []member{
		node("n1", api.NodeUp, "10.0.0.1:5672", ""),
		node("n2", api.NodeUp, "[::]:5672", "node2.example:6222"),
		node("n3", api.NodeUp, ":5672", "0.0.0.0:6222"),
		node("n4", api.NodeDraining, "10.0.0.4:5672", ""),
		node("n5", api.NodeUp, "", "10.0.0.5:6222"),
		{name: "n6", status: published(t, api.Node{AMQP: "10.0.0.6:5672"})},
	}
	s := newTestStatus(t, "", "n1")
	s.attach(f, &fakeBroker{counts: counts{ready: true}})
	f.members = append(f.members, node("n7", api.NodeUp, "10.0.0.7:5672", ""))
	got := s.failover("amqp")
	if d := cmp.Diff([]string{"node2.example:5672", "10.0.0.7:5672"}, got); d != "" {
		t.Errorf("got (+), want (-):\n%s", d)
	}
}

func TestMeterLooksBackAFewSamples(t *testing.T) {
	var m meter
	at := time.Now()
	var got []float64
	for _, count := range []uint64{100, 110, 130, 130, 130, 130, 130, 130, 40, 50} {
		got = append(got, m.add(at, count))
		at = at.Add(time.Second)
	}
	want := []float64{0, 10, 15, 10, 7.5, 6, 4, 0, 0, 0}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("got (+), want (-):\n%s", d)
	}
}
