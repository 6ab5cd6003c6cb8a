//go:build !race

package clustertest

import "time"

// Election is the election timeout of the nodes, unless configure sets another,
// long enough that leaders do not change because the machine is busy: three nodes
// share the machine with other tests.
const Election = time.Second
