//go:build !race

package sim_test

// raceEnabled says that the race detector watches.
const raceEnabled = false
