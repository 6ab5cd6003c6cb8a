package shard

// mark is a property of a message.
type mark uint16

const (
	markSoft        mark = 1 << iota // not persistent: body in memory, no log position
	markRedelivered                  // it may have been handed out before
	markSettling                     // its end, or its way to the dead letters, is composed and not applied yet
	markReleasing                    // its return to its place is composed and not applied yet
	markMoving                       // a rewrite is composed and not applied yet
	markReady                        // it is in its queue's ready list
	markHeld                         // it is in a subscription's list of unsettled deliveries
	markDying                        // it is on its way to the dead-letter address in another shard
	markMoved                        // it was moved to the dead-letter queue: it does not expire any more
	markAvoided                      // some subscription does not want it
	markPinned                       // a transaction settles it, once it commits
	markLarge                        // it has parts
	markAgain                        // its consumer got it marked as redelivered
	markLeaving                      // its consumer is giving it back, and somebody else may have it already
)

// message is one live message. It holds no pointers, so that the collector has
// nothing to look at in a backlog of millions.
type message struct {
	key        uint64
	seq        uint64 // of the record with its envelope
	off, size  uint32 // of the envelope in the record
	queue      uint32 // its id
	sub        uint32 // index of the subscription that holds it; 0 for none
	next, prev uint32 // in the ready list or in the subscription's list
	failed     uint16
	marks      mark
}

func (m *message) has(k mark) bool { return m.marks&k != 0 }

const (
	chunkBits = 12
	chunkSize = 1 << chunkBits
)

// store keeps the live messages in chunks that never move, and finds them by
// key through an open-addressing table of places. Place 0 means none.
type store struct {
	chunks [][]message
	free   uint32 // head of the list of free places, linked by next
	used   uint32 // places ever used
	live   int
	table  []uint32
	mask   uint64
}

func newStore() store {
	return store{used: 1, table: make([]uint32, 64), mask: 63}
}

func (t *store) at(place uint32) *message {
	return &t.chunks[place>>chunkBits][place&(chunkSize-1)]
}

// slot spreads keys over the table: Fibonacci hashing.
func (t *store) slot(key uint64) uint64 { return (key * 0x9E3779B97F4A7C15) >> 20 & t.mask }

// find returns the place of a key, 0 if it is not live.
func (t *store) find(key uint64) uint32 {
	for i := t.slot(key); ; i = (i + 1) & t.mask {
		p := t.table[i]
		if p == 0 || t.at(p).key == key {
			return p
		}
	}
}

// add makes room for a message with a key that is not live and returns it.
func (t *store) add(key uint64) (uint32, *message) {
	if uint64(t.live+1)*4 > uint64(len(t.table))*3 {
		t.grow()
	}
	p := t.free
	if p != 0 {
		t.free = t.at(p).next
	} else {
		p = t.used
		t.used++
		if int(p>>chunkBits) == len(t.chunks) {
			t.chunks = append(t.chunks, make([]message, chunkSize))
		}
	}
	m := t.at(p)
	*m = message{key: key}
	t.put(key, p)
	t.live++
	return p, m
}

func (t *store) put(key uint64, p uint32) {
	i := t.slot(key)
	for t.table[i] != 0 {
		i = (i + 1) & t.mask
	}
	t.table[i] = p
}

func (t *store) grow() {
	old := t.table
	t.table = make([]uint32, 2*len(old))
	t.mask = uint64(len(t.table) - 1)
	for _, p := range old {
		if p != 0 {
			t.put(t.at(p).key, p)
		}
	}
}

// remove forgets a message; its place is used again.
func (t *store) remove(p uint32) {
	m := t.at(p)
	i := t.slot(m.key)
	for t.table[i] != p {
		i = (i + 1) & t.mask
	}
	t.closeGap(i)
	*m = message{next: t.free}
	t.free = p
	t.live--
}

// closeGap empties slot i and moves later entries of its run back, so that no
// search ends early.
func (t *store) closeGap(i uint64) {
	for j := i; ; {
		j = (j + 1) & t.mask
		p := t.table[j]
		if p == 0 {
			break
		}
		home := t.slot(t.at(p).key)
		if (j-home)&t.mask >= (j-i)&t.mask {
			t.table[i] = p
			i = j
		}
	}
	t.table[i] = 0
}

// list is a doubly linked list of messages through their places.
type list struct {
	head, tail uint32
	finger     uint32 // the last insertion: the next one is often behind it
	len        int
}

func (t *store) pushBack(l *list, p uint32) {
	m := t.at(p)
	m.prev, m.next = l.tail, 0
	if l.tail != 0 {
		t.at(l.tail).next = p
	} else {
		l.head = p
	}
	l.tail = p
	l.len++
}

// insert puts a message at the place that its key gives it, searching from the
// nearer looking end: released messages belong to the front, new ones to the back.
func (t *store) insert(l *list, p uint32) {
	key := t.at(p).key
	if l.tail == 0 || t.at(l.tail).key < key {
		t.pushBack(l, p)
		return
	}
	after := l.head
	if l.finger != 0 && t.at(l.finger).key < key {
		after = l.finger
	}
	for t.at(after).key < key {
		after = t.at(after).next
	}
	m, n := t.at(p), t.at(after)
	m.next, m.prev = after, n.prev
	if n.prev != 0 {
		t.at(n.prev).next = p
	} else {
		l.head = p
	}
	n.prev = p
	l.finger = p
	l.len++
}

func (t *store) unlink(l *list, p uint32) {
	m := t.at(p)
	if l.finger == p {
		l.finger = m.prev
	}
	if m.prev != 0 {
		t.at(m.prev).next = m.next
	} else {
		l.head = m.next
	}
	if m.next != 0 {
		t.at(m.next).prev = m.prev
	} else {
		l.tail = m.prev
	}
	m.next, m.prev = 0, 0
	l.len--
}

// softBodies are the envelopes of non-persistent messages.
type softBodies struct {
	bodies map[uint64][]byte
	bytes  int64
}

func (b *softBodies) put(key uint64, body []byte) {
	b.bodies[key] = body
	b.bytes += int64(len(body))
}

func (b *softBodies) drop(key uint64) {
	b.bytes -= int64(len(b.bodies[key]))
	delete(b.bodies, key)
}
