//go:build race

package sim_test

// raceEnabled says that the race detector watches: seeds take ten times as long.
const raceEnabled = true
