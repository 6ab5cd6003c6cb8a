package amqp

import (
	"slices"
	"strings"

	"github.com/selvedge-mq/selvedge/protocols/amqp/frames"
	"github.com/selvedge-mq/selvedge/protocols/amqp/wire"
	"github.com/selvedge-mq/selvedge/routing"
)

// The descriptors of the filters that are understood, by code and by symbol.
// (AMQP filters registry)
const (
	codeSelector   uint64      = 0x0000468C00000004
	codeNoLocal    uint64      = 0x0000468C00000003
	symbolSelector wire.Symbol = "apache.org:selector-filter:string"
	symbolNoLocal  wire.Symbol = "apache.org:no-local-filter:list"
)

// outcomes are those that a receiver may choose from. [messaging 3.4]
var outcomes = []wire.Symbol{
	frames.OutcomeAccepted, frames.OutcomeRejected, frames.OutcomeReleased, frames.OutcomeModified,
}

// checkReceiver refuses the attach of a client's receiver that no source can
// serve. [messaging 3.5.3]
func checkReceiver(a *frames.Attach) *frames.Error {
	switch {
	case a.Source == nil:
		return frames.Errorf(frames.NotFound, "no subscription of that name is known")
	case a.Target == nil:
		return frames.Errorf(frames.InvalidField, "a receiver needs a target")
	case a.Source.Dynamic:
	case !a.Source.Address.Set:
		return frames.Errorf(frames.InvalidField, "a source needs an address")
	}
	return nil
}

// subscription reads what a client's receiver asks for. [messaging 3.5.3]
func subscription(a *frames.Attach, address routing.Address) (routing.SubscribeOptions, *frames.Error) {
	var o routing.SubscribeOptions
	src := a.Source
	o.Address = address
	o.Settled = a.SndSettleMode.Set && a.SndSettleMode.Value == frames.SenderSettled
	topic := address.Kind == routing.KindTopic || address.Kind == routing.KindTempTopic
	// A copy of a queue is browsing; of a topic every subscription gets one.
	o.Browse = src.DistributionMode == frames.DistributionCopy && !topic
	if topic {
		o.Shared = slices.Contains(src.Capabilities, capShared)
		if src.Durable != frames.DurableNone || src.ExpiryPolicy == frames.ExpireNever || o.Shared {
			o.Durable, _, _ = strings.Cut(a.Name, "|")
		}
	}
	return o, readFilters(src.Filter, &o)
}

// readFilters puts the filters into the options. A filter that is not
// understood refuses the link: clients do not check which are in force, and a
// dropped one would hand out wrong messages. [messaging 3.5.8]
func readFilters(filters wire.Map, o *routing.SubscribeOptions) *frames.Error {
	for _, f := range filters {
		d, ok := f.Value.(wire.Described)
		if !ok {
			return frames.Errorf(frames.InvalidField, "filter %v is not a described value", f.Key)
		}
		switch d.Descriptor {
		case codeSelector, symbolSelector:
			text, ok := d.Value.(string)
			if !ok {
				return frames.Errorf(frames.InvalidField, "filter %v is not a string", f.Key)
			}
			o.Selector = text
		case codeNoLocal, symbolNoLocal:
			o.NoLocal = true
		default:
			return frames.Errorf(frames.NotImplemented, "filter %v is not supported", f.Key)
		}
	}
	return nil
}

// answerSource is the source in force: the address as the client spelled it,
// byte for byte, because clients compare. [messaging 3.5.3]
func answerSource(asked *frames.Source, o *routing.SubscribeOptions, r retention) *frames.Source {
	src := &frames.Source{
		Address: asked.Address, Dynamic: asked.Dynamic,
		DistributionMode: frames.DistributionMove,
		Filter:           asked.Filter,
		DefaultOutcome:   asked.DefaultOutcome,
		Outcomes:         outcomes,
		Capabilities:     known(asked.Capabilities),
	}
	switch {
	case asked.Dynamic:
		src.DynamicProperties, src.ExpiryPolicy = asked.DynamicProperties, asked.ExpiryPolicy
	case o.Durable != "":
		src.Durable, src.ExpiryPolicy, src.Timeout = asked.Durable, asked.ExpiryPolicy, asked.Timeout
	case asked.ExpiryPolicy != "" || asked.Timeout != 0:
		src.ExpiryPolicy, src.Timeout = r.policy, r.seconds()
	}
	if o.Browse || asked.DistributionMode == frames.DistributionCopy {
		src.DistributionMode = frames.DistributionCopy
	}
	if src.DefaultOutcome.Kind == frames.StateNone {
		src.DefaultOutcome.Kind = frames.StateReleased
	}
	return src
}

// known keeps the capabilities that this node gives.
func known(capabilities []wire.Symbol) []wire.Symbol {
	var have []wire.Symbol
	for _, c := range capabilities {
		switch c {
		case capQueue, capTopic, capTempQueue, capTempTopic, capShared, capGlobal:
			have = append(have, c)
		}
	}
	return have
}

// defaultOutcome is what a delivery gets that is unsettled when its link ends.
// [messaging 3.5.3]
func defaultOutcome(src *frames.Source) routing.Outcome {
	if o, ok := outcomeOf(&src.DefaultOutcome); ok {
		return o
	}
	return routing.Outcome{Kind: routing.Released}
}
