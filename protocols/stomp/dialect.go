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

// Nack is what NACK does with a message.
type Nack string

// The outcomes of NACK; the empty one follows the dialect. A header requeue on
// the frame always wins.
const (
	NackDeadLetter Nack = "dead-letter" // to the dead-letter address, at once
	NackRequeue    Nack = "requeue"     // back to its place, the attempt counts
	NackAccept     Nack = "accept"      // consumed, as ACK
)

// Bare is what a destination without a prefix names.
type Bare string

// The kinds of bare names; the empty one follows the dialect.
const (
	BareQueue Bare = "queue"
	BareTopic Bare = "topic"
)

// TransactionReceipt is when a SEND inside a transaction is answered.
type TransactionReceipt string

// The moments; the empty one follows the dialect.
const (
	ReceiptAtOnce   TransactionReceipt = "at-once"   // when the transaction holds the message
	ReceiptAtCommit TransactionReceipt = "at-commit" // when it is committed
)

// LateAck is the answer to an acknowledgment that names no delivery under way.
type LateAck string

// The answers; the empty one follows the dialect.
const (
	// LateAckLenient ignores it where a client can hardly know better: in an auto
	// subscription, and after UNSUBSCRIBE. Otherwise it is an ERROR.
	LateAckLenient LateAck = "lenient"
	LateAckError   LateAck = "error"
)

// ClientIDs is how many connections to a node may have the same client-id.
type ClientIDs string

// The rules; the empty one follows the dialect.
const (
	ClientIDsShare    ClientIDs = "share"     // any number
	ClientIDsRefuse   ClientIDs = "refuse"    // one: the second is refused, as by ActiveMQ
	ClientIDsTakeOver ClientIDs = "take-over" // one: the second ends the first of the same user, and is refused by that of another
)

// Switches settle single points that the dialect presets. A zero field follows
// the dialect.
type Switches struct {
	Nack               Nack
	Bare               Bare
	TransactionReceipt TransactionReceipt
	LateAck            LateAck
	ClientIDs          ClientIDs
	// KeepOpen keeps the connection open behind an ERROR about a single request, as
	// the three brokers do. The specification closes it, and so does every dialect.
	KeepOpen bool
	// Server is the whole value of CONNECTED's header server.
	Server string
	// Hosts are the virtual hosts that CONNECT may name; "*" stands for any. A
	// CONNECT without host is admitted.
	Hosts []string
}

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
	legacy           bool // words that begin with SUB and UNSUB are commands; in 1.0 a destination names a subscription with an id
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
		nack: NackDeadLetter, bare: routing.KindQueue, receiptAtOnce: true, suffix: "ActiveMQ", clientIDs: ClientIDsRefuse,
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
	switch s.Nack {
	case "":
	case NackDeadLetter, NackRequeue, NackAccept:
		b.nack = s.Nack
	default:
		return nil, fmt.Errorf("stomp: Switches.Nack is %q, want dead-letter, requeue or accept", s.Nack)
	}
	switch s.Bare {
	case "":
	case BareQueue:
		b.bare = routing.KindQueue
	case BareTopic:
		b.bare = routing.KindTopic
	default:
		return nil, fmt.Errorf("stomp: Switches.Bare is %q, want queue or topic", s.Bare)
	}
	switch s.TransactionReceipt {
	case "":
	case ReceiptAtOnce, ReceiptAtCommit:
		b.receiptAtOnce = s.TransactionReceipt == ReceiptAtOnce
	default:
		return nil, fmt.Errorf("stomp: Switches.TransactionReceipt is %q, want at-once or at-commit", s.TransactionReceipt)
	}
	switch s.LateAck {
	case "":
	case LateAckLenient, LateAckError:
		b.lateAckError = s.LateAck == LateAckError
	default:
		return nil, fmt.Errorf("stomp: Switches.LateAck is %q, want lenient or error", s.LateAck)
	}
	switch s.ClientIDs {
	case "":
	case ClientIDsShare, ClientIDsRefuse, ClientIDsTakeOver:
		b.clientIDs = s.ClientIDs
	default:
		return nil, fmt.Errorf("stomp: Switches.ClientIDs is %q, want share, refuse or take-over", s.ClientIDs)
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
