// Package integration holds the black-box tests: the real binary as processes
// on loopback, foreign clients, and faults. It knows a node by its command
// line, its listeners and its admin API, and nothing of what is inside.
package integration
