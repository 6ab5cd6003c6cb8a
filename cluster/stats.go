package cluster

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// infosEvery is the time between two questions about the shards that this node
// has no replica of.
const infosEvery = time.Second

// infosFresh is how long an answer counts.
const infosFresh = 4 * time.Second

// ReplicaStats is the state of one replica of a shard's log. Only the leader
// knows how far the others are; elsewhere they count as current while they are
// online.
type ReplicaStats struct {
	Name    string `json:"name"`
	Current bool   `json:"current"` // caught up
	Offline bool   `json:"offline"`
	Lag     uint64 `json:"lag"` // operations behind
}

// ShardStats is the state of a shard's log, as this node sees it.
type ShardStats struct {
	Shard  int    `json:"shard"`
	Exists bool   `json:"exists"`
	Leader string `json:"leader"` // empty: none, or not known
	Bytes  uint64 `json:"bytes"`
	First  uint64 `json:"first"`
	Last   uint64 `json:"last"`
	// Replicas are all of them, the leader's included, by name.
	Replicas []ReplicaStats `json:"replicas"`
	// Lag is the lag of the replica that is farthest behind.
	Lag uint64 `json:"lag"`
}

// infos keeps what others say of the shards that are not here.
type infos struct {
	mu     sync.Mutex
	latest []remoteInfo
}

// remoteInfo is an answer and its time.
type remoteInfo struct {
	detail server.StreamDetail
	at     time.Time
}

func newInfos(shards int) *infos { return &infos{latest: make([]remoteInfo, shards)} }

func (i *infos) put(shard int, d server.StreamDetail) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.latest[shard] = remoteInfo{d, time.Now()}
}

func (i *infos) get(shard int) (server.StreamDetail, bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	r := i.latest[shard]
	return r.detail, !r.at.IsZero() && time.Since(r.at) < infosFresh
}

// watchInfos asks about the shards that are not here until ctx ends.
func (n *Node) watchInfos(ctx context.Context) {
	t := time.NewTicker(infosEvery)
	defer t.Stop()
	for {
		for shard, l := range n.logs {
			if _, here := n.store.local(l.stream); here {
				continue
			}
			if info, err := n.store.info(ctx, l.stream); err == nil {
				n.infos.put(shard, server.StreamDetail{Name: l.stream, State: info.State, Cluster: info.Cluster, Config: &info.Config})
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
	}
}

// info asks the leader of a stream about it, once.
func (s *store) info(ctx context.Context, stream string) (*server.StreamInfo, error) {
	var resp server.JSApiStreamInfoResponse
	if err := s.try(ctx, "STREAM.INFO."+stream, nil, &resp, &resp.ApiResponse); err != nil {
		return nil, err
	}
	return resp.StreamInfo, nil
}

// ShardStats returns the state of a shard's log.
func (n *Node) ShardStats(shard int) ShardStats {
	s := ShardStats{Shard: shard}
	d, here := n.store.local(n.logs[shard].stream)
	if !here {
		if d, s.Exists = n.infos.get(shard); !s.Exists {
			return s
		}
	}
	s.Exists = true
	s.Bytes = d.State.Bytes
	s.First, s.Last = boundsOf(d.State)
	s.Leader, s.Replicas = n.replicasOf(n.logs[shard].stream, d.Cluster, here)
	for _, r := range s.Replicas {
		s.Lag = max(s.Lag, r.Lag)
	}
	return s
}

// replicasOf reads who leads a stream and who holds it; here says that this node
// does. The server leaves out the leader, or itself.
func (n *Node) replicasOf(stream string, c *server.ClusterInfo, here bool) (leader string, replicas []ReplicaStats) {
	if !n.opts.clustered() {
		return n.opts.Node, []ReplicaStats{{Name: n.opts.Node, Current: true}}
	}
	if c == nil {
		c = &server.ClusterInfo{}
	}
	add := func(r ReplicaStats) {
		if !slices.ContainsFunc(replicas, func(o ReplicaStats) bool { return o.Name == r.Name }) {
			replicas = append(replicas, r)
		}
	}
	leader = c.Leader
	if here {
		add(ReplicaStats{Name: n.opts.Node, Current: n.server.srv.JetStreamIsStreamCurrent(account, stream)})
	}
	if leader != "" {
		add(ReplicaStats{Name: leader, Current: true})
	}
	for _, p := range c.Replicas {
		switch {
		case p.Pending: // not yet one, or not any more
		case here && leader != n.opts.Node:
			add(ReplicaStats{Name: peerName(p), Current: !p.Offline, Offline: p.Offline})
		default:
			add(ReplicaStats{Name: peerName(p), Current: p.Current, Offline: p.Offline, Lag: p.Lag})
		}
	}
	if leader == "" && here && len(replicas) == 1 {
		leader = n.opts.Node // a single replica has no election
	}
	slices.SortFunc(replicas, func(a, b ReplicaStats) int { return strings.Compare(a.Name, b.Name) })
	return leader, replicas
}

// strangerPrefix begins the name of a node that the server has not met.
const strangerPrefix = "?"

// peerName returns a node's name, or an artificial one while the server has not
// met the node.
func peerName(p *server.PeerInfo) string {
	if strings.Contains(p.Name, " ") { // a sentence that says so
		return strangerPrefix + p.Peer
	}
	return p.Name
}

// Replicas returns the names of the nodes that hold the shard's log. A node
// that this one has never met since it started has an artificial name that
// begins with a question mark.
func (n *Node) Replicas(shard int) []string {
	if !n.opts.clustered() {
		return []string{n.opts.Node} // asked ten times a second for each shard: the server need not say it
	}
	replicas := n.ShardStats(shard).Replicas
	names := make([]string, 0, len(replicas))
	for _, r := range replicas {
		names = append(names, r.Name)
	}
	return names
}

// leaderCounts returns how many shards each node leads.
func (n *Node) leaderCounts() map[string]int {
	counts := make(map[string]int)
	for _, leader := range n.leaders() {
		if leader != "" {
			counts[leader]++
		}
	}
	return counts
}

// leaders returns who leads each shard, empty for nobody.
func (n *Node) leaders() []string {
	leaders := make([]string, len(n.logs))
	for shard := range leaders {
		leaders[shard] = n.ShardStats(shard).Leader
	}
	return leaders
}
