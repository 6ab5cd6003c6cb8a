package shard

import (
	"container/heap"
	"slices"

	"github.com/selvedge-mq/selvedge/routing/envelope"
)

// expiries are the messages that expire, soonest first. A message that was
// settled stays until its time comes and is then found to be gone, or until there
// are more of those than live ones: so the heap grows with the backlog, and not with
// what passes through.
type expiries struct{ heap expiryHeap }

type expiring struct {
	at  int64
	key uint64
}

type expiryHeap []expiring

func (h expiryHeap) Len() int           { return len(h) }
func (h expiryHeap) Less(i, j int) bool { return h[i].at < h[j].at }
func (h expiryHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *expiryHeap) Push(x any)        { *h = append(*h, x.(expiring)) }
func (h *expiryHeap) Pop() any {
	old := *h
	x := old[len(old)-1]
	*h = old[:len(old)-1]
	return x
}

// expirySlack is how many settled messages the heap may hold beside twice as many
// as there are live ones.
const expirySlack = 1024

// noteExpiry remembers a message's expiry, if it has one.
func (s *Shard) noteExpiry(key uint64, at int64) {
	if at <= 0 {
		return
	}
	e := &s.expiry
	if len(e.heap) >= 2*s.store.live+expirySlack {
		e.heap = slices.DeleteFunc(e.heap, func(it expiring) bool { return s.store.find(it.key) == 0 })
		heap.Init(&e.heap)
	}
	heap.Push(&e.heap, expiring{at: at, key: key})
}

// expiryOf returns when an envelope expires, 0 for never.
func expiryOf(env []byte) int64 {
	head, err := envelope.Peek(env)
	if err != nil {
		return 0
	}
	return head.Expiry
}

// Expire composes the end of every message that is ready and expired at now, at
// most as many as fit into the open record. It returns the time of the next
// expiry, 0 for none. Messages in flight are left to their consumers.
func (s *Shard) Expire(now int64) int64 {
	for len(s.expiry.heap) > 0 && !s.Full() {
		next := s.expiry.heap[0]
		if next.at > now {
			return next.at
		}
		heap.Pop(&s.expiry.heap)
		p := s.store.find(next.key)
		if p == 0 {
			continue
		}
		m := s.store.at(p)
		if m.has(markMoved | markDying) {
			continue // among the dead letters nothing expires
		}
		if !m.has(markReady) {
			heap.Push(&s.expiry.heap, expiring{at: now + expiryRetry, key: next.key})
			continue
		}
		s.takeReady(s.queueOf(m), p)
		s.composeSettle(m, causeExpired)
	}
	if len(s.expiry.heap) > 0 {
		return s.expiry.heap[0].at
	}
	return 0
}

// expiryRetry is when an expired message that is in flight is looked at again, in ms.
const expiryRetry = 1000
