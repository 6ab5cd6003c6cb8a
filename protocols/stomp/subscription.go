package stomp

import (
	"github.com/selvedge-mq/selvedge/internal/mailbox"
	"github.com/selvedge-mq/selvedge/routing"
)

type ackMode uint8

const (
	ackAuto       ackMode = iota
	ackClient             // an ACK covers all messages of the subscription before it
	ackIndividual         // an ACK covers one message
)

// subKey finds a subscription: by its id, or in 1.0 by its destination.
type subKey struct {
	byDestination bool
	name          string
}

// subscription is a client's subscription and the sink of its deliveries. The
// fields are the owner's; the methods of the sink touch the mailboxes only.
type subscription struct {
	key      subKey
	number   uint32
	name     string // the destination as the client spelled it
	mode     ackMode
	browse   bool
	settles  bool // auto, of a queue: its messages are settled when they are written
	prefetch int32
	kept     int    // octets of its frame
	header   []byte // the subscription line of its messages, encoded
	spelled  []byte // the last destination line that was found to name its address
	sub      routing.Subscription

	temporary bool // of a destination that this connection made
	implicit  bool // made by reply-to, not by SUBSCRIBE
	alone     bool // there may be no other one like it

	unacked ring[unacked] // client modes: to be acknowledged; settles: encoded, not written
	encoded int32         // auto: in out and not granted again
	owed    int32         // credit given back by transactions that were aborted

	granted  int32 // credit that the broker has
	withheld int32 // credit that it gets when there is room
	size     int   // about how many octets a message has
	recalled bool  // the broker gives its credit back: what still comes goes back
	returns  bool  // what is released comes again

	regranted int32  // credit of settled deliveries that the broker is to be told of
	closing   bool   // UNSUBSCRIBE was taken, or the broker ended it
	closer    uint64 // token of the UNSUBSCRIBE

	deliveries *mailbox.Mailbox[delivery]
	events     *mailbox.Mailbox[event]
}

// delivery is a delivery on its way to the owner, then to the writer.
type delivery struct {
	sub       *subscription
	d         routing.Delivery
	size      int        // octets, as it came
	gathering *gathering // what has come of it, while it is made whole; nil without
}

// event is what happens rarely: it tells the owner to run f.
type event struct {
	run     func(m *machine)
	session routing.Session // of a login, to be closed if nobody runs it
}

// Deliver passes deliveries to the owner; the credit bounds them.
func (s *subscription) Deliver(ds []routing.Delivery) {
	if len(ds) == 1 {
		s.deliveries.Put(delivery{sub: s, d: ds[0]})
		return
	}
	items := make([]delivery, len(ds))
	for i := range ds {
		items[i] = delivery{sub: s, d: ds[i]}
	}
	s.deliveries.Put(items...)
}

// Drained tells the owner that a browser has seen what there is, or that the broker has
// given its credit back.
func (s *subscription) Drained(n uint32) {
	s.events.Put(event{run: func(m *machine) { m.drained(s, n) }})
}

// Closed tells the owner that the broker ended the subscription.
func (s *subscription) Closed(err error) {
	s.events.Put(event{run: func(m *machine) { m.cancelled(s, err) }})
}
