package prototest

import (
	"slices"

	"github.com/selvedge-mq/selvedge/routing"
)

type message struct {
	tag    routing.Tag
	e      routing.Envelope // all of it
	head   int              // of a large message, what is handed out of its payload; 0: all of it
	failed uint32
	handed bool
}

// queue holds the ready messages of a queue, or of one topic subscription, in
// the order of their keys.
type queue struct {
	ready []*message
	subs  []*subscription
	next  int // whose turn it is
}

// take puts a message where its address says.
func (b *Broker) take(e routing.Envelope) { b.takeLarge(e, 0) }

// takeLarge puts a message where its address says, of which only a head is handed
// out; 0 means all of it.
func (b *Broker) takeLarge(e routing.Envelope, head int) {
	b.lastKey++
	b.record.Sent = append(b.record.Sent, e)
	switch e.Address.Kind {
	case routing.KindTopic, routing.KindTempTopic:
		tag := routing.Tag{Shard: routing.TopicShard, Key: b.lastKey}
		for _, s := range b.topics[e.Address] {
			s.q.ready = append(s.q.ready, &message{tag: tag, e: e})
			b.dispatch(s.q)
		}
	default:
		q := b.queue(e.Address)
		q.ready = append(q.ready, &message{tag: routing.Tag{Epoch: 1, Key: b.lastKey}, e: e, head: head})
		b.dispatch(q)
	}
}

// handedOut returns the envelope as a consumer gets it.
func (m *message) handedOut() routing.Envelope {
	e := m.e
	if m.head > 0 {
		e.Size, e.Payload = int64(len(e.Payload)), e.Payload[:m.head]
	}
	return e
}

func (b *Broker) queue(a routing.Address) *queue {
	q := b.queues[a]
	if q == nil {
		q = &queue{}
		b.queues[a] = q
	}
	return q
}

func (b *Broker) subscriptions(to routing.Address) []*subscription {
	if q := b.queues[to]; q != nil {
		return slices.Clone(q.subs)
	}
	return slices.Clone(b.topics[to])
}

// dispatch hands ready messages out, in turn, while there is credit.
func (b *Broker) dispatch(q *queue) {
	batches := make(map[*subscription][]routing.Delivery)
	for len(q.ready) > 0 {
		s := q.pick()
		if s == nil {
			break
		}
		m := q.ready[0]
		q.ready = q.ready[1:]
		s.credit--
		batches[s] = append(batches[s], routing.Delivery{
			Tag: m.tag, Envelope: m.handedOut(), Failed: m.failed, Redelivered: m.handed,
		})
		m.handed = true
		if s.o.Settled && m.head == 0 {
			b.record.Settled = append(b.record.Settled, Settlement{m.tag, routing.Outcome{Kind: routing.Accepted}})
			continue
		}
		s.unsettled[m.tag.Key] = m
	}
	for _, s := range q.subs {
		if ds := batches[s]; len(ds) > 0 {
			b.effects = append(b.effects, func() { s.sink.Deliver(ds) })
		}
	}
}

func (q *queue) pick() *subscription {
	for i := range q.subs {
		s := q.subs[(q.next+i)%len(q.subs)]
		if s.credit > 0 {
			q.next = (q.next + i + 1) % len(q.subs)
			return s
		}
	}
	return nil
}

// isReady reports whether the message with that key waits for a consumer.
func (q *queue) isReady(key uint64) bool {
	return slices.ContainsFunc(q.ready, func(m *message) bool { return m.tag.Key == key })
}

// putBack returns a message to the place that its key gives it.
func (q *queue) putBack(m *message) {
	i, _ := slices.BinarySearchFunc(q.ready, m.tag.Key, func(m *message, key uint64) int {
		switch {
		case m.tag.Key < key:
			return -1
		case m.tag.Key > key:
			return 1
		}
		return 0
	})
	q.ready = slices.Insert(q.ready, i, m)
}
