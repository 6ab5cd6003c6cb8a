// Package sim is a deterministic simulation of a cluster, as tests: the engines
// of several nodes in one process, over a log with raft's leaders, elections and
// late appends and over a network that cuts, delays and forgets, in virtual time.
// One seed makes one run, with its faults, its clients and its trace.
//
// It knows the engine by its contracts alone (engine.Fabric, engine.Log,
// engine.Peers, routing.Broker), and judges it by what passes through them and
// by its own reading of the log. It does not know NATS.
//
// docs/reliability.md says how to run a seed again.
package sim
