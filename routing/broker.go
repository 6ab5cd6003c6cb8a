package routing

import (
	"context"
	"strconv"
)

// Principal is an authenticated client.
type Principal struct {
	Name      string // empty for an anonymous client
	Anonymous bool
}

// Action is what a principal may be allowed to do on an address.
type Action uint8

// The actions.
const (
	ActionRead  Action = 1 // subscribe, browse
	ActionWrite Action = 2 // send
	ActionAdmin Action = 3 // create, delete, purge
)

// Authorizer decides what a principal may do. It must be fast, must not block
// and is called from many goroutines. It returns nil or an *[Error] with
// [CodeUnauthorized].
type Authorizer interface {
	Authorize(p Principal, do Action, on Address) error
}

// Broker is what a front-end needs of the node. It is safe for concurrent use.
type Broker interface {
	// Open starts a session for an authenticated client.
	Open(ctx context.Context, o SessionOptions) (Session, error)
}

// SessionOptions describe the client that opens a session.
type SessionOptions struct {
	Principal Principal
	ClientID  string // the name the client gave itself: client-id, container-id
	Remote    string // host:port, for logs and lists
	Protocol  string // "stomp", "amqp"
}

// Result is the end of one request.
type Result struct {
	Token uint64 // the one that came with the request
	Err   error  // nil, or an *Error
}

// Completer receives the ends of requests. The engine calls Complete from its
// own goroutines, several results at a time; the slice is valid during the call
// only. Complete must not block and must not call back into the session.
// Completers are compared: their types are comparable, pointers as a rule.
// Results of sends to one address come in the order of the sends; there is no
// order between different addresses, settlements and subscriptions.
type Completer interface {
	Complete(results []Result)
}

// Session is a client's conversation with the broker. Its methods do not block
// and may be called from one goroutine at a time (the connection's owner).
type Session interface {
	// Send hands an envelope over. The payload is copied before Send returns.
	// The result goes to c with the token; c may be nil, then nobody is told.
	// A nil error in the result means: committed (persistent) or taken in
	// (non-persistent). Send returns false when the node holds as much
	// unconfirmed data as it may: the front-end then stops reading or granting
	// until its own sends under way are complete.
	Send(e *Envelope, c Completer, token uint64) bool

	// Upload begins a large message: one that the front-end does not want to hold as
	// a whole, or that is larger than Send takes. e.Payload is its head, a prefix of
	// at most MaxHead bytes of the payload that the front-end chooses; whoever
	// gets the message gets the same head with the delivery, and reads the rest. So the
	// head has to hold everything that a conversion to another encoding looks at
	// before the body. e.Size is the size of the whole payload, 0 when it is not known yet.
	// The head is copied before Upload returns. No other field may be larger than what
	// a Send takes.
	//
	// Upload never returns nil. What is wrong with the message (no right to write, a
	// Size above the limit, an address that is a topic, too many uploads of the session)
	// is the result of its first Write or Commit. Large messages are for queues, temporary
	// ones included; topics take what Send takes. A large message is
	// logged whether it is persistent or not: there is no memory to keep it in.
	// Inside a transaction there is no upload: a transaction is bounded itself.
	Upload(e *Envelope) Upload

	// Subscribe starts a subscription with no credit. It is in force when its
	// result is nil; with an error the subscription is closed already.
	Subscribe(o SubscribeOptions, s Sink, c Completer, token uint64) Subscription

	// Begin starts a transaction.
	Begin() Transaction

	// CreateTemporary makes an address of [KindTempQueue] or [KindTempTopic] that
	// lives until DeleteTemporary or Close. Its name is new in the cluster and is
	// returned at once; it may be used from then on, and exists when the result is
	// nil. Any client may send to it, this session alone may subscribe.
	CreateTemporary(k Kind, c Completer, token uint64) Address

	// DeleteTemporary removes an address that this session made, and what is in
	// it. It fails with CodeLocked while the address has subscriptions.
	DeleteTemporary(a Address, c Completer, token uint64)

	// Close releases what the session holds: transactions roll back, uploads abort, subscriptions
	// end, their unsettled deliveries go back to their queues, temporary addresses
	// are deleted. Sends under way go on.
	Close()
}

