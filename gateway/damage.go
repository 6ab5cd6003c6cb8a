package gateway

import (
	"errors"

	"github.com/selvedge-mq/selvedge/cluster"
	"github.com/selvedge-mq/selvedge/gateway/api"
)

// ErrRepair is the kind of errors that [Node.Run] returns when what the node
// stores was found damaged while it served: a new node on the same folder, in the
// same process or another, repairs it before it serves.
var ErrRepair = cluster.ErrReopen

// whyStops returns what clients are told of the reason for which a node ends: that it was
// told to is none.
func whyStops(err error) string {
	switch {
	case errors.Is(err, cluster.ErrStorage):
		return "its storage takes no more writes"
	case errors.Is(err, cluster.ErrDamaged):
		return "its storage is damaged"
	default:
		return ""
	}
}

// damagedOf translates what the cluster knows of replicas that are not whole.
func damagedOf(health []cluster.ReplicaHealth) []api.Damaged {
	if len(health) == 0 {
		return nil
	}
	out := make([]api.Damaged, 0, len(health))
	for _, h := range health {
		out = append(out, api.Damaged{Shard: h.Shard, State: string(h.State), Reason: h.Reason})
	}
	return out
}

// setDamaged sets which replicas of the node are not whole.
func (s *status) setDamaged(damaged []api.Damaged) {
	s.mu.Lock()
	s.self.Damaged = damaged
	s.mu.Unlock()
}

// repairState is a node's state, given which of its replicas are not whole.
func repairState(state api.NodeState, damaged []api.Damaged) api.NodeState {
	if len(damaged) > 0 && (state == api.NodeUp || state == api.NodeStarting) {
		return api.NodeRepairing
	}
	return state
}
