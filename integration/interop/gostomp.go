package interop

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/go-stomp/stomp/v3"
	"github.com/go-stomp/stomp/v3/frame"
)

// receiptTimeout is longer than any pause that a test allows.
const receiptTimeout = 60 * time.Second

// GoSTOMP is github.com/go-stomp/stomp, STOMP 1.2. It waits for each receipt
// before it sends the next message.
type GoSTOMP struct{}

// Name is the module's short name.
func (GoSTOMP) Name() string { return "go-stomp" }

// Protocol is STOMP.
func (GoSTOMP) Protocol() Protocol { return STOMP }

// Missing is empty: the client is compiled in.
func (GoSTOMP) Missing() string { return "" }

// watched is a connection that tells when nothing more can be read from it.
type watched struct {
	net.Conn
	once  sync.Once
	ended chan struct{}
}

func (w *watched) Read(p []byte) (int, error) {
	n, err := w.Conn.Read(p)
	if err != nil {
		w.once.Do(func() { close(w.ended) })
	}
	return n, err
}

func dialSTOMP(ctx context.Context, addr string) (*stomp.Conn, *watched, func(), error) {
	plain, err := dial(ctx, addr)
	if err != nil {
		return nil, nil, nil, err
	}
	nc := &watched{Conn: plain, ended: make(chan struct{})}
	c, err := stomp.Connect(nc,
		stomp.ConnOpt.Logger(Quiet()),
		stomp.ConnOpt.RcvReceiptTimeout(receiptTimeout),
		stomp.ConnOpt.DisconnectReceiptTimeout(receiptTimeout),
		stomp.ConnOpt.HeartBeat(time.Minute, time.Minute))
	if err != nil {
		_ = nc.Close()
		return nil, nil, nil, fmt.Errorf("go-stomp: connect: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { _ = nc.Close() })
	return c, nc, func() { stop(); _ = nc.Close() }, nil
}

// Send sends with a receipt for each message.
func (s GoSTOMP) Send(ctx context.Context, to Target, bodies []string, confirmed func(string)) error {
	return s.Stream(ctx, to, All(bodies), confirmed)
}

// Stream is Send for bodies that come one by one. The receipt of a message is
// named by its body.
func (GoSTOMP) Stream(ctx context.Context, to Target, bodies Source, confirmed func(string)) error {
	c, nc, closeAll, err := dialSTOMP(ctx, to.Addr)
	if err != nil {
		return err
	}
	defer closeAll()
	for body := range bodies(ctx) {
		err := nc.attempt(func() error {
			return c.Send("/queue/"+to.Queue, "text/plain", padded(body, to.Size),
				stomp.SendOpt.Header("receipt", body), stomp.SendOpt.Header("persistent", strconv.FormatBool(!to.Loose)))
		})
		if err != nil {
			return fmt.Errorf("go-stomp: send %s: %w", body, err)
		}
		confirmed(body)
	}
	return c.Disconnect()
}

// lastWords is how long go-stomp has to pass on what came before the end.
const lastWords = 100 * time.Millisecond

// attempt sends. When an ERROR comes at the very moment of a send, go-stomp
// never looks at that send again and waits for its receipt in vain; so the end
// of the connection ends the attempt.
func (w *watched) attempt(send func() error) error {
	done := make(chan error, 1)
	go func() { done <- send() }()
	select {
	case err := <-done:
		return err
	case <-w.ended:
	}
	t := time.NewTimer(lastWords)
	defer t.Stop()
	select {
	case err := <-done:
		return err
	case <-t.C:
		return io.ErrUnexpectedEOF
	}
}

// Receive acknowledges each message by itself (client-individual).
func (s GoSTOMP) Receive(ctx context.Context, from Target, n int, take func(Message) bool) error {
	return s.Consume(ctx, from, 0, counted(n, take))
}

// Consume acknowledges each message by itself (client-individual) that judge
// accepts. Without credit the broker chooses how many come ahead. go-stomp can
// not give a message back.
func (GoSTOMP) Consume(ctx context.Context, from Target, credit int, judge func(Message) Outcome) error {
	c, _, closeAll, err := dialSTOMP(ctx, from.Addr)
	if err != nil {
		return err
	}
	defer closeAll()
	var opts []func(*frame.Frame) error
	if credit > 0 {
		opts = append(opts, stomp.SubscribeOpt.Header("prefetch-count", strconv.Itoa(credit)))
	}
	sub, err := c.Subscribe("/queue/"+from.Queue, stomp.AckClientIndividual, opts...)
	if err != nil {
		return fmt.Errorf("go-stomp: subscribe: %w", err)
	}
	for count := 0; ; count++ {
		m, err := next(ctx, sub)
		if err != nil {
			return fmt.Errorf("go-stomp: after %d messages: %w", count, err)
		}
		switch o := judge(Message{Body: bare(string(m.Body)), Redelivered: redelivered(m.Header)}); o {
		case Accept, Last:
			if err := c.Ack(m); err != nil {
				return fmt.Errorf("go-stomp: ack: %w", err)
			}
			if o == Last {
				return disconnect(c)
			}
		case Keep:
		case Drop:
			return nil
		default:
			return fmt.Errorf("go-stomp: outcome %d: %w", o, errors.ErrUnsupported)
		}
	}
}

// next waits for a message.
func next(ctx context.Context, sub *stomp.Subscription) (*stomp.Message, error) {
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case m, ok := <-sub.C:
		if !ok {
			return nil, io.ErrUnexpectedEOF
		}
		return m, m.Err
	}
}

// disconnect ends a connection whose acknowledgements must have arrived.
func disconnect(c *stomp.Conn) error {
	if err := c.Disconnect(); err != nil && !errors.Is(err, stomp.ErrAlreadyClosed) {
		return fmt.Errorf("go-stomp: disconnect: %w", err)
	}
	return nil
}

func redelivered(h *frame.Header) bool { return h.Get("redelivered") == "true" }
