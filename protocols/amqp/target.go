package amqp

import (
	"slices"

	"github.com/selvedge-mq/selvedge/protocols/amqp/frames"
	"github.com/selvedge-mq/selvedge/routing"
)

// destination reads where a client's sender wants its messages. A target
// without an address is the anonymous terminus: each message says for itself.
// [messaging 3.5.4] (OASIS anonterm 2.2)
func (f *Frontend) destination(a *frames.Attach) (to routing.Address, n naming, bad *frames.Error) {
	switch t := a.Target; {
	case a.Coordinator != nil:
		return to, byTarget, nil
	case a.Source == nil:
		return to, byTarget, frames.Errorf(frames.InvalidField, "a sender needs a source")
	case t == nil:
		return to, byTarget, frames.Errorf(frames.InvalidField, "a sender needs a target")
	case t.Dynamic: // its node is made next
		return to, byTarget, nil
	case !t.Address.Set:
		return to, byTo, nil
	case f.speller.bySubject(t.Address.Value):
		return to, bySubject, nil
	default:
		to, bad = f.speller.parse(t.Address.Value, t.Capabilities)
		return to, byTarget, bad
	}
}

// answerTarget is the target in force, with the address byte for byte.
func answerTarget(asked *frames.Target, r retention) *frames.Target {
	t := &frames.Target{Address: asked.Address, Capabilities: known(asked.Capabilities)}
	if asked.ExpiryPolicy != "" || asked.Timeout != 0 {
		t.ExpiryPolicy, t.Timeout = r.policy, r.seconds()
	}
	return t
}

// mayReject reports whether a sender can be told of a rejection. An empty list
// of outcomes means all: clients that leave it empty expect rejections.
func mayReject(src *frames.Source) bool {
	return len(src.Outcomes) == 0 || slices.Contains(src.Outcomes, frames.OutcomeRejected)
}
