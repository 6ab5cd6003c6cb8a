package gateway

import (
	"context"
	"errors"
	"time"

	"github.com/selvedge-mq/selvedge/cluster"
	"github.com/selvedge-mq/selvedge/gateway/api"
	"github.com/selvedge-mq/selvedge/gateway/config"
	"github.com/selvedge-mq/selvedge/routing/engine"
	"github.com/selvedge-mq/selvedge/routing/shard"
)

// assembly starts the cluster and the engine on it, and takes in what waits to
// be imported. Tests bring their own.
type assembly struct {
	fabric  func(ctx context.Context, n *Node) (fabric, error)
	broker  func(n *Node, f fabric) (broker, error)
	imports func(ctx context.Context, n *Node, f fabric) error
}

// realParts are the parts of the product.
func realParts() assembly {
	return assembly{fabric: openCluster, broker: openEngine, imports: importFolder}
}

// clusterFabric is a node of the cluster package as the gateway sees it.
type clusterFabric struct {
	*cluster.Node
}

func openCluster(ctx context.Context, n *Node) (fabric, error) {
	node, err := cluster.Open(ctx, clusterOptions(n))
	if err != nil {
		return nil, spelled(err)
	}
	return clusterFabric{node}, nil
}

// clusterSettings are the settings behind the options of the cluster.
var clusterSettings = map[string]string{
	"Node": "node", "Dir": "data", "FrontOnly": "storage", "Replicas": "replicas", "Shards": "shards", "SyncInterval": "sync",
	"Election": "election", "AppendTimeout": "append-timeout", "Scrub": "scrub",
	"Listen": "cluster", "Advertise": "advertise", "ClusterName": "cluster-name", "Secret": "secret", "Seeds": "seeds",
}

// spelled has an error about an option of the cluster say how its setting is spelled.
func spelled(err error) error {
	if e, ok := errors.AsType[*cluster.OptionError](err); ok {
		if setting := clusterSettings[e.Option]; setting != "" {
			return &config.Error{Setting: setting, Err: e.Err}
		}
	}
	return err
}

func clusterOptions(n *Node) cluster.Options {
	c := n.cfg
	o := cluster.Options{
		Node: c.Node, Dir: c.Data, FrontOnly: !c.Storage.On,
		Replicas: c.Replicas, Shards: c.Shards, SyncInterval: c.Sync.Interval, Election: c.Election, AppendTimeout: c.AppendTimeout,
		Log: n.base, Metrics: n.registry, Version: n.version,
		Audit: func() cluster.Audit { return new(shard.Audit) }, Intact: shard.Intact,
		DiskWatched: n.disk.guards(), Scrub: int64(c.Scrub),
		AcceptLoss: c.AcceptLoss.On, OnHealth: func(h []cluster.ReplicaHealth) { n.status.setDamaged(damagedOf(h)) },
	}
	if c.Clustered() {
		o.Listen, o.Advertise, o.ClusterName, o.Secret, o.Seeds = c.Cluster, c.Advertise, c.ClusterName, c.Secret, c.Seeds
		o.TLS = n.clusterTLS
	}
	return o
}

// Members returns the nodes that the cluster has heard of.
func (f clusterFabric) Members() []member {
	known := f.Node.Members()
	out := make([]member, 0, len(known))
	for _, m := range known {
		out = append(out, member{
			name: m.Name, up: m.State == cluster.MemberUp, lastSeen: m.LastSeen, version: m.Version, status: m.Status,
			damaged: damagedOf(m.Health), repairing: m.State == cluster.MemberRepairing, ended: m.Ended,
		})
	}
	return out
}

// Addr returns where other nodes connect.
func (f clusterFabric) Addr() string { return f.ClusterAddr() }

// Stored sums the bytes of the logs that this node holds and the lag behind
// those that it leads.
func (f clusterFabric) Stored(led []int) (bytes, lag uint64) {
	name := f.Name()
	for shard := range f.Shards() {
		s := f.ShardStats(shard)
		for _, r := range s.Replicas {
			if r.Name == name {
				bytes += s.Bytes
			}
		}
	}
	for _, shard := range led {
		lag += f.ShardStats(shard).Lag
	}
	return bytes, lag
}

