package shard

import "github.com/selvedge-mq/selvedge/routing"

// queue is a queue's durable state and, on the leader, its dispatch.
type queue struct {
	id       uint32
	owner    uint64 // of a temporary queue: the session of its node
	addr     routing.Address
	reserved uint64 // messages up to this key may have been handed out
	home     uint64 // sequence of the record with its last whole state
	size     uint32 // of that entry
	declared bool   // that entry is in the log; false while it is only composed
	depth    int    // live messages
	bytes    int64
	ready    list
	in, out  uint64

	// Soft.
	subs      []*sub
	turn      int      // whose turn it is among subs
	credit    int64    // of all subs together
	coming    int      // enqueues composed and not applied yet
	former    uint64   // what former leaders reserved: up to here a delivery may be a second one
	reserving uint64   // a reservation up to this key is composed
	promised  uint64   // the greatest reservation composed
	returning []uint64 // keys of messages that come back from consumers that never got them
	going     bool     // its end is composed and not applied yet
	dirty     bool     // it is in Shard.dirty
}

// queues finds queues by id and by address.
type queues struct {
	list   []*queue // by id; id 0 is not used
	byAddr map[routing.Address]*queue
	free   []uint32          // ids of queues that are gone
	names  map[string]*queue // plain queues by name: found without making a string
}

func newQueues() queues {
	return queues{list: make([]*queue, 1), byAddr: map[routing.Address]*queue{}, names: map[string]*queue{}}
}

// ensure returns the queue with that id, a nameless one if its state was not
// read yet: after a cut a queue's messages can come before its rewritten state.
func (t *queues) ensure(id uint32) *queue {
	if missing := int(id) + 1 - len(t.list); missing > 0 {
		t.list = append(t.list, make([]*queue, missing)...)
	}
	if t.list[id] == nil {
		t.list[id] = &queue{id: id}
	}
	return t.list[id]
}

func (t *queues) name(q *queue, addr routing.Address) {
	q.addr = addr
	t.byAddr[addr] = q
	if addr.Kind == routing.KindQueue {
		t.names[addr.Name] = q
	}
}

// drop forgets a queue. Its id may be used again: whatever speaks of it in the log
// stands before the entry that ended it.
func (t *queues) drop(q *queue) {
	delete(t.byAddr, q.addr)
	t.list[q.id] = nil
	t.free = append(t.free, q.id)
}

// find returns the queue of an address given as it stands in an envelope.
func (t *queues) find(k routing.Kind, name []byte) *queue {
	if k == routing.KindQueue {
		return t.names[string(name)]
	}
	return t.byAddr[routing.Address{Kind: k, Name: string(name)}]
}

// makeReady puts a message into its queue's ready list at its place.
func (s *Shard) makeReady(q *queue, p uint32) {
	m := s.store.at(p)
	m.marks |= markReady
	s.store.insert(&q.ready, p)
	s.touch(q)
}

// takeReady takes a message out of its queue's ready list.
func (s *Shard) takeReady(q *queue, p uint32) {
	s.store.at(p).marks &^= markReady
	s.store.unlink(&q.ready, p)
}

// touch has the next Dispatch look at the queue.
func (s *Shard) touch(q *queue) {
	if !q.dirty {
		q.dirty = true
		s.dirty = append(s.dirty, q)
	}
}

// queueOf returns a message's queue.
func (s *Shard) queueOf(m *message) *queue { return s.queues.list[m.queue] }

// forgetMessage removes a message from wherever it is.
func (s *Shard) forgetMessage(p uint32) {
	m := s.store.at(p)
	q := s.queueOf(m)
	s.unlist(q, p)
	s.endAttempt(m.key)
	if m.has(markDying) {
		s.orphan(m)
	}
	q.depth--
	q.bytes -= s.weight(m)
	if m.has(markSoft) {
		s.soft.drop(m.key)
	} else {
		s.log.release(m.seq, messageCost(m.size))
	}
	if m.has(markLarge) {
		s.freeParts(m.key)
	}
	s.store.remove(p)
}
