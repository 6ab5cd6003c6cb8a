package amqp

import (
	"math"
	"time"

	"github.com/selvedge-mq/selvedge/protocols/amqp/frames"
	"github.com/selvedge-mq/selvedge/protocols/amqp/wire"
)

// occasion is what ended a link, in the order in which more and more of what it
// belonged to has ended with it.
type occasion uint8

const (
	linkEnded       occasion = iota // a detach that is not closing, or the link was stolen
	sessionEnded                    // with or without an end
	connectionEnded                 // with or without a close
)

// retention says how long the state of a link's unsettled deliveries is kept once
// the link has ended: its terminus expires some time after its policy's occasion.
// [messaging 3.5.6]
type retention struct {
	policy  wire.Symbol
	timeout time.Duration
}

// occasions are those at which the timeout of a terminus starts; the policy never
// has none.
var occasions = map[wire.Symbol]occasion{
	frames.ExpireLinkDetach: linkEnded, frames.ExpireSessionEnd: sessionEnded, frames.ExpireConnectionClose: connectionEnded,
}

// retain returns what is in force of what a terminus asks for: no state outlives
// its connection for longer than most.
func retain(policy wire.Symbol, seconds uint32, most time.Duration) retention {
	r := retention{policy, min(time.Duration(seconds)*time.Second, most)}
	if r.policy == frames.ExpireNever {
		return retention{frames.ExpireConnectionClose, most}
	}
	if _, known := occasions[r.policy]; !known {
		r.policy = frames.ExpireSessionEnd
	}
	return r
}

// seconds returns the timeout as a terminus says it.
func (r retention) seconds() uint32 {
	return uint32(min(r.timeout/time.Second, math.MaxUint32)) //nolint:gosec // never negative
}

// outlives reports whether something is kept beyond that occasion.
func (r retention) outlives(o occasion) bool { return r.timeout > 0 || occasions[r.policy] > o }

// starts reports whether the timeout starts at that occasion, or has started.
func (r retention) starts(o occasion) bool { return o >= occasions[r.policy] }
