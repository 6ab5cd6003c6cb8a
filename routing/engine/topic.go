package engine

import (
	"encoding/binary"
	"sync/atomic"
	"time"

	"github.com/selvedge-mq/selvedge/internal/cursor"
	"github.com/selvedge-mq/selvedge/routing"
	"github.com/selvedge-mq/selvedge/routing/envelope"
)

// topicSub is a subscription to a topic. The hub's goroutine owns it.
type topicSub struct {
	h    *hub
	id   uint64
	opts routing.SubscribeOptions
	sink routing.Sink

	gone    atomic.Bool // for its session
	credit  uint32
	waiting []topicMessage // without credit, oldest first
	bytes   int64
	batch   []routing.Delivery
}

func (t *topicSub) key() string { return hubKey(t.opts.Address.Kind, t.opts.Address.Name) }

func (t *topicSub) reads(a routing.Address) bool { return t.opts.Address == a && !t.gone.Load() }

type topicMessage struct {
	tag routing.Tag
	env []byte
}

// offer gives the subscription a message. One that would fill its buffer beyond
// the limit is dropped and counted, unless the oldest ones there have expired.
func (t *topicSub) offer(m topicMessage) {
	full := func() bool { return t.bytes+int64(len(m.env)) > t.h.e.opts.TopicBytes }
	for full() && len(t.waiting) > 0 {
		if head, err := envelope.Peek(t.waiting[0].env); err != nil || !expired(head.Expiry) {
			break
		}
		t.next()
		t.h.e.metrics.topicExpired.Inc()
	}
	if full() {
		t.h.e.metrics.topicDrops.Inc()
		return
	}
	t.waiting = append(t.waiting, m)
	t.bytes += int64(len(m.env))
}

// next takes the oldest message that waits.
func (t *topicSub) next() topicMessage {
	m := t.waiting[0]
	t.waiting[0] = topicMessage{}
	t.waiting = t.waiting[1:]
	t.bytes -= int64(len(m.env))
	return m
}

// expired reports whether a time of expiry, in Unix milliseconds, is over; 0 never is.
func expired(at int64) bool { return at > 0 && at <= nowMilli() }

// handOver hands the sink what it has credit for. What has expired is dropped and
// counted.
func (t *topicSub) handOver() {
	for t.credit > 0 && len(t.waiting) > 0 {
		m := t.next()
		env, err := envelope.DecodeFor(m.env, t.opts.Address)
		switch {
		case err != nil:
			t.h.e.log.Error().Err(err).Str("addr", t.opts.Address.Name).Msg("message of a topic cannot be read")
		case expired(env.Expiry):
			t.h.e.metrics.topicExpired.Inc()
		default:
			t.batch = append(t.batch, routing.Delivery{Tag: m.tag, Envelope: env})
			t.credit--
		}
	}
	if len(t.batch) == 0 {
		return
	}
	t.h.e.given.Add(uint64(len(t.batch)))
	t.sink.Deliver(t.batch)
	clear(t.batch)
	t.batch = t.batch[:0]
}

// Grant implements routing.Subscription.
func (t *topicSub) Grant(n int32) {
	t.h.box.Put(func() {
		if n < 0 {
			t.credit -= min(t.credit, uint32(-int64(n)))
			return
		}
		t.credit += uint32(n)
		t.handOver()
	})
}

// Drain implements routing.Subscription.
func (t *topicSub) Drain() {
	t.h.box.Put(func() {
		t.handOver()
		left := t.credit
		t.credit = 0
		t.sink.Drained(left)
	})
}

// Settle implements routing.Subscription: what a topic handed out is gone.
func (t *topicSub) Settle(_ routing.Tag, _ routing.Outcome, c routing.Completer, token uint64) {
	t.h.complete(c, token, nil)
}

// Read implements routing.Subscription: nothing in a topic is large.
func (t *topicSub) Read(_ routing.Tag, offset int64, _ int, s routing.PieceSink, token uint64) {
	t.h.answer(s, routing.Piece{Token: token, Offset: offset, Err: &routing.Error{
		Code: routing.CodeInvalid, Op: "read", Address: t.opts.Address.String(), Reason: "the message came as a whole",
	}})
}

// Close implements routing.Subscription.
func (t *topicSub) Close(c routing.Completer, token uint64) {
	t.gone.Store(true)
	t.h.box.Put(func() { t.h.unsubscribe(t, call{c, token, time.Now()}) })
}

// How a node tells others what topics it wants.
const (
	interestAll  = byte(0) // exactly these
	interestMore = byte(1)
	interestLess = byte(2)
)

func appendInterest(number uint64, how byte, names []string) []byte {
	msg := append(head{verb: verbInterest}.append(nil), how)
	msg = binary.AppendUvarint(msg, number)
	for _, n := range names {
		msg = cursor.AppendBytes(msg, n)
	}
	return msg
}

func appendEnvelope(dst, env []byte) []byte { return cursor.AppendBytes(dst, env) }

func appendU64(dst []byte, v uint64) []byte { return binary.BigEndian.AppendUint64(dst, v) }

func (e *Engine) receiveInterest(from string, _ head, c *cursor.Cursor, _ int) bool {
	how, number := c.Octet(), c.Uvarint()
	var names []string
	for c.More() {
		names = append(names, string(c.Bytes()))
	}
	if c.Bad {
		return false
	}
	e.hub.box.Put(func() {
		topics := e.hub.nodes[from]
		delete(e.hub.away, from)
		if topics == nil || how == interestAll {
			topics = map[string]bool{}
			e.hub.nodes[from] = topics
		}
		for _, n := range names {
			if how == interestLess {
				delete(topics, n)
			} else {
				topics[n] = true
			}
		}
		if number > 0 {
			e.control(from, binary.AppendUvarint(head{verb: verbHeard}.append(nil), number))
		}
	})
	return false
}

func (e *Engine) receiveHeard(from string, _ head, c *cursor.Cursor, _ int) bool {
	number := c.Uvarint()
	if !c.Bad {
		e.hub.box.Put(func() { e.hub.took(from, number) })
	}
	return false
}

func (e *Engine) receiveTopic(from string, _ head, c *cursor.Cursor, size int) bool {
	var envs [][]byte
	for c.More() {
		envs = append(envs, c.Bytes())
	}
	if c.Bad {
		return false
	}
	e.hub.box.Put(func() {
		for _, env := range envs {
			if head, err := envelope.Peek(env); err == nil {
				e.hub.deliver(hubKey(head.Kind, string(head.Name)), env)
			}
		}
		e.hub.handOver()
		e.opts.Peers.Consumed(from, LaneDeliver, size)
	})
	return true
}
