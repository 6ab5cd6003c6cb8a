package amqp

import (
	"net/url"
	"slices"
	"strings"

	"github.com/selvedge-mq/selvedge/protocols/amqp/frames"
	"github.com/selvedge-mq/selvedge/protocols/amqp/wire"
	"github.com/selvedge-mq/selvedge/routing"
)

// The terminus capabilities that say what kind of node is meant; clients of the
// JMS mapping set them.
const (
	capQueue     wire.Symbol = "queue"
	capTopic     wire.Symbol = "topic"
	capTempQueue wire.Symbol = "temporary-queue"
	capTempTopic wire.Symbol = "temporary-topic"
	capShared    wire.Symbol = "shared"
	capGlobal    wire.Symbol = "global"
)

// Dialect is whose spelling of addresses a front-end reads.
type Dialect string

// The dialects. All of them read a bare name as a queue, or as what the terminus
// capability says, and the prefixes queue://, topic://, temp-queue:// and
// temp-topic://, in which this broker tells addresses.
const (
	Artemis  Dialect = "artemis"  // address::queue names the queue
	ActiveMQ Dialect = "activemq" // nothing more
	RabbitMQ Dialect = "rabbitmq" // addresses of version 2, and of version 1
)

// prefix is a spelling that carries the kind in the name; it wins over a
// capability.
type prefix struct {
	text    string
	kind    routing.Kind
	escaped bool // the name is percent-encoded
}

var common = []prefix{
	{"queue://", routing.KindQueue, false},
	{"topic://", routing.KindTopic, false},
	{"temp-queue://", routing.KindTempQueue, false},
	{"temp-topic://", routing.KindTempTopic, false},
	{"/queues/", routing.KindQueue, true},
}

// prefixes gives the spellings of each dialect beside the common ones.
var prefixes = map[Dialect][]prefix{
	Artemis: {
		{"/queue/", routing.KindQueue, false},
		{"/topic/", routing.KindTopic, false},
	},
	ActiveMQ: {
		{"/queue/", routing.KindQueue, false},
		{"/topic/", routing.KindTopic, false},
	},
	RabbitMQ: {
		{"/exchanges/amq.topic/", routing.KindTopic, true},
		{"/exchange/amq.topic/", routing.KindTopic, false},
		{"/amq/queue/", routing.KindQueue, false},
		{"/queue/", routing.KindQueue, false},
		{"/topic/", routing.KindTopic, false},
	},
}

// reserved are names of management nodes of other brokers. Clients that ask for
// them must be refused, not given a queue on which nobody answers.
var reserved = map[string]struct{}{"$management": {}, "$cbs": {}, "/management": {}}

// speller reads addresses in one dialect.
type speller struct {
	dialect  Dialect
	prefixes []prefix
}

// newSpeller returns the reader of a dialect; the prefixes of queues and topics
// that clients are told to use may be empty.
func newSpeller(d Dialect, queues, topics string) speller {
	s := speller{dialect: d}
	if queues != "" {
		s.prefixes = append(s.prefixes, prefix{queues, routing.KindQueue, false})
	}
	if topics != "" {
		s.prefixes = append(s.prefixes, prefix{topics, routing.KindTopic, false})
	}
	s.prefixes = append(s.prefixes, common...)
	s.prefixes = append(s.prefixes, prefixes[d]...)
	return s
}

// plainSpeller reads addresses in messages, which belong to no listener.
var plainSpeller = newSpeller(Artemis, "", "")

// parse reads the address of a terminus or of properties.to. A bare name is a
// queue, or what the capabilities say.
func (s *speller) parse(text string, capabilities []wire.Symbol) (routing.Address, *frames.Error) {
	if _, ok := reserved[text]; ok {
		return routing.Address{}, frames.Errorf(frames.NotFound, "there is no node %s here", text)
	}
	a := routing.Address{Kind: kindOf(capabilities), Name: text}
	known := false
	for _, p := range s.prefixes {
		name, ok := strings.CutPrefix(text, p.text)
		if !ok {
			continue
		}
		known = true
		a = routing.Address{Kind: p.kind, Name: name}
		if p.escaped {
			plain, err := url.PathUnescape(name)
			if err != nil {
				return routing.Address{}, frames.Errorf(frames.InvalidField, "address %q: %v", text, err)
			}
			a.Name = plain
		}
		break
	}
	if !known {
		if bad := s.refuse(text); bad != nil {
			return routing.Address{}, bad
		}
	}
	if bad := s.qualified(&a, text); bad != nil {
		return routing.Address{}, bad
	}
	if err := a.Validate(); err != nil {
		return routing.Address{}, frames.Errorf(frames.InvalidField, "%v", err)
	}
	if bad := s.literal(a, text); bad != nil {
		return routing.Address{}, bad
	}
	return a, nil
}

// wildcards are the words of a name that stand for others at the dialect's broker.
// Those of Artemis have ActiveMQ's too, since its clients come with this dialect.
var wildcards = map[Dialect][]string{Artemis: {"*", "#", ">"}, ActiveMQ: {"*", "#", ">"}, RabbitMQ: {"*", "#"}}

// literal refuses a name with a meaning at the dialect's broker that this version
// does not have: taken literally, it would deliver less.
func (s *speller) literal(a routing.Address, text string) *frames.Error {
	queue := a.Kind == routing.KindQueue
	switch {
	case !queue && a.Kind != routing.KindTopic:
		return nil
	case s.dialect == ActiveMQ && strings.Contains(a.Name, ","):
		return frames.Errorf(frames.NotImplemented, "address %q: several addresses in one name are not supported: attach a link to each", text)
	case queue && s.dialect == RabbitMQ: // its patterns are of bindings, never of queues
		return nil
	}
	for word := range strings.SplitSeq(a.Name, ".") {
		if slices.Contains(wildcards[s.dialect], word) {
			return frames.Errorf(frames.NotImplemented, "address %q: wildcards are not supported yet", text)
		}
	}
	return nil
}

// refuse says why a name without a known prefix cannot be a queue of this
// dialect: an exchange that RabbitMQ would have, and this broker has not.
func (s *speller) refuse(text string) *frames.Error {
	if s.dialect == RabbitMQ && (strings.HasPrefix(text, "/exchanges/") || strings.HasPrefix(text, "/exchange/")) {
		return frames.Errorf(frames.NotFound, "address %q: of the exchanges there is amq.topic alone: write /exchanges/amq.topic/KEY, or /queues/NAME", text)
	}
	return nil
}

// qualified takes the queue out of Artemis' address::queue.
func (s *speller) qualified(a *routing.Address, text string) *frames.Error {
	address, queue, ok := strings.Cut(a.Name, "::")
	if s.dialect != Artemis || a.Kind != routing.KindQueue || !ok {
		return nil
	}
	if address == "" || queue == "" {
		return frames.Errorf(frames.InvalidField, "address %q: want address::queue", text)
	}
	a.Name = queue
	return nil
}

// bySubject reports whether a target is an exchange without a routing key: then
// the subject of each message is the name of its topic. (RabbitMQ)
func (s *speller) bySubject(text string) bool {
	return s.dialect == RabbitMQ && (text == "/exchanges/amq.topic" || text == "/exchange/amq.topic" || text == "/topic")
}

func kindOf(capabilities []wire.Symbol) routing.Kind {
	for _, c := range capabilities {
		switch c {
		case capQueue:
			return routing.KindQueue
		case capTopic:
			return routing.KindTopic
		case capTempQueue:
			return routing.KindTempQueue
		case capTempTopic:
			return routing.KindTempTopic
		}
	}
	return routing.KindQueue
}
