package bench

import (
	"context"

	"github.com/selvedge-mq/selvedge/cmd/selvedge/internal/amqpclient"
)

// amqpDriver speaks AMQP 1.0 with a client of the bench's own.
type amqpDriver struct{ opts *Options }

func (d *amqpDriver) dial(ctx context.Context, server string) (*line[*amqpclient.Conn], error) {
	at, err := d.opts.reach(server, AMQP)
	if err != nil {
		return nil, err
	}
	conn, err := amqpclient.Dial(ctx, at.Addr, amqpclient.Options{User: at.User, Password: at.Password, Patience: d.opts.Patience, Dial: at.dial})
	if err != nil {
		return nil, d.opts.unreached(at, err)
	}
	return newLine(conn), nil
}

// amqpOutlet sends over a link for each queue and hands outcomes on.
type amqpOutlet struct {
	*line[*amqpclient.Conn]
	opts      *Options
	confirmer confirmer
	template  *amqpclient.Template
	senders   map[int]*amqpclient.Sender // by queue; used by the sender alone
}

func (d *amqpDriver) produce(ctx context.Context, server string, c confirmer) (outlet, error) {
	l, err := d.dial(ctx, server)
	if err != nil {
		return nil, err
	}
	o := &amqpOutlet{
		line: l, opts: d.opts, confirmer: c,
		template: amqpclient.NewTemplate(d.opts.Persistent), senders: make(map[int]*amqpclient.Sender),
	}
	l.serve(func() error { return l.conn.Serve(o) })
	return o, nil
}

// send attaches to the queue the first time.
func (o *amqpOutlet) send(ctx context.Context, queue int, seq uint64, body []byte) error {
	s := o.senders[queue]
	if s == nil {
		attaching, cancel := context.WithTimeout(ctx, o.opts.Patience)
		defer cancel()
		var err error
		if s, err = o.conn.AttachSender(attaching, "queue://"+o.opts.queueName(queue), "queue", o.template, o.opts.Window == 0); err != nil {
			return err
		}
		o.senders[queue] = s
	}
	return o.conn.Send(ctx, s, body, seq)
}

// Settled implements amqpclient.Handler.
func (o *amqpOutlet) Settled(token uint64, err error) { o.confirmer.confirm(token, err) }

// Message implements amqpclient.Handler; no receiver is attached.
func (o *amqpOutlet) Message(*amqpclient.Receiver, []byte, bool) {}

// amqpInlet hands messages on.
type amqpInlet struct {
	*line[*amqpclient.Conn]
	receiver receiver
}

func (d *amqpDriver) consume(ctx context.Context, server string, queues []int, r receiver) (link, error) {
	l, err := d.dial(ctx, server)
	if err != nil {
		return nil, err
	}
	in := &amqpInlet{line: l, receiver: r}
	l.serve(func() error { return l.conn.Serve(in) })
	ackEvery := map[string]int{AckEach: 1, AckBatch: d.opts.Credit / 2, AckAuto: 0}[d.opts.Ack]
	if d.opts.Ack == AckBatch {
		ackEvery = max(ackEvery, 1)
	}
	for _, q := range queues {
		_, err := l.conn.AttachReceiver(ctx, amqpclient.ReceiverOptions{
			Address: "queue://" + d.opts.queueName(q), Kind: "queue", Credit: d.opts.Credit, AckEvery: ackEvery, Tag: q,
		})
		if err != nil {
			l.abort()
			return nil, err
		}
	}
	return in, nil
}

// Settled implements amqpclient.Handler; nothing was sent.
func (in *amqpInlet) Settled(uint64, error) {}

// Message implements amqpclient.Handler.
func (in *amqpInlet) Message(l *amqpclient.Receiver, body []byte, redelivered bool) {
	in.receiver.receive(l.Tag, body, redelivered)
}
