package engine

import (
	"cmp"
	"slices"
)

// unsettled is a delivery that is in flight: nobody knows of its end.
type unsettled struct {
	nth  uint64 // delivery of its subscription
	note uint64 // of the settlement that is on its way, 0 for none
}

// take notes a delivery.
func (q *queueSub) take(key uint64) {
	q.seen++
	q.delivered++
	q.inFlight[key] = unsettled{nth: q.delivered}
}

// note notes the settlement that ends a delivery, 0 for none, if that is in flight.
func (q *queueSub) note(key, note uint64) {
	if d, ok := q.inFlight[key]; ok {
		q.inFlight[key] = unsettled{d.nth, note}
	}
}

// reported returns what is in flight, in the order in which it came: a leader takes the first
// delivery for the one at which the consumer is.
func (q *queueSub) reported() []reportedKey {
	type entry struct {
		key uint64
		unsettled
	}
	all := make([]entry, 0, len(q.inFlight))
	for key, d := range q.inFlight {
		all = append(all, entry{key, d})
	}
	slices.SortFunc(all, func(a, b entry) int { return cmp.Compare(a.nth, b.nth) })
	out := make([]reportedKey, len(all))
	for i := range all {
		out[i] = reportedKey{key: all[i].key, settle: all[i].note}
	}
	return out
}
