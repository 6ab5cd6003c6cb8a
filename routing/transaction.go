package routing

// Transaction gathers sends and settlements that take effect together, whatever
// shards their addresses live in (design: prepare, commit record, finish). It
// belongs to the session that began it and is used by the same goroutine; its
// methods do not block. It ends with Commit, Rollback, or the session's Close,
// which rolls back.
type Transaction interface {
	// Send adds an envelope; the payload is copied before Send returns. A nil
	// error in the result means that the transaction holds it, nothing more; with
	// an error the transaction goes on without it. Send returns false as
	// [Session.Send] does.
	Send(e *Envelope, c Completer, token uint64) bool
	// Settle adds the end of a delivery of one of the session's subscriptions.
	// Until the commit the delivery stays unsettled, and after a rollback it is
	// still the consumer's to settle. Settle returns false when the transaction
	// finds no room for it: then it cannot commit any more, and nothing that is
	// added has an effect.
	Settle(s Subscription, t Tag, o Outcome) bool
	// Commit has everything take effect. A nil error in the result means:
	// committed. CodeTimeout and CodeUnavailable leave the outcome unknown; after
	// any other error nothing took effect, CodeStale says that one of the
	// deliveries had been handed out again.
	Commit(c Completer, token uint64)
	// Rollback ends the transaction without any effect.
	Rollback()
}
