package prototest

import "runtime"

// Footprint returns the octets of what is reachable and of all stacks, behind two
// collections: what a test holds the cost of connections to.
func Footprint() int {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc + m.StackInuse) //nolint:gosec // far below 2^63
}
