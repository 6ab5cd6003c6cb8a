// Package api is the vocabulary of the admin API and of the ready line: the
// JSON that a node writes and that the command line reads. It knows no HTTP and
// imports nothing.
package api

// Paths of the HTTP endpoints.
const (
	PathLive    = "/livez"         // 200 while the process works
	PathReady   = "/readyz"        // 200 while the node takes clients, else 503
	PathMetrics = "/metrics"       // Prometheus
	PathNodes   = "/api/v1/nodes"  // GET: [Nodes]; with ?retired=true also those that were retired
	PathQueues  = "/api/v1/queues" // GET: [Queues]
)

// PathTrace streams [TraceFrame] values, one a line, until the asker leaves. The
// query chooses connections: protocol, conn, client, user.
const PathTrace = "/api/v1/trace"

// ContentTypeLines is the media type of a stream of JSON values, one a line.
const ContentTypeLines = "application/x-ndjson"

// ContentTypeProblem is the media type of a [Problem] (RFC 9457).
const ContentTypeProblem = "application/problem+json"

// State says how a cluster does, as the asked node sees it.
type State string

// The states of a cluster.
const (
	StateHealthy  State = "healthy"   // every node is up, every shard has a leader and all its replicas
	StateDegraded State = "degraded"  // it serves, but a node is away, a disk is nearly full, or a shard has no leader
	StateNoQuorum State = "no-quorum" // a majority is out of reach: nothing can be confirmed
)

// NodeState says how a node does.
type NodeState string

// The states of a node.
const (
	NodeStarting NodeState = "starting" // it does not take clients yet
	NodeUp       NodeState = "up"
	NodeDown     NodeState = "down"     // suspected to be dead, or stopped
	NodeDraining NodeState = "draining" // it hands its work over and stops
	// NodeRepairing: what it stores of some shards is damaged, and is fetched from
	// the other nodes; meanwhile it may not serve.
	NodeRepairing NodeState = "repairing"
	// NodeAbsent: it belongs to the cluster and stores, and was not heard of for an
	// hour, or since the asked node started.
	NodeAbsent NodeState = "absent"
	// NodeRetiring: it is gone for good, and its retirement has begun and not ended.
	NodeRetiring NodeState = "retiring"
	// NodeRetired: it was taken out of the cluster; shown only on request.
	NodeRetired NodeState = "retired"
)

// Nodes answers [PathNodes].
type Nodes struct {
	Cluster string `json:"cluster"` // the cluster's name; empty when the node runs alone
	Node    string `json:"node"`    // the node that was asked
	Quorum  bool   `json:"quorum"`
	State   State  `json:"state"`
	Counts  Counts `json:"counts"` // of all nodes together
	// Reasons say why the state is not healthy, for people; absent if it is.
	Reasons []string `json:"reasons,omitempty"`
	Nodes   []Node   `json:"nodes"` // sorted by name
}

// Node is one node of the cluster. Of a node that is down only the name and the
// last known addresses are told.
type Node struct {
	Name             string     `json:"name"`
	State            NodeState  `json:"state"`
	Version          string     `json:"version"`
	UptimeSeconds    int64      `json:"uptime_seconds"`
	STOMP            string     `json:"stomp"` // addresses in force, empty when switched off
	AMQP             string     `json:"amqp"`
	HTTP             string     `json:"http"`
	Cluster          string     `json:"cluster"`
	Listeners        []Listener `json:"listeners"` // all that are on; never null
	Connections      int        `json:"connections"`
	SendsPerSecond   float64    `json:"sends_per_second"`
	DeliveriesPerSec float64    `json:"deliveries_per_second"`
	ShardsLed        []int      `json:"shards_led"`   // never null
	ReplicaLag       uint64     `json:"replica_lag"`  // records that its replicas are behind, summed
	StoredBytes      uint64     `json:"stored_bytes"` // of its logs
	Counts           Counts     `json:"counts"`
	Disk             DiskState  `json:"disk"`
	DiskFreeBytes    uint64     `json:"disk_free_bytes"` // of the disk that the data folder is on
	// Damaged are the shards of which it has no whole replica; absent if there
	// are none.
	Damaged []Damaged `json:"damaged,omitempty"`
	// NoRoom are the shards that it leads, or should, and whose logs have no
	// room; absent if there are none.
	NoRoom []int `json:"no_room,omitempty"`
	// LastSeen is when a node that is not there was last heard, in RFC 3339; empty
	// of one that is, and if nobody knows.
	LastSeen string `json:"last_seen,omitempty"`
	// Ended is why a node that is not there could not go on, if it said so.
	Ended string `json:"ended,omitempty"`
	// RetiredBy and RetiredAt say who retires or retired it, and since when.
	RetiredBy string `json:"retired_by,omitempty"`
	RetiredAt string `json:"retired_at,omitempty"`
}

// There says whether the node was heard lately; of one that was not, the figures are
// unknown.
func (n *Node) There() bool {
	switch n.State {
	case NodeDown, NodeAbsent, NodeRetiring, NodeRetired:
		return false
	case NodeStarting, NodeUp, NodeDraining, NodeRepairing:
	}
	return true
}

// Damaged is a replica that is not whole.
type Damaged struct {
	Shard  int    `json:"shard"`
	State  string `json:"state"`  // "damaged": it waits for its repair; "repairing": it is being filled
	Reason string `json:"reason"` // what was found, or what the repair waits for
}

