package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/selvedge-mq/selvedge/gateway/api"
)

const statusEvery = time.Second

var errDraining = errors.New("the node is draining")

// status is what the node says of itself and of the cluster. It is safe for
// concurrent use.
type status struct {
	cluster string // the cluster's name, empty when the node runs alone
	started time.Time
	conns   *conns
	disk    *disk

	mu       sync.Mutex
	self     api.Node
	why      error // why the node does not take clients; nil: it does
	fabric   fabric
	broker   broker
	lastSeen map[string]api.Node // what each node said of itself last

	sends, deliveries meter // of the goroutine that runs refresh
}

func newStatus(cluster, node, version string, c *conns, d *disk) *status {
	return &status{
		cluster: cluster, started: time.Now(), conns: c, disk: d,
		self:     api.Node{Name: node, State: api.NodeStarting, Version: version, ShardsLed: []int{}, Listeners: []api.Listener{}},
		why:      errors.New("the node is starting"),
		lastSeen: make(map[string]api.Node),
	}
}

// attach adds what the status is about as the node starts: the cluster, then
// the engine, which is nil before.
func (s *status) attach(f fabric, b broker) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fabric, s.broker = f, b
}

// setAddresses says where the node listens.
func (s *status) setAddresses(set func(n *api.Node)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	set(&s.self)
}

// addListener says that a port is open.
func (s *status) addListener(l api.Listener) {
	s.setAddresses(func(n *api.Node) {
		n.Listeners = append(slices.Clip(n.Listeners), l) // readers may have the former
		switch l.Name {
		case "stomp":
			n.STOMP = l.Address
		case "amqp":
			n.AMQP = l.Address
		case "http":
			n.HTTP = l.Address
		}
	})
}

// setServing says that clients are taken from now on.
func (s *status) setServing() {
	s.mu.Lock()
	s.why = nil
	s.self.State = api.NodeUp
	s.mu.Unlock()
	s.publish()
}

// setDraining says that clients are not taken any more.
func (s *status) setDraining() {
	s.mu.Lock()
	s.why = errDraining
	s.self.State = api.NodeDraining
	s.mu.Unlock()
	s.publish()
}

// ready returns nil when the node takes clients and can confirm what they send.
func (s *status) ready() error {
	s.mu.Lock()
	why, f, b := s.why, s.fabric, s.broker
	s.mu.Unlock()
	switch {
	case why != nil:
		return why
	case !f.Quorum():
		return errors.New("a majority of the cluster is out of reach")
	case !b.Counts().ready:
		return errors.New("a shard has no leader")
	}
	return nil
}

// unlisted says which queues nobody can list now, nothing if all have a leader.
func (s *status) unlisted() string {
	s.mu.Lock()
	f, b := s.fabric, s.broker
	s.mu.Unlock()
	switch {
	case f == nil || b == nil || !f.Quorum():
		return "a majority of the cluster is out of reach: queues whose shards have no leader are missing here"
	case !b.Counts().ready:
		return "a shard has no leader: its queues are missing here"
	}
	return ""
}

// engine returns the engine, nil before it started.
func (s *status) engine() broker {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.broker
}

