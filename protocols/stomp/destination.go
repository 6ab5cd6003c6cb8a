package stomp

import (
	"net/url"
	"strings"

	"github.com/selvedge-mq/selvedge/routing"
)

// Beginnings of destinations that name a temporary one.
const (
	tempQueue       = "/temp-queue/" // of this connection alone, made at its first use
	tempTopic       = "/temp-topic/"
	remoteTempQueue = "/remote-temp-queue/" // by its name in the cluster
	remoteTempTopic = "/remote-temp-topic/"
	replyQueue      = "/reply-queue/"
)

// prefixes maps the beginnings of destinations to kinds, in the spellings of
// ActiveMQ, RabbitMQ and Artemis.
var prefixes = []struct {
	prefix string
	kind   routing.Kind
	own    bool // a short name of the connection, not of the cluster
}{
	{"/queue/", routing.KindQueue, false},
	{"/topic/", routing.KindTopic, false},
	{tempQueue, routing.KindTempQueue, true},
	{tempTopic, routing.KindTempTopic, true},
	{remoteTempQueue, routing.KindTempQueue, false},
	{remoteTempTopic, routing.KindTempTopic, false},
	{replyQueue, routing.KindTempQueue, false},
	{"/amq/queue/", routing.KindQueue, false},
	{"queue://", routing.KindQueue, false},
	{"topic://", routing.KindTopic, false},
	{"temp-queue://", routing.KindTempQueue, false},
	{"temp-topic://", routing.KindTempTopic, false},
}

// laterPrefixes begin destinations that this version does not have.
var laterPrefixes = []string{"/exchange/", "/dsub/"}

// destination is a destination header once understood.
type destination struct {
	address   routing.Address
	name      string        // as the client spelled it
	bare      bool          // without a prefix: a type header may say the kind
	own       bool          // a temporary one by its short name; the address is yet to be found
	qualifier string        // the queue of a topic that address::queue names
	canonical []byte        // what others see, when it is not what the client spelled
	parts     []destination // of a composite one
}

// maxParts is how many destinations a composite one may have, maxComposite how
// many octets.
const (
	maxParts     = 64
	maxComposite = 8 << 10
)

// maxDestinations is how many destinations a connection remembers.
const maxDestinations = 256

// resolve returns the destination that a header names; it remembers the last
// ones, so that a SEND needs no memory for its address. The first use of a
// temporary destination's short name makes it.
func (m *machine) resolve(header []byte) (destination, error) {
	if d, ok := m.destinations[string(header)]; ok {
		return d, nil
	}
	d, err := m.fe.dialect.parse(string(header))
	if err == nil && d.own {
		d.address, err = m.temporary(d)
		d.canonical = []byte(m.fe.dialect.spell(d.address))
	}
	if err != nil {
		return d, err
	}
	if m.destinations == nil || len(m.destinations) >= maxDestinations {
		m.destinations = make(map[string]destination)
	}
	m.destinations[d.name] = d
	return d, nil
}

// parseComposite reads several destinations with commas between them. Those
// without a prefix take that of the first.
func (b *behavior) parseComposite(s string) (destination, error) {
	d := destination{name: s}
	words := strings.Split(s, ",")
	if len(words) > maxParts || len(s) > maxComposite {
		return d, invalid("Illegal destination name: a composite one has at most %d parts and %d octets", maxParts, maxComposite)
	}
	prefix := ""
	for i, word := range words {
		word = strings.TrimSpace(word)
		if i > 0 && !strings.HasPrefix(word, "/") && !strings.Contains(word, "://") {
			word = prefix + word
		}
		part, err := b.parse(word)
		switch {
		case err != nil:
			return d, err
		case part.own || part.qualifier != "":
			return d, notSupported("a composite destination of temporary ones or of queues of a topic is not supported: %s", s)
		case i == 0:
			prefix = word[:len(word)-len(part.address.Name)]
		}
		part.canonical = []byte(word)
		d.parts = append(d.parts, part)
	}
	d.address = d.parts[0].address
	return d, nil
}

