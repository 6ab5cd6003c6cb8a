package cluster

import (
	"fmt"
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

// timers is what the variables were set to, 0: not yet. Servers read them at any time, and
// a process of tests runs several, so they are set once.
var timers struct {
	sync.Mutex
	election time.Duration
}

// setTimers derives all raft timers from the minimum election timeout, before the first
// server of a cluster runs in this process. They are the process's, not a node's: who comes
// later must have the same.
func setTimers(election time.Duration) error {
	timers.Lock()
	defer timers.Unlock()
	if timers.election != 0 && timers.election != election {
		return fmt.Errorf("cluster: Election: %v cannot be this node's, another one of this process has set %v", election, timers.election)
	}
	if timers.election == election {
		return nil
	}
	timers.election = election
	minElectionTimeout = election
	maxElectionTimeout = 2 * election
	hbInterval = election / 4
	lostQuorumInterval = 2 * election
	lostQuorumCheck = election
	streamCatchupStartInterval = 2 * election
	return nil
}
