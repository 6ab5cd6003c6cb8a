package amqp

import "github.com/selvedge-mq/selvedge/routing"

// sent is a delivery that went to the client and is not settled.
type sent struct {
	link *sending
	tag  routing.Tag
	told routing.OutcomeKind // what the client stated and the engine is judging; 0 is nothing
	txn  *txn                // in which it is settled; nil is none
}

// unsettled holds the deliveries sent in a session by their delivery-id. Ids are
// handed out in sequence, so most live in a ring; a delivery that stays
// unsettled while many others pass moves to a map, so that it does not hold the
// ring's memory. The zero value is empty.
type unsettled struct {
	ring       []sent // a power of two long; entry of id at id&(len-1); a nil link is a free place
	head, tail uint32 // the ring holds ids from head up to, not including, tail
	count      int    // taken places of the ring
	stragglers map[uint32]sent
}

const (
	ringMin = 64
	ringMax = 1 << 14 // above this many places a sparse ring sheds its oldest
)

// add stores a delivery; ids come in sequence.
func (u *unsettled) add(id uint32, d sent) {
	if u.count == 0 {
		u.head, u.tail = id, id
	}
	if id-u.head >= uint32(len(u.ring)) { //nolint:gosec // the ring is never larger than 2^31
		u.room(id)
	}
	u.ring[id&u.mask()] = d
	u.tail = id + 1
	u.count++
}

// room grows the ring, or sheds its oldest deliveries when it would be large
// and sparse, until there is a place for id. Deliveries that went settled leave
// gaps in the sequence.
func (u *unsettled) room(id uint32) {
	need := int(id-u.head) + 1
	if need > ringMax && u.count < need/4 {
		u.shed(id)
		return
	}
	size := max(ringMin, len(u.ring))
	for size < need {
		size *= 2
	}
	next := make([]sent, size)
	for i := u.head; i != u.tail; i++ {
		next[i&uint32(size-1)] = u.ring[i&u.mask()] //nolint:gosec // see add
	}
	u.ring = next
}

// shed moves the oldest deliveries to the map until id is half a ring away.
func (u *unsettled) shed(id uint32) {
	for u.count > 0 && int(id-u.head) >= len(u.ring)/2 {
		if d := &u.ring[u.head&u.mask()]; d.link != nil {
			if u.stragglers == nil {
				u.stragglers = make(map[uint32]sent)
			}
			u.stragglers[u.head] = *d
			*d = sent{}
			u.count--
		}
		u.head++
	}
	if u.count == 0 {
		u.head, u.tail = id, id
	}
}

func (u *unsettled) mask() uint32 { return uint32(len(u.ring) - 1) } //nolint:gosec // see add

// get returns the delivery with that id, or nil. The pointer is good until the
// next change.
func (u *unsettled) get(id uint32) *sent {
	if u.count > 0 && id-u.head < u.tail-u.head {
		if d := &u.ring[id&u.mask()]; d.link != nil {
			return d
		}
		return nil
	}
	if d, ok := u.stragglers[id]; ok {
		return &d
	}
	return nil
}

// tell notes the outcome that the client stated.
func (u *unsettled) tell(id uint32, o routing.OutcomeKind) {
	if d, ok := u.stragglers[id]; ok {
		d.told = o
		u.stragglers[id] = d
		return
	}
	if d := u.get(id); d != nil {
		d.told = o
	}
}

// join notes the transaction in which a delivery is settled; nil is none.
func (u *unsettled) join(id uint32, t *txn) {
	if d, ok := u.stragglers[id]; ok {
		d.txn = t
		u.stragglers[id] = d
		return
	}
	if d := u.get(id); d != nil {
		d.txn = t
	}
}

// remove forgets a delivery.
func (u *unsettled) remove(id uint32) {
	if d := u.get(id); d == nil {
		return
	}
	if _, ok := u.stragglers[id]; ok {
		delete(u.stragglers, id)
		return
	}
	u.ring[id&u.mask()] = sent{}
	u.count--
	for u.head != u.tail && u.ring[u.head&u.mask()].link == nil {
		u.head++
	}
}

// span clips a range of ids to those that may be held in the ring; ok is false
// when there are none. [transport 2.7.6] ranges may cover ids that are gone.
func (u *unsettled) span(first, last uint32) (from, to uint32, ok bool) {
	if u.count == 0 || before(last, u.head) || !before(first, u.tail) || before(last, first) {
		return 0, 0, false
	}
	from, to = first, last
	if before(from, u.head) {
		from = u.head
	}
	if !before(to, u.tail) {
		to = u.tail - 1
	}
	return from, to, true
}

// each calls f with every delivery of a range that is unsettled, oldest first;
// f may remove the delivery it is given.
func (u *unsettled) each(first, last uint32, f func(id uint32, d sent)) {
	if before(last, first) {
		return
	}
	for id, d := range u.stragglers {
		if id-first <= last-first {
			f(id, d)
		}
	}
	from, to, ok := u.span(first, last)
	if !ok {
		return
	}
	for id := from; ; id++ {
		if d := u.ring[id&u.mask()]; d.link != nil {
			f(id, d)
		}
		if id == to {
			return
		}
	}
}

// all calls f with every delivery; f may remove the delivery it is given.
func (u *unsettled) all(f func(id uint32, d sent)) {
	for id, d := range u.stragglers {
		f(id, d)
	}
	if u.count > 0 {
		u.each(u.head, u.tail-1, f)
	}
}

// trim gives the ring's memory back when it is empty.
func (u *unsettled) trim() {
	if u.count == 0 && len(u.ring) > ringMin {
		u.ring = nil
	}
}