// SubscribeOptions describe a subscription. Options that the engine does not
// support end the subscription with [CodeNotSupported].
type SubscribeOptions struct {
	Address   Address
	Selector  string // SQL-92 condition, empty for all
	Browse    bool   // look, do not take
	Durable   string // name of a durable topic subscription
	Shared    bool   // several consumers of one durable subscription
	Exclusive bool
	NoLocal   bool
	Priority  int // consumer priority, higher first
	// Settled has deliveries settled as accepted when they are handed to the sink; a
	// large message when its last byte was read: until then it may be settled otherwise.
	Settled bool
}

// Sink takes a subscription's deliveries.
type Sink interface {
	// Deliver hands over deliveries, never more than the credit granted. It
	// must not block. The slice is valid during the call only; the payloads stay
	// valid and must not be changed.
	Deliver(ds []Delivery)
	// Drained says that the subscription had n credits left after everything
	// available was delivered, and that they are gone now. It answers Drain.
	Drained(n uint32)
	// Closed says that the broker ended the subscription.
	Closed(err error)
}

// Subscription is a client's interest in an address. Its methods do not block.
type Subscription interface {
	// Grant adds n credits; a negative n takes back what is not used yet.
	Grant(n int32)
	// Drain asks for what is there now, within the credit, then gives the rest
	// of the credit back: Sink.Drained is called once.
	Drain()
	// Settle ends a delivery. The result (nil, or CodeStale) goes to c, which
	// may be nil.
	Settle(t Tag, o Outcome, c Completer, token uint64)
	// Read asks for a piece of a large message: at most the given number of bytes (1
	// to MaxPart) of its payload from the offset on, which lies behind the head and
	// before the end. The answer goes to s, once: at least one byte, maybe fewer than
	// asked for. There is one read at a time for each delivery; a delivery may be read in any
	// order, and again, until it is settled. The node holds one piece for each
	// read that was not answered, and nothing between reads.
	//
	// A read goes on through leader changes. It ends with CodeStale when the message is
	// not the subscription's any more: settled, or handed out again in the
	// meantime; who has passed a part of it on can only break off. A subscription that
	// settles by itself has given it back by then; any other still has to settle it. It ends with
	// CodeClosed when the subscription ends, with CodeInvalid for a piece that there
	// is not, and with CodeTimeout or CodeUnavailable after send-timeout: then it may be tried again.
	Read(t Tag, offset int64, most int, s PieceSink, token uint64)
	// Close ends the subscription; unsettled deliveries go back to the queue.
	// Deliver is not called after the result.
	Close(c Completer, token uint64)
}

// TopicShard is the shard number in the tags of messages that passed no shard.
const TopicShard = 0xffff

// Tag identifies a delivery for its settlement, and its message in the cluster.
type Tag struct {
	Shard uint16
	Epoch uint32 // of the leader that handed it out
	Key   uint64 // of the message in its shard: unique and ordered
}

// MessageID returns the message's id as clients see it; the same at each
// delivery of the message. It holds only letters, digits and '-'.
func (t Tag) MessageID() string { return string(t.AppendMessageID(nil)) }

// AppendMessageID appends [Tag.MessageID] to b.
func (t Tag) AppendMessageID(b []byte) []byte {
	b = append(b, "ID-"...)
	b = strconv.AppendUint(b, uint64(t.Shard), 16)
	b = append(b, '-')
	return strconv.AppendUint(b, t.Key, 16)
}

// Delivery is one attempt to hand an envelope to a consumer.
type Delivery struct {
	Tag Tag
	// Envelope is the message; its Payload aliases memory that is never changed. If the
	// envelope is Large, its Payload is only the head, and the rest comes by [Subscription.Read].
	Envelope    Envelope
	Failed      uint32 // unsuccessful attempts before this one
	Redelivered bool   // it may have been handed out before
}

// OutcomeKind is how a delivery ended.
type OutcomeKind uint8

// The outcomes, as in AMQP 1.0. The numbers are part of the log's encoding.
const (
	Accepted OutcomeKind = 1 // consumed
	Rejected OutcomeKind = 2 // to the dead-letter address
	Released OutcomeKind = 3 // back to its place, as if not handed out
	Modified OutcomeKind = 4 // back to its place, with changes
)

// Outcome ends a delivery.
type Outcome struct {
	Kind              OutcomeKind
	DeliveryFailed    bool // Modified: count the attempt
	UndeliverableHere bool // Modified: not to this subscription again
}
