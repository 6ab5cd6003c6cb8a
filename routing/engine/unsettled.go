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
	if note := q.inFlight[key].note; note&givingBack != 0 {
		q.p.gaveBack(note &^ givingBack)
	}
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

// gaveBack ends a settlement that gave a message back: the message is here again, so it had
// its effect. No log says so, and a later leader, who gets the request once more, would take
// it for the end of the delivery that came now: it is one of nothing from now on.
func (p *portal) gaveBack(number uint64) {
	l := &p.lanes[0]
	for _, b := range l.batches {
		if number < b.first || number >= b.first+uint64(b.count) || number < l.lowest {
			continue
		}
		if !b.own { // a leader may be at it
			b.settles.list, b.own = slices.Clone(b.settles.list), true
		}
		i := number - b.first
		b.settles.list[i].Key = 0
		if r := &b.sreqs[i]; !b.expired {
			p.done.add(r.c, r.token, nil)
			r.c = nil
		}
		return
	}
}
