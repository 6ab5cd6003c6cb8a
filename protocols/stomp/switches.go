package stomp

import (
	"fmt"
	"slices"
	"strings"

	"github.com/selvedge-mq/selvedge/routing"
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

// Commas is what a comma in a destination means.
type Commas string

// The meanings; the empty one follows the dialect.
const (
	CommasSeparate Commas = "separate" // several destinations, each of which gets the message
	CommasLiteral  Commas = "literal"  // a part of the name
)

// Slashes is how a slash stands in a name.
type Slashes string

// The spellings; the empty one follows the dialect.
const (
	SlashesLiteral Slashes = "literal" // as itself
	SlashesEncoded Slashes = "encoded" // as %2F; a slash as itself is an error
)

// Wildcards is which words of a name stand for one word and for several.
type Wildcards string

// The families; the empty one follows the dialect.
const (
	WildcardsBoth     Wildcards = "both"     // *, and > or #
	WildcardsActiveMQ Wildcards = "activemq" // * and >
	WildcardsAMQP     Wildcards = "amqp"     // * and #
)

// QueueWildcards is whether the names of queues have wildcards, too.
type QueueWildcards string

// The answers; the empty one follows the dialect.
const (
	QueueWildcardsOn  QueueWildcards = "on"
	QueueWildcardsOff QueueWildcards = "off" // they are literal there
)

// Switches settle single points that the dialect presets. A zero field follows
// the dialect.
type Switches struct {
	Nack               Nack
	Bare               Bare
	TransactionReceipt TransactionReceipt
	LateAck            LateAck
	ClientIDs          ClientIDs
	Commas             Commas
	Slashes            Slashes
	Wildcards          Wildcards
	QueueWildcards     QueueWildcards
	// KeepOpen keeps the connection open behind an ERROR about a single request, as
	// the three brokers do. The specification closes it, and so does every dialect.
	KeepOpen bool
	// Server is the whole value of CONNECTED's header server.
	Server string
	// Hosts are the virtual hosts that CONNECT may name; "*" stands for any. A
	// CONNECT without host is admitted.
	Hosts []string
}

// apply settles the points that are set, or says which one is not understood.
func (s *Switches) apply(b *behavior) error {
	for _, f := range []struct {
		name  string
		value string
		words []string
		set   func(at int) // the number of the word
	}{
		{"Nack", string(s.Nack), []string{"dead-letter", "requeue", "accept"}, func(int) { b.nack = s.Nack }},
		{"Bare", string(s.Bare), []string{"queue", "topic"}, func(at int) { b.bare = [...]routing.Kind{routing.KindQueue, routing.KindTopic}[at] }},
		{"TransactionReceipt", string(s.TransactionReceipt), []string{"at-once", "at-commit"}, func(at int) { b.receiptAtOnce = at == 0 }},
		{"LateAck", string(s.LateAck), []string{"lenient", "error"}, func(at int) { b.lateAckError = at == 1 }},
		{"ClientIDs", string(s.ClientIDs), []string{"share", "refuse", "take-over"}, func(int) { b.clientIDs = s.ClientIDs }},
		{"Commas", string(s.Commas), []string{"separate", "literal"}, func(at int) { b.composite = at == 0 }},
		{"Slashes", string(s.Slashes), []string{"literal", "encoded"}, func(at int) { b.percent = at == 1 }},
		{"Wildcards", string(s.Wildcards), []string{"both", "activemq", "amqp"}, func(at int) { b.restWords = [...]string{">#", ">", "#"}[at] }},
		{"QueueWildcards", string(s.QueueWildcards), []string{"on", "off"}, func(at int) { b.queueWildcards = at == 0 }},
	} {
		if f.value == "" {
			continue
		}
		at := slices.Index(f.words, f.value)
		if at < 0 {
			return fmt.Errorf("stomp: Switches.%s is %q, want one of %s", f.name, f.value, strings.Join(f.words, ", "))
		}
		f.set(at)
	}
	return nil
}