// engineBroker is the engine as the gateway sees it.
type engineBroker struct {
	*engine.Engine
}

func openEngine(n *Node, f fabric) (broker, error) {
	node := f.(clusterFabric) // made by openCluster
	o := engineOptions(n.cfg)
	o.Fabric, o.Peers, o.Authorizer, o.Admit, o.Log, o.Metrics = node, node.Peers(), n.rules, n.disk.admit, n.log, n.registry
	e, err := engine.New(o)
	if err != nil {
		return nil, err
	}
	return engineBroker{e}, nil
}

// Alone waits until nobody can confirm any of the requests under way, or ctx ends. It is
// false when they are confirmed.
func (b engineBroker) Alone(ctx context.Context) bool {
	err := b.Drain(ctx)
	return errors.Is(err, engine.ErrAlone) && ctx.Err() == nil
}

// What the engine takes its time for, unless elections are faster than usual.
const (
	longestLease     = 400 * time.Millisecond
	longestHeartbeat = 100 * time.Millisecond
	transactionExtra = 8 << 10 // of the greatest message: its headers
)

// engineOptions are the settings as the engine has them. A lease must end before
// another leader can be elected. What a session may open is bounded by its
// protocol, whose session is the connection, so the engine lets the greater of
// their bounds pass.
func engineOptions(c *config.Config) engine.Options {
	return engine.Options{
		SendTimeout: c.SendTimeout, ReportTimeout: c.ReportTimeout, MaxDeliveries: c.MaxDeliveries, DeadLetter: c.DeadLetter,
		Lease: min(longestLease, c.Election*4/5), Heartbeat: min(longestHeartbeat, c.Election/5),
		MessageSize: int(c.MessageSize), WholeSize: wholeSize(c),
		Uploads: c.Uploads, UploadIdle: c.UploadIdle, UploadWindow: int64(c.UploadWindow),
		HeldBytes: int64(c.NodeInFlightBytes), HeldMost: 2 * int64(c.NodeInFlightBytes),
		TxBytes:      max(int64(c.TransactionBytes), int64(wholeSize(c))+transactionExtra),
		Transactions: max(c.STOMPTransactions, c.AMQPTransactions), Temporaries: max(c.STOMPTemporary, c.AMQPDynamicNodes),
		SoftBytes: int64(c.NonPersistentBytes), TopicBytes: int64(c.TopicBufferBytes),
		ControlBytes: int64(c.ControlBufferBytes),
		CacheBytes:   int(c.CacheBytes), CleanAbove: int64(c.CompactAbove),
	}
}

// wholeSize is the greatest message that is held as a whole.
func wholeSize(c *config.Config) int { return int(min(c.WholeSize, c.MessageSize)) }

// Queues returns the queues of the whole cluster.
func (b engineBroker) Queues(ctx context.Context) ([]queueCount, error) {
	list, err := b.Engine.Queues(ctx)
	if err != nil {
		return nil, err
	}
	out := make([]queueCount, 0, len(list))
	for _, q := range list {
		out = append(out, queueCount{
			name: q.Name, leader: q.Leader, shard: q.Shard, depth: q.Depth, inFlight: q.InFlight,
			subscribed: q.Consumers, bytes: q.Bytes, in: q.In, out: q.Out,
		})
	}
	return out, nil
}

// Counts returns what the engine did since it started.
func (b engineBroker) Counts() counts {
	s := b.Stats()
	c := s.Counts
	return counts{sends: s.Sends, deliveries: s.Deliveries, led: s.ShardsLed, ready: s.Ready, noRoom: s.Full, fates: api.Counts{
		DeadLettered: api.DeadLetters{Rejected: c.Rejected, Exhausted: c.Exhausted},
		Dropped:      api.Drops{Expired: c.Expired, Refused: c.Refused, Unreadable: c.Unreadable, Deleted: c.Deleted, LeaderChange: c.Lost},
		Redelivered:  c.Redelivered, Stale: c.Stale,
	}}
}