// Counts are what became of messages, in the shards that a node led, since it
// started.
type Counts struct {
	DeadLettered DeadLetters `json:"dead_lettered"` // by the cause
	Dropped      Drops       `json:"dropped"`       // by the cause
	Redelivered  uint64      `json:"redelivered"`   // handed out, perhaps not for the first time
	Stale        uint64      `json:"stale"`         // settlements of deliveries that were handed out again meanwhile
}

// DeadLetters went to the dead-letter queue.
type DeadLetters struct {
	Rejected  uint64 `json:"rejected"`  // by a consumer
	Exhausted uint64 `json:"exhausted"` // too many attempts failed
}

// Drops are gone.
type Drops struct {
	Expired      uint64 `json:"expired"`
	Refused      uint64 `json:"refused"`       // rejected at the dead-letter queue itself
	Unreadable   uint64 `json:"unreadable"`    // dead, and no message any more
	Deleted      uint64 `json:"deleted"`       // their temporary queue is gone
	LeaderChange uint64 `json:"leader_change"` // not persistent, and the shard's leader ended
}

// Sum returns how many dead letters there were.
func (d DeadLetters) Sum() uint64 { return d.Rejected + d.Exhausted }

// Sum returns how many messages were dropped.
func (d Drops) Sum() uint64 { return d.Expired + d.Refused + d.Unreadable + d.Deleted + d.LeaderChange }

// Add adds the counts of another node.
func (c *Counts) Add(o Counts) {
	c.DeadLettered.Rejected += o.DeadLettered.Rejected
	c.DeadLettered.Exhausted += o.DeadLettered.Exhausted
	c.Dropped.Expired += o.Dropped.Expired
	c.Dropped.Refused += o.Dropped.Refused
	c.Dropped.Unreadable += o.Dropped.Unreadable
	c.Dropped.Deleted += o.Dropped.Deleted
	c.Dropped.LeaderChange += o.Dropped.LeaderChange
	c.Redelivered += o.Redelivered
	c.Stale += o.Stale
}

// DiskState says how a node's disk does.
type DiskState string

// The states of a disk.
const (
	DiskOK   DiskState = "ok"
	DiskLow  DiskState = "low"  // there is less room than disk-low
	DiskFull DiskState = "full" // less than disk-full: no node takes messages from its clients
	DiskNone DiskState = ""     // the node stores nothing, or its disk is not watched
)

// Listener is a port that clients connect to.
type Listener struct {
	Name      string `json:"name"`
	Protocol  string `json:"protocol"` // stomp, amqp, http, or any: told apart by the first byte
	Address   string `json:"address"`
	TLS       bool   `json:"tls"`
	WebSocket bool   `json:"websocket"`
}

// Queues answers [PathQueues].
type Queues struct {
	Queues []Queue `json:"queues"` // sorted by name
	// Missing says which queues the list lacks, for people; absent if it has all.
	Missing string `json:"missing,omitempty"`
}

// Queue is one queue of the cluster.
type Queue struct {
	Name         string  `json:"name"`
	Depth        int     `json:"depth"`     // messages, those in flight included
	InFlight     int     `json:"in_flight"` // handed out, not settled
	Consumers    int     `json:"consumers"`
	Bytes        int64   `json:"bytes"`
	InPerSecond  float64 `json:"in_per_second"`
	OutPerSecond float64 `json:"out_per_second"`
	Shard        int     `json:"shard"`
	Leader       string  `json:"leader"` // the node that leads the shard
}

// Readiness is the body of an answer 200 of [PathReady]. A node that refuses messages
// because a disk is nearly full is ready all the same: its consumers make room.
type Readiness struct {
	Status  string `json:"status"`            // "ready"
	Refuses string `json:"refuses,omitempty"` // why it takes no messages, for people; absent while it does
}

// Problem is the body of an error answer (RFC 9457).
type Problem struct {
	Type   string `json:"type"` // "about:blank": the status says it all
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail,omitempty"`
}

// EventReady is the value of [Ready.Event].
const EventReady = "ready"

// Ready is the one line on standard output that says that a node serves. The
// addresses are those in force: where port 0 was asked for, the port that was
// picked stands there. A listener that is switched off is empty.
type Ready struct {
	Event     string     `json:"event"`
	Node      string     `json:"node"`
	Version   string     `json:"version"`
	STOMP     string     `json:"stomp"`
	AMQP      string     `json:"amqp"`
	HTTP      string     `json:"http"`
	Cluster   string     `json:"cluster"`
	Listeners []Listener `json:"listeners"` // all that are on
}

// TraceFrame is one frame of a connection: what it asks for, passwords masked, and
// the length of what a message holds.
type TraceFrame struct {
	Time     string `json:"time"` // RFC 3339 with fractions
	Protocol string `json:"protocol"`
	Conn     string `json:"conn"`   // as in the node's log
	Client   string `json:"client"` // host:port
	User     string `json:"user,omitempty"`
	Sent     bool   `json:"sent"`              // by the node; otherwise by the client
	Frame    string `json:"frame"`             // lines
	Dropped  uint64 `json:"dropped,omitempty"` // frames lost so far, because the asker was slow
}
