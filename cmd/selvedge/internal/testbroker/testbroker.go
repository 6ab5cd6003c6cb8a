// Package testbroker is a STOMP broker in memory for the tests of the command
// line. It keeps queues in order and credit exactly, and it can be told to lose,
// double, swap or damage a message, which a real broker cannot.
package testbroker

import (
	"context"
	"net"
	"slices"
	"sync"
)

// Fault is what goes wrong with one message.
type Fault int

// The faults.
const (
	None         Fault = iota
	Lose               // confirmed and thrown away
	Double             // delivered twice, and the second time is not marked
	DoubleMarked       // delivered twice, and the second time is marked as redelivered
	Swap               // delivered behind the next message
	Damage             // the last byte of the body is changed
	Refuse             // answered by ERROR
	Cut                // stored, but the connection breaks before the confirmation
)

// Options say how the broker behaves.
type Options struct {
	// Fault tells what goes wrong with the n-th message that arrives, counted
	// from 0. It may be nil.
	Fault func(n int) Fault
	// Users are logins and passcodes; nil lets everybody in.
	Users map[string]string
	// Mute has it say nothing when a client leaves, like one whose queue has no leader.
	Mute bool
}

// Broker is the broker. Open starts it.
type Broker struct {
	opts Options
	ln   net.Listener
	wg   sync.WaitGroup

	mu      sync.Mutex
	conns   map[*conn]bool
	queues  map[string]*queue
	taken   int
	lastTag uint64
	held    *message // the message that a Swap holds back
}

// message is a message in a queue or at a consumer.
type message struct {
	queue       *queue
	headers     []byte // the lines of SEND that MESSAGE repeats
	body        []byte
	redelivered bool
}

type queue struct {
	name  string
	ready []*message
	subs  []*subscription
}

type subscription struct {
	conn   *conn
	id     string
	queue  *queue
	ack    string
	credit int
}

// Open starts a broker on a port of the loopback.
func Open(ctx context.Context, opts Options) (*Broker, error) {
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	b := &Broker{opts: opts, ln: ln, conns: make(map[*conn]bool), queues: make(map[string]*queue)}
	b.wg.Go(b.accept)
	return b, nil
}

// Addr is where the broker listens.
func (b *Broker) Addr() string { return b.ln.Addr().String() }

// Depth is how many messages of a destination wait for a consumer.
func (b *Broker) Depth(destination string) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.queue(destination).ready)
}

// Close ends the broker and all connections.
func (b *Broker) Close() {
	_ = b.ln.Close()
	b.mu.Lock()
	for c := range b.conns {
		c.cut()
	}
	b.mu.Unlock()
	b.wg.Wait()
}

func (b *Broker) accept() {
	for {
		nc, err := b.ln.Accept()
		if err != nil {
			return
		}
		c := newConn(b, nc)
		b.mu.Lock()
		b.conns[c] = true
		b.mu.Unlock()
		b.wg.Go(c.write)
		b.wg.Go(c.read)
	}
}

func (b *Broker) queue(name string) *queue {
	q := b.queues[name]
	if q == nil {
		q = &queue{name: name}
		b.queues[name] = q
	}
	return q
}

// take stores a message with what goes wrong with it.
func (b *Broker) take(m *message) Fault {
	fault := None
	if b.opts.Fault != nil {
		fault = b.opts.Fault(b.taken)
	}
	b.taken++
	q := m.queue
	switch fault {
	case Lose, Refuse:
		return fault
	case Swap:
		b.held = m
		return fault
	case Damage:
		m.body[len(m.body)-1] ^= 1
	}
	q.ready = append(q.ready, m)
	switch fault {
	case Double:
		q.ready = append(q.ready, &message{queue: q, headers: m.headers, body: m.body})
	case DoubleMarked:
		q.ready = append(q.ready, &message{queue: q, headers: m.headers, body: m.body, redelivered: true})
	}
	if b.held != nil {
		q.ready = append(q.ready, b.held)
		b.held = nil
	}
	b.dispatch(q)
	return fault
}

// dispatch hands out what subscriptions have credit for, in turn.
func (b *Broker) dispatch(q *queue) {
	for len(q.ready) > 0 {
		s := q.withCredit()
		if s == nil {
			return
		}
		m := q.ready[0]
		q.ready = q.ready[1:]
		b.lastTag++
		if s.ack != "auto" {
			s.credit--
			s.conn.unacked = append(s.conn.unacked, delivery{tag: b.lastTag, sub: s, message: m})
		}
		s.conn.deliver(s, b.lastTag, m)
	}
}

// withCredit finds the next subscription and moves it to the end.
func (q *queue) withCredit() *subscription {
	for i, s := range q.subs {
		if s.credit > 0 {
			q.subs = append(append(q.subs[:i:i], q.subs[i+1:]...), s)
			return s
		}
	}
	return nil
}

// leave takes a connection out; what it had not acknowledged goes back.
func (b *Broker) leave(c *conn) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.conns, c)
	for _, u := range slices.Backward(c.unacked) {
		m := u.message
		m.redelivered = true
		m.queue.ready = append([]*message{m}, m.queue.ready...)
	}
	for _, q := range b.queues {
		var left []*subscription
		for _, s := range q.subs {
			if s.conn != c {
				left = append(left, s)
			}
		}
		q.subs = left
		b.dispatch(q)
	}
}
