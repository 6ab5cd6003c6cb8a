package cluster

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// A node that was killed while its embedded server did not know yet whose the logs
// were took a log of three replicas for its own: the next start found it shorter than
// it had been, and had nobody to repair it from.
func TestKnownReplica(t *testing.T) {
	three := []string{"a", "b", "c"}
	before := replicaState{Group: "g", Last: 7, Replicas: three}
	for _, c := range []struct {
		name          string
		clustered     bool
		found, before replicaState
		want          replicaState
	}{
		{"not assigned yet", true, replicaState{Last: 9, Replicas: []string{"a"}}, before, before},
		{"not assigned yet, and never seen", true, replicaState{Last: 9, Replicas: []string{"a"}}, replicaState{}, replicaState{}},
		{"assigned", true, replicaState{Group: "h", Last: 9, Replicas: three}, before, replicaState{Group: "h", Last: 9, Replicas: three}},
		{"assigned, of a node that was not met", true, replicaState{Group: "g", Last: 9, Replicas: []string{"a", "?b"}}, before, replicaState{Group: "g", Last: 9, Replicas: three}},
		{"the only one of a cluster", true, replicaState{Group: "g", Last: 9, Replicas: []string{"a"}}, replicaState{}, replicaState{Last: 9, Replicas: []string{"a"}}},
		{"alone", false, replicaState{Last: 9, Replicas: []string{"a"}}, replicaState{}, replicaState{Last: 9, Replicas: []string{"a"}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, knownReplica(c.clustered, c.found, c.before)); diff != "" {
				t.Errorf("state (-want +got):\n%s", diff)
			}
		})
	}
}
