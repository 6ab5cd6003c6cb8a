package testbroker

import (
	"bytes"
	"fmt"
	"net"
	"strconv"
	"sync"

	"github.com/selvedge-mq/selvedge/cmd/selvedge/internal/stompclient"
)

// defaultCredit is that of subscriptions without a prefetch header.
const defaultCredit = 1000

type delivery struct {
	tag     uint64
	sub     *subscription
	message *message
}

// conn is one connection; unacked belongs to the broker's mutex.
type conn struct {
	b       *Broker
	nc      net.Conn
	unacked []delivery

	mu      sync.Mutex
	filled  sync.Cond
	pending []byte
	ending  bool // close when pending is written
	closed  bool
}

func newConn(b *Broker, nc net.Conn) *conn {
	c := &conn{b: b, nc: nc}
	c.filled.L = &c.mu
	return c
}

// read handles frames until the connection ends.
func (c *conn) read() {
	defer c.b.leave(c)
	r := stompclient.NewReader(c.nc, 0)
	for {
		f, err := r.Next()
		if err != nil {
			c.cut()
			return
		}
		c.b.mu.Lock()
		ok := c.handle(f)
		c.b.mu.Unlock()
		if !ok {
			return
		}
	}
}

// handle does what a frame asks for; false when the connection is to end.
func (c *conn) handle(f *stompclient.Frame) bool {
	switch string(f.Command) {
	case "CONNECT", "STOMP":
		return c.connect(f)
	case "SEND":
		switch c.b.take(c.message(f)) {
		case Refuse:
			return c.refuse("refused")
		case Cut:
			c.cut()
			return false
		}
	case "SUBSCRIBE":
		c.subscribe(f)
	case "UNSUBSCRIBE":
		c.unsubscribe(string(f.Get("id")))
	case "ACK":
		c.ack(string(f.Get("id")))
	case "DISCONNECT":
		if c.b.opts.Mute {
			return true
		}
		c.receipt(f)
		c.end()
		return false
	default:
		return c.refuse("unknown command")
	}
	c.receipt(f)
	return true
}

func (c *conn) connect(f *stompclient.Frame) bool {
	if c.b.opts.Users != nil {
		passcode, known := c.b.opts.Users[string(f.Get("login"))]
		if !known || passcode != string(f.Get("passcode")) {
			return c.refuse("wrong login or passcode")
		}
	}
	c.add("CONNECTED\nversion:1.2\nheart-beat:0,0\n\n\x00\n")
	return true
}

func (c *conn) message(f *stompclient.Frame) *message {
	m := &message{queue: c.b.queue(string(f.Get("destination"))), body: bytes.Clone(f.Body)}
	f.Each(func(name, value []byte) {
		switch string(name) {
		case "destination", "receipt", "content-length":
		default:
			m.headers = append(fmt.Appendf(m.headers, "%s:%s", name, value), '\n')
		}
	})
	return m
}

func (c *conn) subscribe(f *stompclient.Frame) {
	s := &subscription{conn: c, id: string(f.Get("id")), ack: string(f.Get("ack")), credit: defaultCredit}
	if n, err := strconv.Atoi(string(f.Get("prefetch-count"))); err == nil {
		s.credit = n
	}
	s.queue = c.b.queue(string(f.Get("destination")))
	s.queue.subs = append(s.queue.subs, s)
	c.b.dispatch(s.queue)
}

func (c *conn) unsubscribe(id string) {
	for _, q := range c.b.queues {
		for i, s := range q.subs {
			if s.conn == c && s.id == id {
				q.subs = append(q.subs[:i:i], q.subs[i+1:]...)
				return
			}
		}
	}
}

// ack settles one message, in the mode client those before it too.
func (c *conn) ack(id string) {
	tag, err := strconv.ParseUint(id, 10, 64)
	if err != nil {
		return
	}
	var acked *subscription
	for _, d := range c.unacked {
		if d.tag == tag {
			acked = d.sub
		}
	}
	var left []delivery
	for _, d := range c.unacked {
		if d.sub == acked && (d.tag == tag || d.sub.ack == "client" && d.tag < tag) {
			d.sub.credit++
			continue
		}
		left = append(left, d)
	}
	c.unacked = left
	if acked != nil {
		c.b.dispatch(acked.queue)
	}
}

func (c *conn) deliver(s *subscription, tag uint64, m *message) {
	head := fmt.Sprintf("MESSAGE\nsubscription:%s\nmessage-id:m-%d\nack:%d\ndestination:%s\ncontent-length:%d\n", s.id, tag, tag, m.queue.name, len(m.body))
	if m.redelivered {
		head += "redelivered:true\n"
	}
	c.add(head + string(m.headers) + "\n" + string(m.body) + "\x00\n")
}

func (c *conn) receipt(f *stompclient.Frame) {
	if id := f.Get("receipt"); id != nil {
		c.add("RECEIPT\nreceipt-id:" + string(id) + "\n\n\x00\n")
	}
}

// refuse sends ERROR and ends the connection.
func (c *conn) refuse(message string) bool {
	c.add("ERROR\nmessage:" + message + "\n\n\x00\n")
	c.end()
	return false
}

func (c *conn) add(frame string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pending = append(c.pending, frame...)
	c.filled.Signal()
}

func (c *conn) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ending = true
	c.filled.Signal()
}

// cut ends the connection at once.
func (c *conn) cut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	c.filled.Signal()
	_ = c.nc.Close()
}

func (c *conn) write() {
	defer c.cut()
	var batch []byte
	for {
		c.mu.Lock()
		for !c.closed && !c.ending && len(c.pending) == 0 {
			c.filled.Wait()
		}
		if c.closed || len(c.pending) == 0 {
			c.mu.Unlock()
			return
		}
		batch, c.pending = c.pending, batch[:0]
		c.mu.Unlock()
		if _, err := c.nc.Write(batch); err != nil {
			return
		}
	}
}