// run renews and publishes the node's own part every second until ctx ends.
func (s *status) run(ctx context.Context) {
	tick := time.NewTicker(statusEvery)
	defer tick.Stop()
	for {
		s.refresh(time.Now())
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// refresh measures the node's own part and publishes it.
func (s *status) refresh(now time.Time) {
	s.mu.Lock()
	f, b := s.fabric, s.broker
	s.mu.Unlock()
	if f == nil || b == nil {
		return
	}
	c := b.Counts()
	bytes, lag := f.Stored(c.led)
	sends, deliveries := s.sends.add(now, c.sends), s.deliveries.add(now, c.deliveries)
	s.mu.Lock()
	s.self.SendsPerSecond, s.self.DeliveriesPerSec = sends, deliveries
	s.self.ShardsLed = append([]int{}, c.led...) // never null
	slices.Sort(s.self.ShardsLed)
	s.self.StoredBytes, s.self.ReplicaLag, s.self.Counts, s.self.NoRoom = bytes, lag, c.fates, c.noRoom
	s.mu.Unlock()
	s.publish()
	s.disk.setFull(s.nodes().Nodes)
}

func (s *status) publish() {
	s.mu.Lock()
	f := s.fabric
	s.mu.Unlock()
	if f == nil {
		return
	}
	text, err := json.Marshal(s.own())
	if err != nil {
		panic("gateway: the status cannot be encoded: " + err.Error())
	}
	f.SetStatus(text)
}

// own returns the node's own part as of now.
func (s *status) own() api.Node {
	connections := s.conns.count()
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.self
	n.Connections = connections
	n.UptimeSeconds = int64(time.Since(s.started).Seconds())
	n.Disk, n.DiskFreeBytes = s.disk.state()
	n.State = repairState(n.State, n.Damaged)
	return n
}

// nodes returns every node of the cluster.
func (s *status) nodes() api.Nodes { return s.allNodes(false) }

// allNodes returns every node of the cluster, with those that were retired if they
// are asked for.
func (s *status) allNodes(retired bool) api.Nodes {
	own := s.own()
	s.mu.Lock()
	f, b := s.fabric, s.broker
	s.mu.Unlock()
	out := api.Nodes{Cluster: s.cluster, Node: own.Name, State: api.StateNoQuorum, Nodes: []api.Node{own}}
	if f == nil {
		out.Reasons = reasons(out, false, false)
		return out
	}
	out.Nodes = append(out.Nodes, s.others(f.Members(), own.Name)...)
	out.Nodes = withRegistry(out.Nodes, f.Registered(), retired)
	out.Quorum = f.Quorum()
	led, replicated := b != nil && b.Counts().ready, f.Healthy()
	whole := led && replicated
	for _, n := range out.Nodes {
		out.Counts.Add(n.Counts)
		if n.State == api.NodeRetired {
			continue
		}
		whole = whole && n.State == api.NodeUp && len(n.NoRoom) == 0 && n.Disk != api.DiskLow && n.Disk != api.DiskFull
	}
	switch {
	case out.Quorum && whole:
		out.State = api.StateHealthy
	case out.Quorum:
		out.State = api.StateDegraded
	}
	out.Reasons = reasons(out, led, replicated)
	return out
}

// others reads what the other members said of themselves.
func (s *status) others(members []member, own string) []api.Node {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]api.Node, 0, len(members))
	for _, m := range members {
		if m.name == own {
			continue
		}
		n := api.Node{}
		if len(m.status) == 0 { // it said nothing since it started
			n = s.lastSeen[m.name]
			n.State = api.NodeStarting
		} else if json.Unmarshal(m.status, &n) != nil { // it speaks another version
			n = s.lastSeen[m.name]
		}
		n.Name = m.name
		if n.ShardsLed == nil {
			n.ShardsLed = []int{}
		}
		if n.Listeners == nil {
			n.Listeners = []api.Listener{}
		}
		if n.Version == "" {
			n.Version = m.version
		}
		if n.State == "" {
			n.State = api.NodeUp
		}
		n.Damaged = m.damaged
		n.State = repairState(n.State, n.Damaged)
		s.lastSeen[m.name] = n
		if !m.up && !m.repairing {
			n = api.Node{
				Name: n.Name, State: api.NodeDown, Version: n.Version, ShardsLed: []int{},
				STOMP: n.STOMP, AMQP: n.AMQP, HTTP: n.HTTP, Cluster: n.Cluster, Listeners: n.Listeners, LastSeen: stamp(m.lastSeen),
				Ended: m.ended,
			}
		}
		out = append(out, n)
	}
	return out
}

// failover returns the addresses of the listener of that name on the other nodes
// that are up, as clients reach them.
func (s *status) failover(listener string) []string {
	var out []string
	own := s.own().Name
	for _, n := range s.nodes().Nodes {
		if n.Name == own || n.State != api.NodeUp {
			continue
		}
		for _, l := range n.Listeners {
			if l.Name != listener {
				continue
			}
			if a := reachable(l.Address, n.Cluster); a != "" {
				out = append(out, a)
			}
		}
	}
	return out
}

// reachable replaces a host that stands for every interface by the host that
// the other nodes know. It returns "" if there is none.
func reachable(addr, cluster string) string {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return ""
	}
	if !unspecified(host) {
		return addr
	}
	known, _, err := net.SplitHostPort(cluster)
	if err != nil || unspecified(known) {
		return ""
	}
	return net.JoinHostPort(known, port)
}

func unspecified(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "" || err == nil && ip.IsUnspecified()
}
