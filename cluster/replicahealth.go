package cluster

import (
	"slices"
	"sync"
)

// ReplicaState says how this node's replica of a shard does.
type ReplicaState string

// The states of a replica that is not whole.
const (
	// ReplicaDamaged: it is not used, and waits until it can be repaired.
	ReplicaDamaged ReplicaState = "damaged"
	// ReplicaRepairing: it was emptied and is filled by the other replicas.
	ReplicaRepairing ReplicaState = "repairing"
)

// ReplicaHealth is what is known of a replica that is not whole.
type ReplicaHealth struct {
	Shard  int          `json:"shard"`
	State  ReplicaState `json:"state"`
	Reason string       `json:"reason"` // the damage, or what its repair waits for
}

// replicas is the health of a node's replicas. It is safe for concurrent use.
type replicas struct {
	tell func([]ReplicaHealth) // may be nil

	mu   sync.Mutex
	sick map[int]ReplicaHealth // by shard; what is not here is whole
	had  map[int]bool          // by shard: it had all that the others had, once
}

func newReplicas(tell func([]ReplicaHealth)) *replicas {
	return &replicas{tell: tell, sick: make(map[int]ReplicaHealth), had: make(map[int]bool)}
}

// set records the state of a replica.
func (r *replicas) set(h ReplicaHealth) {
	r.mu.Lock()
	same := r.sick[h.Shard] == h
	r.sick[h.Shard] = h
	r.mu.Unlock()
	if !same {
		r.publish()
	}
}

// heal records that a replica is whole.
func (r *replicas) heal(shard int) {
	r.mu.Lock()
	delete(r.sick, shard)
	r.mu.Unlock()
	r.publish()
}

// list returns the replicas that are not whole, by shard.
func (r *replicas) list() []ReplicaHealth {
	r.mu.Lock()
	defer r.mu.Unlock()
	list := make([]ReplicaHealth, 0, len(r.sick))
	for _, h := range r.sick {
		list = append(list, h)
	}
	slices.SortFunc(list, func(a, b ReplicaHealth) int { return a.Shard - b.Shard })
	return list
}

// whole says whether a replica is whole.
func (r *replicas) whole(shard int) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, sick := r.sick[shard]
	return !sick
}

// setFull records whether a replica ever had all that the others had.
func (r *replicas) setFull(shard int, full bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.had[shard] = full
}

// full says whether a replica had, at least once since it was made or emptied, all
// that the others had.
func (r *replicas) full(shard int) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.had[shard]
}

func (r *replicas) publish() {
	if r.tell != nil {
		r.tell(r.list())
	}
}

// Health returns the replicas of this node that are not whole, by shard.
func (n *Node) Health() []ReplicaHealth { return n.replicas.list() }
