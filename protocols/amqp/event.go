package amqp

import "github.com/selvedge-mq/selvedge/routing"

// eventKind is what the engine told.
type eventKind uint8

const (
	deliveriesCame eventKind = iota
	creditDrained
	subscriptionClosed // by the engine
	subscriptionJudged // the result of Subscribe
	subscriptionEnded  // the result of Close
	settlementsJudged
	sendsJudged
	partsJudged
	postingsJudged // sends within a transaction
	pieceCame
	rareCame // whatever happens less than once a message
)

// event is one item of the mailbox. Its slices are lent by the pools.
type event struct {
	kind       eventKind
	sending    *sending
	receiving  *receiving
	deliveries *[]routing.Delivery
	results    *[]routing.Result
	posting    *posting
	uploading  *uploading
	rare       func()
	pieces     *pieces
	piece      *routing.Piece
	n          uint32
	err        error
}

// apply passes the event to its link, and gives back what was lent.
func (e *event) apply(c *conn) {
	switch e.kind {
	case deliveriesCame:
		e.sending.delivered(e.deliveries)
	case creditDrained:
		e.sending.drained(e.n)
	case subscriptionClosed:
		e.sending.closedByEngine(e.err)
	case subscriptionJudged:
		e.sending.subscribed(e.err)
	case subscriptionEnded:
		e.sending.unsubscribed()
	case settlementsJudged:
		e.sending.judged(*e.results)
		c.f.pools.putResults(e.results)
	case sendsJudged:
		e.receiving.judged(*e.results, nil)
		c.f.pools.putResults(e.results)
	case partsJudged:
		e.uploading.judged(*e.results)
		c.f.pools.putResults(e.results)
	case postingsJudged:
		e.posting.judged(*e.results)
		c.f.pools.putResults(e.results)
	case pieceCame:
		e.pieces.came(e.piece)
	case rareCame:
		e.rare()
	}
}
