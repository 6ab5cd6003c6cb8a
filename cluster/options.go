package cluster

import (
	"cmp"
	"crypto/tls"
	"fmt"
	"net"
	"regexp"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
)

// Defaults of [Options].
const (
	DefaultReplicas      = 3
	DefaultShards        = 4
	DefaultElection      = 500 * time.Millisecond
	DefaultAppendTimeout = 2 * time.Second
	DefaultAcceptAfter   = 30 * time.Second
)

// Limits of [Options].
const (
	maxShards   = 256
	maxReplicas = 5 // of the embedded server
	minElection = 100 * time.Millisecond
	maxElection = 30 * time.Second
)

// nodeName is what a name of a node or cluster may look like: it becomes part of
// subjects and folder names.
var nodeName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$`)

// Options configure a node of the fabric.
type Options struct {
	// Node is the node's name, unique in the cluster and kept for life: it is the
	// identity of its replicas.
	Node string
	// Dir is the folder that this node's part of the logs is stored in. A
	// front-only node needs none.
	Dir string
	// Listen is host:port for the routes between nodes; empty means standalone.
	Listen string
	// Advertise is the host:port that other nodes reach this one at, when it is not
	// Listen.
	Advertise string
	// ClusterName is the name of the cluster; nodes of other clusters are refused.
	ClusterName string
	// Secret is what all nodes of the cluster know, and nobody else.
	Secret string
	// TLS encrypts the routes and verifies both ends; nil: they are in the clear. All
	// nodes have it or none.
	TLS *tls.Config
	// Seeds are addresses of nodes, this one among them or not: host:port, a
	// host name that stands for several addresses, or static:(tcp://a:1,tcp://b:1).
	Seeds []string
	// Replicas is how many nodes hold each log, if there are as many; 0 means
	// [DefaultReplicas]. A standalone node has one.
	Replicas int
	// Shards is the number of shards of a new cluster or folder; 0 means
	// [DefaultShards].
	Shards int
	// FrontOnly nodes store nothing: clients connect there, the logs are elsewhere.
	FrontOnly bool
	// SyncInterval is the time between two syncs to disk; 0 means: before each
	// confirmation.
	SyncInterval time.Duration
	// Scrub is how many bytes a second of this node's own files are read through to see
	// whether they are whole; 0: none.
	Scrub int64
	// DiskWatched says that whoever opened the node takes no messages any more before
	// the disk is full. Otherwise the logs take three quarters of what is free when the
	// node starts, and refuse settlements as well then.
	DiskWatched bool
	// Election is the minimum election timeout; the maximum is twice it, the
	// heartbeat a quarter. 0 means [DefaultElection]. All nodes must agree.
	Election time.Duration
	// AppendTimeout ends an append that stays silent; 0 means [DefaultAppendTimeout].
	AppendTimeout time.Duration
	// Audit makes the judge of the records of one log, for the verification of the
	// files before the node serves; nil: the checksums of the files must do.
	Audit func() Audit
	// Intact says whether a record that was read is undamaged; nil: it is.
	Intact func(rec []byte) error
	// AcceptLoss has a damaged shard begin empty that no other replica can repair:
	// what is in it is lost. Its files are kept aside.
	AcceptLoss bool
	// AcceptAfter is how long a repair without loss is tried before that; 0 means
	// [DefaultAcceptAfter].
	AcceptAfter time.Duration
	// OnHealth is told the replicas of this node that are not whole, at every
	// change, also while Open waits for their repair. It must not block.
	OnHealth func([]ReplicaHealth)
	// Log receives the life of the node.
	Log zerolog.Logger
	// Metrics is where the collectors are registered; nil means nowhere.
	Metrics prometheus.Registerer
	// Version is the program's version, shown to the other nodes.
	Version string
}

// withDefaults fills in what is zero.
func (o Options) withDefaults() Options {
	if o.Replicas == 0 {
		o.Replicas = DefaultReplicas
	}
	if o.Shards == 0 {
		o.Shards = DefaultShards
	}
	if o.Election == 0 {
		o.Election = DefaultElection
	}
	if o.AppendTimeout == 0 {
		o.AppendTimeout = DefaultAppendTimeout
	}
	if o.AcceptAfter == 0 {
		o.AcceptAfter = DefaultAcceptAfter
	}
	if !o.clustered() {
		o.Replicas = 1
	}
	return o
}

func (o *Options) clustered() bool { return o.Listen != "" }

// own is the address at which others reach the node.
func (o *Options) own() string { return cmp.Or(o.Advertise, o.Listen) }

// An OptionError says which of the [Options] is wrong.
type OptionError struct {
	Option string // the name of its field
	Err    error  // what is wrong with it, and what to do
}

// Error returns one line.
func (e *OptionError) Error() string { return "cluster: " + e.Option + ": " + e.Err.Error() }

// Unwrap returns what is wrong.
func (e *OptionError) Unwrap() error { return e.Err }

// wrong returns an OptionError.
func wrong(option, format string, args ...any) error {
	return &OptionError{option, fmt.Errorf(format, args...)}
}

// check says which field is wrong.
func (o *Options) check() error {
	switch {
	case !nodeName.MatchString(o.Node):
		return wrong("Node", "%q is not a name of letters, digits, - and _", o.Node)
	case o.Dir == "" && !o.FrontOnly:
		return wrong("Dir", "a node that stores needs a folder")
	case o.Shards < 1 || o.Shards > maxShards:
		return wrong("Shards", "%d is not in 1 to %d", o.Shards, maxShards)
	case o.Replicas < 1 || o.Replicas > maxReplicas:
		return wrong("Replicas", "%d is not in 1 to %d", o.Replicas, maxReplicas)
	case o.Election < minElection || o.Election > maxElection:
		return wrong("Election", "%v is not in %v to %v", o.Election, minElection, maxElection)
	case o.SyncInterval < 0:
		return wrong("SyncInterval", "%v is negative", o.SyncInterval)
	case o.Scrub < 0:
		return wrong("Scrub", "%d is negative", o.Scrub)
	case o.AppendTimeout < 0:
		return wrong("AppendTimeout", "%v is negative", o.AppendTimeout)
	case o.AcceptAfter < 0:
		return wrong("AcceptAfter", "%v is negative", o.AcceptAfter)
	}
	if o.clustered() {
		return o.checkCluster()
	}
	switch {
	case o.FrontOnly:
		return wrong("FrontOnly", "a front-only node needs Listen, ClusterName, Secret and Seeds")
	case len(o.Seeds) > 0:
		return wrong("Seeds", "seeds are given but Listen is empty")
	}
	return nil
}

// checkCluster checks what matters only with a cluster.
func (o *Options) checkCluster() error {
	switch {
	case !nodeName.MatchString(o.ClusterName):
		return wrong("ClusterName", "%q is not a name of letters, digits, - and _", o.ClusterName)
	case o.Secret == "":
		return wrong("Secret", "a cluster needs a secret, the same on all nodes")
	case len(o.Seeds) == 0:
		return wrong("Seeds", "a cluster needs seeds")
	}
	_, port, err := net.SplitHostPort(o.Listen)
	if err != nil {
		return wrong("Listen", "%w", err)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return wrong("Listen", "%q has no port number: the other nodes must know it", o.Listen)
	}
	if o.Advertise != "" {
		if _, _, err := net.SplitHostPort(o.Advertise); err != nil {
			return wrong("Advertise", "%w", err)
		}
	}
	return nil
}
