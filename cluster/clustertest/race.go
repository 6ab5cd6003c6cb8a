//go:build race

package clustertest

import "time"

// Election is the election timeout of the nodes, unless configure sets another,
// long enough that leaders do not change because the machine is busy: with the race
// detector everything takes several times as long.
const Election = 3 * time.Second
