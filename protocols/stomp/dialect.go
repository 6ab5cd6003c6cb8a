package stomp

import (
	"fmt"

	"github.com/selvedge-mq/selvedge/routing"
)

// Dialect is the broker whose clients a listener serves. Most of what the
// brokers do differently can be served to all their clients at once; a dialect
// settles the rest. docs/stomp.md has the table.
type Dialect string

// The dialects; the empty one is [ActiveMQ].
const (
	ActiveMQ Dialect = "activemq"
	Artemis  Dialect = "artemis"
	RabbitMQ Dialect = "rabbitmq"
	Strict   Dialect = "strict" // the specification's words, and nothing that it does not allow
)

// behavior is a dialect with its switches, resolved.
type behavior struct {
	nack           Nack
	nackCumulative bool // NACK covers what came before it, in client mode
	bare           routing.Kind
	receiptAtOnce  bool
	lateAckError   bool
	clientIDs      ClientIDs
	keepOpen       bool
	server         string    // the whole header, or empty: product, version, suffix
	suffix         string    // names the dialect behind the product
	shortErrors    bool      // message is RabbitMQ's title, the reason stands in the body
	refused        string    // the words for a wrong password, % is the user
	wrongVersion   [2]string // message and body for versions that are not spoken, % are these
	hosts          []string  // nil for any

	restWords      string // one-octet words that stand for several words of a name
	queueWildcards bool   // queues have wildcards too
	composite      bool   // a comma separates destinations
	qualified      bool   // address::queue names a queue of an address
	percent        bool   // %2F is a slash inside a name, and a slash is none
	replyPrefix    string // of a temporary queue in reply-to, as others see it
	implicitReply  bool   // reply-to subscribes, and SUBSCRIBE to a temporary queue is an error

	windowBytes      bool // activemq.prefetchSize counts octets
	idOptional       bool // SUBSCRIBE and UNSUBSCRIBE may have no id
	legacy           bool // words that begin with SUB and UNSUB are commands; in 1.0 a destination names a subscription with an id; queues of virtual topics
	refusesMessageID bool // SEND with message-id is an error
	arguments        bool // x-… headers declare a queue
	connectReceipt   bool // CONNECTED repeats receipt and request-id of CONNECT
	flags            bool // MESSAGE says redelivered:false and persistent:false
	length           bool // MESSAGE always has content-length
	strict           bool // nothing that clients may count on but the specification does not allow
}

// spokenVersions are the specification's words. [STOMP 1.2 Protocol Negotiation]
const spokenVersions = "Supported protocol versions are 1.0 1.1 1.2"

// dialects are the presets. Wildcards of both families are known in all but
// RabbitMQ's: nobody uses them as words of a literal name.
var dialects = map[Dialect]behavior{
	ActiveMQ: {
		nack: NackDeadLetter, bare: routing.KindQueue, receiptAtOnce: true, suffix: "ActiveMQ", clientIDs: ClientIDsTakeOver,
		refused:      "User name [%] or password is invalid.",
		wrongVersion: [2]string{"Invalid Protocol version[%], supported versions are: [1.2, 1.1, 1.0]", spokenVersions},
		restWords:    ">#", queueWildcards: true, composite: true, qualified: true, replyPrefix: remoteTempQueue,
		connectReceipt: true, legacy: true,
	},
	Artemis: {
		nack: NackDeadLetter, nackCumulative: true, bare: routing.KindTopic, receiptAtOnce: true, suffix: "ActiveMQ-Artemis", clientIDs: ClientIDsShare,
		refused:      "Security Error occurred: User name [%] or password is invalid",
		wrongVersion: [2]string{"Stomp versions not supported: %", "Supported protocol versions are v1.0 v1.1 v1.2"},
		restWords:    ">#", queueWildcards: true, qualified: true, replyPrefix: remoteTempQueue,
		windowBytes: true, idOptional: true, connectReceipt: true, flags: true,
	},
	RabbitMQ: {
		nack: NackRequeue, nackCumulative: true, bare: routing.KindQueue, suffix: "RabbitMQ", clientIDs: ClientIDsShare, shortErrors: true, hosts: []string{"/"},
		wrongVersion: [2]string{"Version mismatch", "Supported versions are 1.0,1.1,1.2\n"},
		restWords:    "#", percent: true, replyPrefix: replyQueue, implicitReply: true,
		idOptional: true, refusesMessageID: true, arguments: true, flags: true, length: true,
	},
	Strict: {
		nack: NackRequeue, nackCumulative: true, bare: routing.KindQueue, receiptAtOnce: true, lateAckError: true, clientIDs: ClientIDsShare,
		wrongVersion: [2]string{spokenVersions, spokenVersions},
		restWords:    ">#", queueWildcards: true, replyPrefix: remoteTempQueue, length: true, strict: true,
	},
}

// neutral reads destinations where no connection says the dialect.
var neutral = dialects[ActiveMQ]

// resolve applies the switches to the dialect's preset.
func (d Dialect) resolve(s Switches) (*behavior, error) {
	if d == "" {
		d = ActiveMQ
	}
	b, ok := dialects[d]
	if !ok {
		return nil, fmt.Errorf("stomp: Options.Dialect is %q, want activemq, artemis, rabbitmq or strict", d)
	}
	if err := s.apply(&b); err != nil {
		return nil, err
	}
	b.server, b.keepOpen = s.Server, s.KeepOpen
	if len(s.Hosts) > 0 {
		b.hosts = s.Hosts
	}
	return &b, nil
}

// admitsHost reports whether CONNECT may name that virtual host.
func (b *behavior) admitsHost(name string) bool {
	if b.hosts == nil {
		return true
	}
	for _, h := range b.hosts {
		if h == name || h == "*" {
			return true
		}
	}
	return false
}