// parse reads a destination.
func (b *behavior) parse(s string) (destination, error) {
	if b.composite && strings.Contains(s, ",") {
		return b.parseComposite(s)
	}
	d := destination{name: s, bare: true, address: routing.Address{Kind: b.bare, Name: s}}
	for _, p := range laterPrefixes {
		if strings.HasPrefix(s, p) {
			return d, notSupported("destinations that begin with %s are not supported yet", p)
		}
	}
	for _, p := range prefixes {
		if name, ok := strings.CutPrefix(s, p.prefix); ok {
			d.address, d.own, d.bare = routing.Address{Kind: p.kind, Name: name}, p.own, false
			break
		}
	}
	if d.bare && strings.HasPrefix(s, "/") {
		return d, unknownDestination(s)
	}
	if b.percent && !d.own {
		if err := d.decode(); err != nil {
			return d, err
		}
	}
	if err := b.qualify(&d); err != nil {
		return d, err
	}
	if err := d.address.Validate(); err != nil {
		return d, invalid("Illegal destination name: %v", err).titled(titleDestination, "'%s' is not a valid %v destination\n", s, d.address.Kind)
	}
	return d, b.check(&d)
}

func unknownDestination(s string) error {
	w := invalid("Illegal destination name: [%s] -- STOMP destinations begin with one of: /queue/ /topic/ /temp-queue/ /temp-topic/", s)
	return w.titled("Unknown destination",
		"'%s' is not a valid destination.\nValid destination types are: /temp-queue, /topic, /queue, /amq/queue, /reply-queue/.\n", s)
}

// decode reads RabbitMQ's percent encoding, in which a slash is no part of a name.
func (d *destination) decode() error {
	name, err := url.PathUnescape(d.address.Name)
	if err != nil || (strings.Contains(d.address.Name, "/") && !strings.HasPrefix(d.name, replyQueue)) {
		return invalid("Illegal destination name: [%s]", d.name).titled(
			titleDestination, "'%s' is not a valid %v destination\n", d.name, d.address.Kind)
	}
	d.address.Name = name
	return nil
}

// qualify reads address::queue. A queue of a topic is a subscription that several
// consumers may share; a queue's own queue is the queue.
func (b *behavior) qualify(d *destination) error {
	address, queue, ok := strings.Cut(d.address.Name, "::")
	if !ok || !b.qualified {
		return nil
	}
	switch {
	case address == "" || queue == "":
		return invalid("Illegal destination name: [%s] -- want address::queue", d.name)
	case address == queue && (d.bare || d.address.Kind == routing.KindQueue):
		d.address = routing.Queue(queue)
	case d.bare || d.address.Kind == routing.KindTopic:
		d.address, d.qualifier = routing.Topic(address), queue
	default:
		return notSupported("a queue of another name than its address is not supported: %s", d.name)
	}
	d.bare = false
	return nil
}

// check refuses names with a meaning in the dialect's broker that this version
// does not have: taken literally they would deliver less.
func (b *behavior) check(d *destination) error {
	name, queue := d.address.Name, d.address.Kind == routing.KindQueue
	switch {
	case b.legacy && queue && strings.HasPrefix(name, "Consumer.") && strings.Contains(name, ".VirtualTopic."):
		return notSupported("queues of virtual topics are not supported yet: %s", d.name)
	case queue && !b.queueWildcards, temporary(d.address.Kind):
		return nil
	}
	for part := range strings.SplitSeq(name, ".") {
		if part == "*" || (len(part) == 1 && strings.Contains(b.restWords, part)) {
			return notSupported("wildcard destinations are not supported yet: %s", d.name)
		}
	}
	return nil
}

// withType applies Artemis's destination-type or subscription-type to a bare name.
func (d destination) withType(header string) (destination, error) {
	if !d.bare {
		return d, nil
	}
	switch header {
	case "ANYCAST":
		d.address.Kind = routing.KindQueue
	case "MULTICAST":
		d.address.Kind = routing.KindTopic
	default:
		return d, invalid("a destination type is ANYCAST or MULTICAST, not %s", header)
	}
	return d, nil
}

func temporary(k routing.Kind) bool { return k == routing.KindTempQueue || k == routing.KindTempTopic }

// spell returns the destination of an address for those who did not name it
// themselves. Every dialect reads it.
func (b *behavior) spell(a routing.Address) string {
	name := a.Name
	if b.percent {
		name = url.PathEscape(name)
	}
	switch a.Kind {
	case routing.KindTopic:
		return "/topic/" + name
	case routing.KindTempTopic:
		return remoteTempTopic + name
	case routing.KindTempQueue:
		return b.replyPrefix + name
	case routing.KindQueue:
	}
	return "/queue/" + name
}
