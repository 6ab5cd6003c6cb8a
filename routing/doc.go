// Package routing is the vocabulary that front-ends and the engine share:
// addresses, envelopes, sessions, subscriptions, deliveries, outcomes and error
// codes. It has no behavior of its own and imports the standard library only.
//
// The way of a message through a node:
//
//	front-end ── Session.Send(Envelope) ──► engine ──► shard leader ──► log
//	                 ▲ Completer.Complete ◄────────────── committed ─────┘
//	front-end ◄── Sink.Deliver([]Delivery) ◄── engine ◄── shard leader
//	    └──────── Subscription.Settle(Tag, Outcome) ──► engine ──► shard leader
//
// A large message goes in by parts ([Session.Upload]), is handed out by its head, and is
// read piece by piece ([Subscription.Read]): no node holds all of it.
//
// Nothing in these contracts blocks: a front-end hands work over with a
// [Completer] and a token, and learns the result later, in batches.
package routing
