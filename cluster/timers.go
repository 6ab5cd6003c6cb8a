package cluster

import (
	"sync"
	"time"
	_ "unsafe" // for go:linkname
)

// The raft timers of the embedded server are variables of its package, and there
// is no option for them. With its own values a killed leader costs about five
// seconds, with half-second elections about one. TestTimers_NamesExist fails
// when a name vanishes: then the variable here is a new one, with the value 0.

//go:linkname minElectionTimeout github.com/nats-io/nats-server/v2/server.minElectionTimeout
var minElectionTimeout time.Duration

//go:linkname maxElectionTimeout github.com/nats-io/nats-server/v2/server.maxElectionTimeout
var maxElectionTimeout time.Duration

//go:linkname hbInterval github.com/nats-io/nats-server/v2/server.hbInterval
var hbInterval time.Duration

//go:linkname lostQuorumInterval github.com/nats-io/nats-server/v2/server.lostQuorumInterval
var lostQuorumInterval time.Duration

//go:linkname lostQuorumCheck github.com/nats-io/nats-server/v2/server.lostQuorumCheck
var lostQuorumCheck time.Duration

// How long a replica waits for the first record that it asked its leader for. A
// question that was asked a moment before the new leader listened is lost: after a
// restart of all, a node was not ready before these five seconds had passed.
//
//go:linkname streamCatchupStartInterval github.com/nats-io/nats-server/v2/server.streamCatchupStartInterval
var streamCatchupStartInterval time.Duration

// timersMu guards the variables against two nodes opened at once in one process.
var timersMu sync.Mutex

// setTimers derives all raft timers from the minimum election timeout. The values
// are the process's, not a node's: they are set before any server runs, and all nodes
// of a process must have the same; setting them again changes nothing.
func setTimers(election time.Duration) {
	timersMu.Lock()
	defer timersMu.Unlock()
	if minElectionTimeout == election {
		return
	}
	minElectionTimeout = election
	maxElectionTimeout = 2 * election
	hbInterval = election / 4
	lostQuorumInterval = 2 * election
	lostQuorumCheck = election
	streamCatchupStartInterval = 2 * election
}
