package bench

import (
	"math/bits"
	"sync"
	"sync/atomic"
)

// ledger is the account of all messages of a run: which were sent, confirmed
// and received, and how often. It is safe for concurrent use.
type ledger struct {
	run      atomic.Uint32 // 0 until the first message tells it
	used     atomic.Uint32 // accounts at this index and above were never touched
	accounts [maxProducers]atomic.Pointer[account]

	foreign    atomic.Uint64
	corrupted  atomic.Uint64
	outOfOrder atomic.Uint64
}

// account is the ledger's page of one producer.
type account struct {
	mu        sync.Mutex
	sent      uint64 // sequence numbers below this were sent
	expected  bitmap // confirmed, or sent without asking for a confirmation
	received  bitmap
	resent    bitmap
	confirmed uint64 // numbers in expected
	distinct  uint64 // numbers in received
	met       uint64 // numbers in both
	totals    totals
}

// totals count deliveries by what they were.
type totals struct {
	Deliveries  uint64 // all of them
	Redelivered uint64 // marked so by the broker, seen before or not
	// Messages that had been received before:
	MarkedDuplicates   uint64 // the broker said so
	ResentDuplicates   uint64 // the bench itself had sent them twice, after a reconnect
	UnmarkedDuplicates uint64 // neither: this must not be
}

func newLedger(run uint32) *ledger {
	l := &ledger{}
	l.run.Store(run)
	return l
}

// account returns the page of a producer.
func (l *ledger) account(producer uint32) *account {
	p := &l.accounts[producer]
	if a := p.Load(); a != nil {
		return a
	}
	for used := l.used.Load(); used <= producer; used = l.used.Load() {
		l.used.CompareAndSwap(used, producer+1)
	}
	p.CompareAndSwap(nil, &account{})
	return p.Load()
}

// ours reports whether a message belongs to this run. A bench that only
// receives takes the run of the first message for its own.
func (l *ledger) ours(run uint32) bool {
	return l.run.Load() == run || l.run.CompareAndSwap(0, run)
}

// send notes that a message is on its way, for the first time or again.
func (a *account) send(seq uint64, again bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.sent = max(a.sent, seq+1)
	if again {
		a.resent.set(seq)
	}
}

// expect notes that a message must arrive.
func (a *account) expect(seq uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.expected.set(seq) {
		return
	}
	a.confirmed++
	if a.received.has(seq) {
		a.met++
	}
}

// receive notes a delivery and reports whether the message is new.
func (a *account) receive(seq uint64, redelivered bool) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.totals.Deliveries++
	if redelivered {
		a.totals.Redelivered++
	}
	if a.received.set(seq) {
		a.distinct++
		if a.expected.has(seq) {
			a.met++
		}
		return true
	}
	switch {
	case redelivered:
		a.totals.MarkedDuplicates++
	case a.resent.has(seq):
		a.totals.ResentDuplicates++
	default:
		a.totals.UnmarkedDuplicates++
	}
	return false
}

// each calls f for every page, under its lock.
func (l *ledger) each(f func(*account)) {
	for i := range l.used.Load() {
		if a := l.accounts[i].Load(); a != nil {
			a.mu.Lock()
			f(a)
			a.mu.Unlock()
		}
	}
}

// missing counts the messages that must arrive and have not.
func (l *ledger) missing() (n uint64) {
	l.each(func(a *account) { n += a.confirmed - a.met })
	return n
}

// distinct counts the messages received, each once.
func (l *ledger) distinct() (n uint64) {
	l.each(func(a *account) { n += a.distinct })
	return n
}

// order checks what one consumer gets from one queue: of each producer, first
// deliveries must come in the order of sending. It is not safe for concurrent
// use.
type order struct{ next map[uint32]uint64 }

// arrived notes a first delivery and reports whether it is in order. One that
// the broker marks as redelivered may come late.
func (o *order) arrived(producer uint32, seq uint64, redelivered bool) bool {
	next := o.next[producer]
	if seq >= next {
		if o.next == nil {
			o.next = make(map[uint32]uint64)
		}
		o.next[producer] = seq + 1
		return true
	}
	return redelivered
}

// bitmap is a growing set of small numbers.
type bitmap []uint64

// maxSeq bounds what a message can make a bitmap grow to: 512 MiB.
const maxSeq = 1 << 32

// set adds n and reports whether it was not there.
func (m *bitmap) set(n uint64) bool {
	word, bit := n/64, uint64(1)<<(n%64)
	for uint64(len(*m)) <= word {
		*m = append(*m, 0)
	}
	if (*m)[word]&bit != 0 {
		return false
	}
	(*m)[word] |= bit
	return true
}

func (m bitmap) has(n uint64) bool {
	return n/64 < uint64(len(m)) && m[n/64]&(1<<(n%64)) != 0
}

// missingFrom lists up to most numbers of m that are not in other.
func (m bitmap) missingFrom(other bitmap, most int) (numbers []uint64) {
	for word, have := range m {
		if word < len(other) {
			have &^= other[word]
		}
		for ; have != 0 && len(numbers) < most; have &= have - 1 {
			numbers = append(numbers, uint64(word)*64+uint64(bits.TrailingZeros64(have)))
		}
	}
	return numbers
}
