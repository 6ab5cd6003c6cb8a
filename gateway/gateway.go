// Package gateway puts a node together: configuration, cluster, engine, wire
// front-ends, listeners, admin API and metrics. It knows the order in which they
// start and stop; it does not know what they do.
package gateway

import (
	"context"
	"time"

	"github.com/selvedge-mq/selvedge/gateway/api"
	"github.com/selvedge-mq/selvedge/routing"
)

// fabric is what the node asks of the cluster it runs in.
type fabric interface {
	registry

	// Members returns the nodes that are known, this one among them or not.
	Members() []member
	// SetStatus sets what the other nodes see of this one.
	SetStatus(status []byte)
	// Quorum reports whether a majority of the cluster is in reach.
	Quorum() bool
	// Healthy reports whether every node that stores is there, and every replica
	// is caught up.
	Healthy() bool
	// Addr returns where other nodes connect, empty when the node runs alone.
	Addr() string
	// Stored says how many bytes this node's logs have and how far the replicas
	// of the logs that it leads are behind.
	Stored(led []int) (bytes, lag uint64)
	// Ready returns nil, or what is missing until the node can serve.
	Ready() error
	// Failed receives the reason when the node cannot go on.
	Failed() <-chan error
	// Close hands over what is led, as long as ctx allows, and stops.
	Close(ctx context.Context) error
}

// member is a node of the cluster as the fabric knows it.
type member struct {
	name     string
	up       bool
	lastSeen time.Time
	version  string
	status   []byte // what it said of itself last
	damaged  []api.Damaged
	// repairing says that it does not serve since it waits for its repair.
	repairing bool
	ended     string // why it could not go on
}

// broker is what the node asks of the engine.
type broker interface {
	routing.Broker
	Queues(ctx context.Context) ([]queueCount, error)
	Counts() counts
	// HandOver gives the leadership of shards to other nodes.
	HandOver(ctx context.Context) error
	// Drain waits for the confirmation of requests under way.
	Drain(ctx context.Context) error
	// Alone waits until nobody can confirm any of the requests under way, or ctx ends.
	Alone(ctx context.Context) bool
	Close()
}

// queueCount is a queue with counts since its leader took over.
type queueCount struct {
	name, leader                       string
	shard, depth, inFlight, subscribed int
	bytes                              int64
	in, out                            uint64
}

// counts are what the engine has done since it started.
type counts struct {
	sends, deliveries uint64
	fates             api.Counts
	noRoom            []int // shards whose logs have no room
	led               []int
	ready             bool // every shard has a leader
}
