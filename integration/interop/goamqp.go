package interop

import (
	"context"
	"fmt"
	"net"

	"github.com/Azure/go-amqp"
)

// unconfirmed is how many sends the client keeps under way.
const unconfirmed = 500

// receiveCredit is the credit of Receive.
const receiveCredit = 500

// GoAMQP is github.com/Azure/go-amqp. It keeps several sends under way.
type GoAMQP struct{}

// Name is the module's short name.
func (GoAMQP) Name() string { return "go-amqp" }

// Protocol is AMQP 1.0.
func (GoAMQP) Protocol() Protocol { return AMQP }

// Missing is empty: the client is compiled in.
func (GoAMQP) Missing() string { return "" }

func dial(ctx context.Context, addr string) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, "tcp", addr)
}

// link is a connection with one session.
type link struct {
	nc      net.Conn
	conn    *amqp.Conn
	session *amqp.Session
}

// close ends the connection in good order, drop without a word.
func (l *link) close() { _ = l.conn.Close() }
func (l *link) drop()  { _ = l.nc.Close() }

func dialAMQP(ctx context.Context, addr string) (*link, error) {
	nc, err := dial(ctx, addr)
	if err != nil {
		return nil, fmt.Errorf("go-amqp: connect: %w", err)
	}
	c, err := amqp.NewConn(ctx, nc, &amqp.ConnOptions{SASLType: amqp.SASLTypeAnonymous(), HostName: "broker"})
	if err != nil {
		_ = nc.Close()
		return nil, fmt.Errorf("go-amqp: connect: %w", err)
	}
	s, err := c.NewSession(ctx, nil)
	if err != nil {
		_ = c.Close()
		return nil, fmt.Errorf("go-amqp: begin: %w", err)
	}
	return &link{nc: nc, conn: c, session: s}, nil
}

// sent is a message under way.
type sent struct {
	body    string
	receipt amqp.SendReceipt
}

// Send sends durable messages, unsettled, and waits for accepted.
func (a GoAMQP) Send(ctx context.Context, to Target, bodies []string, confirmed func(string)) error {
	return a.Stream(ctx, to, All(bodies), confirmed)
}

// Stream is Send for bodies that come one by one.
func (GoAMQP) Stream(ctx context.Context, to Target, bodies Source, confirmed func(string)) error {
	l, err := dialAMQP(ctx, to.Addr)
	if err != nil {
		return err
	}
	defer l.close()
	sender, err := l.session.NewSender(ctx, "queue://"+to.Queue, nil)
	if err != nil {
		return fmt.Errorf("go-amqp: attach: %w", err)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	pending, done := make(chan sent, unconfirmed), make(chan struct{})
	go func() {
		defer close(done)
		for p := range pending {
			state, err := p.receipt.Wait(ctx)
			if err != nil {
				cancel(fmt.Errorf("go-amqp: confirmation of %s: %w", p.body, err))
				return
			}
			if _, ok := state.(*amqp.StateAccepted); !ok {
				cancel(fmt.Errorf("go-amqp: outcome of %s: got %v, want accepted", p.body, state))
				return
			}
			confirmed(p.body)
		}
	}()
	err = sendAll(ctx, sender, to, bodies, pending)
	close(pending)
	<-done
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	if err != nil {
		return err
	}
	return sender.Close(ctx)
}

func sendAll(ctx context.Context, sender *amqp.Sender, to Target, bodies Source, pending chan<- sent) error {
	for body := range bodies(ctx) {
		m := amqp.NewMessage(padded(body, to.Size))
		m.Header = &amqp.MessageHeader{Durable: !to.Loose}
		receipt, err := sender.SendWithReceipt(ctx, m, nil)
		if err != nil {
			return fmt.Errorf("go-amqp: send %s: %w", body, err)
		}
		select {
		case pending <- sent{body, receipt}:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// Receive accepts each message.
func (a GoAMQP) Receive(ctx context.Context, from Target, n int, take func(Message) bool) error {
	return a.Consume(ctx, from, receiveCredit, counted(n, take))
}

// Consume settles each message as judge says.
func (GoAMQP) Consume(ctx context.Context, from Target, credit int, judge func(Message) Outcome) error {
	l, err := dialAMQP(ctx, from.Addr)
	if err != nil {
		return err
	}
	defer l.close()
	receiver, err := l.session.NewReceiver(ctx, "queue://"+from.Queue, &amqp.ReceiverOptions{Credit: int32(credit)})
	if err != nil {
		return fmt.Errorf("go-amqp: attach: %w", err)
	}
	for count := 0; ; count++ {
		m, err := receiver.Receive(ctx, nil)
		if err != nil {
			return fmt.Errorf("go-amqp: after %d messages: %w", count, err)
		}
		outcome := judge(Message{Body: bare(body(m)), Redelivered: marked(m), Failed: failed(m)})
		if err := settle(ctx, receiver, m, outcome); err != nil {
			return fmt.Errorf("go-amqp: settle: %w", err)
		}
		switch outcome {
		case Last:
			return receiver.Close(ctx)
		case Drop:
			l.drop()
			return nil
		default:
		}
	}
}

func settle(ctx context.Context, r *amqp.Receiver, m *amqp.Message, o Outcome) error {
	switch o {
	case Accept, Last:
		return r.AcceptMessage(ctx, m)
	case Release:
		return r.ReleaseMessage(ctx, m)
	case Fail:
		return r.ModifyMessage(ctx, m, &amqp.ModifyMessageOptions{DeliveryFailed: true})
	default:
		return nil
	}
}

// marked reports whether the message may have been handed out before: then its
// delivery-count is not zero. [messaging 3.2.1]
func marked(m *amqp.Message) bool { return m.Header != nil && m.Header.DeliveryCount > 0 }

// failed returns the failed attempts before. [messaging 3.2.1]
func failed(m *amqp.Message) int {
	if m.Header == nil {
		return 0
	}
	return int(m.Header.DeliveryCount)
}

// body returns the text of a message, whichever section carries it.
func body(m *amqp.Message) string {
	if text, ok := m.Value.(string); ok {
		return text
	}
	return string(m.GetData())
}
