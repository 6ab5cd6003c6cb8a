package bench

import (
	"context"
	"strconv"
	"sync"

	"github.com/selvedge-mq/selvedge/cmd/selvedge/internal/stompclient"
)

// stompDriver speaks STOMP with a client of the bench's own.
type stompDriver struct{ opts *Options }

func (d *stompDriver) dial(ctx context.Context, server string) (*line[*stompclient.Conn], error) {
	at, err := d.opts.reach(server, STOMP)
	if err != nil {
		return nil, err
	}
	conn, err := stompclient.Dial(ctx, at.Addr, stompclient.Options{Login: at.User, Passcode: at.Password, Dial: at.dial})
	if err != nil {
		return nil, d.opts.unreached(at, err)
	}
	return newLine(conn), nil
}

// stompOutlet sends and hands receipts on.
type stompOutlet struct {
	*line[*stompclient.Conn]
	opts      *Options
	confirmer confirmer
	templates map[int]*stompclient.Template // by queue; used by the sender alone
}

func (d *stompDriver) produce(ctx context.Context, server string, c confirmer) (outlet, error) {
	l, err := d.dial(ctx, server)
	if err != nil {
		return nil, err
	}
	o := &stompOutlet{line: l, opts: d.opts, confirmer: c, templates: make(map[int]*stompclient.Template)}
	l.serve(func() error { return l.conn.Serve(o) })
	return o, nil
}

func (o *stompOutlet) send(_ context.Context, queue int, seq uint64, body []byte) error {
	t := o.templates[queue]
	if t == nil {
		t = stompclient.NewTemplate("/queue/"+o.opts.queueName(queue), o.opts.Persistent)
		o.templates[queue] = t
	}
	receipt := seq
	if o.opts.Window == 0 {
		receipt = stompclient.Unconfirmed
	}
	return o.conn.Send(t, body, receipt)
}

// Receipt implements stompclient.Handler.
func (o *stompOutlet) Receipt(number uint64) { o.confirmer.confirm(number, nil) }

// Message implements stompclient.Handler; nothing was subscribed to.
func (o *stompOutlet) Message(stompclient.Message) {}

// stompInlet hands messages on and acknowledges them.
type stompInlet struct {
	*line[*stompclient.Conn]
	opts     *Options
	receiver receiver
	ready    chan struct{} // has a value after the receipt of the last subscription; capacity 1

	mu      sync.Mutex
	pending map[int]*batch // by queue
}

// batch is what the ack mode client has not acknowledged yet.
type batch struct {
	n    int
	last []byte
}

// consume subscribes and waits until the broker has confirmed it.
func (d *stompDriver) consume(ctx context.Context, server string, queues []int, r receiver) (link, error) {
	l, err := d.dial(ctx, server)
	if err != nil {
		return nil, err
	}
	in := &stompInlet{line: l, opts: d.opts, receiver: r, ready: make(chan struct{}, 1), pending: make(map[int]*batch)}
	l.serve(func() error { return l.conn.Serve(in) })
	for i, q := range queues {
		receipt := stompclient.Unconfirmed
		if i == len(queues)-1 {
			receipt = 0
		}
		if err := l.conn.Subscribe(strconv.Itoa(q), "/queue/"+d.opts.queueName(q), d.opts.Ack, d.opts.Credit, receipt); err != nil {
			l.abort()
			return nil, err
		}
	}
	select {
	case <-in.ready:
		return in, nil
	case <-l.done():
		l.abort()
		return nil, l.err()
	case <-ctx.Done():
		l.abort()
		return nil, ctx.Err()
	}
}

// Receipt implements stompclient.Handler; only the last subscription asked for
// one.
func (in *stompInlet) Receipt(uint64) {
	select {
	case in.ready <- struct{}{}:
	default:
	}
}

// Message implements stompclient.Handler.
func (in *stompInlet) Message(m stompclient.Message) {
	queue, err := strconv.Atoi(string(m.Subscription))
	if err != nil {
		return
	}
	in.receiver.receive(queue, m.Body, m.Redelivered)
	switch in.opts.Ack {
	case AckEach:
		_ = in.conn.Ack(m.AckID) // a failed connection ends Serve, which tells why
	case AckBatch:
		in.ackLater(queue, m.AckID)
	}
}

// ackLater acknowledges when half of the credit is used up.
func (in *stompInlet) ackLater(queue int, ackID []byte) {
	in.mu.Lock()
	defer in.mu.Unlock()
	b := in.pending[queue]
	if b == nil {
		b = &batch{}
		in.pending[queue] = b
	}
	b.n++
	b.last = append(b.last[:0], ackID...)
	if b.n >= (in.opts.Credit+1)/2 {
		_ = in.conn.Ack(b.last)
		b.n = 0
	}
}

// close acknowledges what is left, then ends the connection in order.
func (in *stompInlet) close(ctx context.Context) error {
	in.mu.Lock()
	for _, b := range in.pending {
		if b.n > 0 {
			_ = in.conn.Ack(b.last)
			b.n = 0
		}
	}
	in.mu.Unlock()
	return in.line.close(ctx)
}
