package stompscript

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"time"

	"github.com/go-stomp/stomp/v3"
	"github.com/go-stomp/stomp/v3/frame"

	"github.com/selvedge-mq/selvedge/integration/interop"
)

// patience is how long a client waits for a frame that must come.
const patience = 20 * time.Second

// goSTOMP tries a feature of github.com/go-stomp/stomp.
func goSTOMP(ctx context.Context, w Way, f Feature, step func(port string)) error {
	g := &goClient{ctx: ctx, way: w}
	if f == walk {
		return g.walk(step) //nolint:contextcheck // the client holds it
	}
	test := map[Feature]func() error{
		Queue: g.queue, Ack: g.ack, Individual: g.individual, Nack: g.nack, Transaction: g.transaction, Temporary: g.temporary, Beats: g.beats,
	}[f]
	return test()
}

type goClient struct {
	ctx context.Context //nolint:containedctx // of one feature
	way Way
}

// goConn is a connection to one of the brokers.
type goConn struct {
	*stomp.Conn

	nc   net.Conn
	port string
}

// connect connects to the first broker that answers.
func (g *goClient) connect(opts ...func(*stomp.Conn) error) (*goConn, error) {
	var errs []error
	for _, addr := range g.way.Addrs {
		c, err := g.connectTo(addr, opts)
		if err == nil {
			return c, nil
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}

func (g *goClient) connectTo(addr string, opts []func(*stomp.Conn) error) (*goConn, error) {
	ctx, cancel := context.WithTimeout(g.ctx, patience)
	defer cancel()
	nc, err := g.dial(ctx, addr)
	if err != nil {
		return nil, err
	}
	all := append([]func(*stomp.Conn) error{
		stomp.ConnOpt.AcceptVersion(stomp.Version(g.way.Version)), stomp.ConnOpt.Login("bob", "secret"), stomp.ConnOpt.Host("/"),
		stomp.ConnOpt.Logger(interop.Quiet()), stomp.ConnOpt.RcvReceiptTimeout(patience), stomp.ConnOpt.HeartBeat(time.Minute, time.Minute),
	}, opts...)
	c, err := stomp.ConnectWithContext(ctx, nc, all...)
	if err != nil {
		_ = nc.Close()
		return nil, fmt.Errorf("connect: %w", err)
	}
	if got := string(c.Version()); got != g.way.Version {
		_ = nc.Close()
		return nil, fmt.Errorf("got version %s, want %s", got, g.way.Version)
	}
	_, port, err := net.SplitHostPort(addr)
	return &goConn{c, nc, port}, err
}

func (g *goClient) dial(ctx context.Context, addr string) (net.Conn, error) {
	if g.way.CA == "" {
		return new(net.Dialer).DialContext(ctx, "tcp", addr)
	}
	pem, err := os.ReadFile(g.way.CA)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem)
	return (&tls.Dialer{Config: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}}).DialContext(ctx, "tcp", addr)
}

// name names a destination of a feature.
func (g *goClient) name(of string) string { return "/queue/go." + of + "-" + g.way.Version }

// send sends persistent messages, each with a receipt.
func (g *goClient) send(c *goConn, to string, bodies ...string) error {
	for _, b := range bodies {
		if err := c.Send(to, "text/plain", []byte(b), stomp.SendOpt.Receipt, stomp.SendOpt.Header("persistent", "true")); err != nil {
			return fmt.Errorf("send %s: %w", b, err)
		}
	}
	return nil
}

// take takes the next message, which must be the one that is wanted.
func (g *goClient) take(sub *stomp.Subscription, want string, marked bool) (*stomp.Message, error) {
	m, err := g.next(sub)
	if err != nil {
		return nil, fmt.Errorf("want %s: %w", want, err)
	}
	if string(m.Body) != want || isMarked(m) != marked {
		return nil, fmt.Errorf("got %s %v, want %s, marked %v", m.Body, m.Header, want, marked)
	}
	return m, nil
}

func isMarked(m *stomp.Message) bool { return m.Header.Get("redelivered") == "true" }

// next waits for a message.
func (g *goClient) next(sub *stomp.Subscription) (*stomp.Message, error) {
	t := time.NewTimer(patience)
	defer t.Stop()
	select {
	case m, ok := <-sub.C:
		if !ok {
			return nil, errors.New("the subscription ended")
		}
		return m, m.Err
	case <-t.C:
		return nil, fmt.Errorf("no message within %v", patience)
	case <-g.ctx.Done():
		return nil, g.ctx.Err()
	}
}

// with connects, subscribes, calls use, and ends the connection in good order.
func (g *goClient) with(from string, mode stomp.AckMode, use func(*goConn, *stomp.Subscription) error, opts ...func(*frame.Frame) error) error {
	c, err := g.connect()
	if err != nil {
		return err
	}
	defer func() { _ = c.nc.Close() }()
	sub, err := c.Subscribe(from, mode, opts...)
	if err != nil {
		return fmt.Errorf("subscribe: %w", err)
	}
	if err := use(c, sub); err != nil {
		return err
	}
	return c.end()
}

// end disconnects; go-stomp says so too when the broker was faster to close.
func (c *goConn) end() error {
	if err := c.Disconnect(); err != nil && !errors.Is(err, stomp.ErrAlreadyClosed) {
		return fmt.Errorf("disconnect: %w", err)
	}
	return nil
}

func (g *goClient) queue() error {
	return g.with(g.name("queue"), stomp.AckAuto, func(c *goConn, sub *stomp.Subscription) error {
		for i := range 20 {
			n := strconv.Itoa(i)
			err := c.Send(g.name("queue"), "text/plain", []byte("m"+n), stomp.SendOpt.Receipt, stomp.SendOpt.Header("n", n))
			if err != nil {
				return err
			}
			m, err := g.take(sub, "m"+n, false)
			if err != nil {
				return err
			}
			if got := m.Header.Get("n"); got != n {
				return fmt.Errorf("got the header %q, want %q", got, n)
			}
		}
		return nil
	})
}

func (g *goClient) ack() error {
	prefetch := stomp.SubscribeOpt.Header("activemq.prefetchSize", "2")
	return errors.Join(
		g.with(g.name("ack"), stomp.AckClient, func(c *goConn, sub *stomp.Subscription) error {
			if err := g.send(c, g.name("ack"), "a", "b"); err != nil {
				return err
			}
			_, err1 := g.take(sub, "a", false)
			b, err2 := g.take(sub, "b", false)
			if err := errors.Join(err1, err2); err != nil {
				return err
			}
			err := errors.Join(c.Ack(b), g.send(c, g.name("ack"), "c"))
			_, err3 := g.take(sub, "c", false)
			return errors.Join(err, err3)
		}, prefetch),
		g.with(g.name("ack"), stomp.AckClient, func(c *goConn, sub *stomp.Subscription) error {
			m, err := g.take(sub, "c", true)
			if err != nil {
				return err
			}
			return c.Ack(m)
		}))
}

func (g *goClient) individual() error {
	return errors.Join(
		g.with(g.name("individual"), stomp.AckClientIndividual, func(c *goConn, sub *stomp.Subscription) error {
			if err := g.send(c, g.name("individual"), "a", "b", "c"); err != nil {
				return err
			}
			_, err1 := g.take(sub, "a", false)
			b, err2 := g.take(sub, "b", false)
			_, err3 := g.take(sub, "c", false)
			if err := errors.Join(err1, err2, err3); err != nil {
				return err
			}
			return c.Ack(b)
		}),
		g.with(g.name("individual"), stomp.AckClientIndividual, func(c *goConn, sub *stomp.Subscription) error {
			for _, want := range []string{"a", "c"} {
				m, err := g.take(sub, want, true)
				if err == nil {
					err = c.Ack(m)
				}
				if err != nil {
					return err
				}
			}
			return nil
		}))
}

func (g *goClient) nack() error {
	return g.with(g.name("nack"), stomp.AckClientIndividual, func(c *goConn, sub *stomp.Subscription) error {
		if err := g.send(c, g.name("nack"), "x"); err != nil {
			return err
		}
		m, err := g.take(sub, "x", false)
		if err == nil {
			err = c.Nack(m)
		}
		if err != nil {
			return err
		}
		// go-stomp cannot ask for the message again: what the broker does is to
		// take it for dead.
		dead, err := c.Subscribe("/queue/"+g.way.DeadLetters, stomp.AckClientIndividual)
		if err != nil {
			return err
		}
		if m, err = g.next(dead); err != nil || string(m.Body) != "x" {
			return fmt.Errorf("got %+v, %w as the dead letter, want x", m, err)
		}
		return c.Ack(m)
	})
}

func (g *goClient) transaction() error {
	return g.with(g.name("transaction"), stomp.AckClient, func(c *goConn, sub *stomp.Subscription) error {
		gone := c.Begin()
		if err := errors.Join(gone.Send(g.name("transaction"), "", []byte("never")), gone.AbortWithReceipt()); err != nil {
			return err
		}
		tx := c.Begin()
		err := errors.Join(
			tx.Send(g.name("transaction"), "", []byte("one")), tx.Send(g.name("transaction"), "", []byte("two")), tx.CommitWithReceipt())
		if err != nil {
			return err
		}
		_, err1 := g.take(sub, "one", false)
		two, err2 := g.take(sub, "two", false)
		if err := errors.Join(err1, err2); err != nil {
			return err
		}
		back := c.Begin()
		if err := errors.Join(back.Ack(two), back.AbortWithReceipt()); err != nil {
			return err
		}
		tx = c.Begin()
		if err := errors.Join(tx.Ack(two), tx.Send(g.name("transaction"), "", []byte("three")), tx.CommitWithReceipt()); err != nil {
			return err
		}
		three, err := g.take(sub, "three", false)
		if err != nil {
			return err
		}
		return c.Ack(three)
	})
}

func (g *goClient) temporary() error {
	return g.with(g.name("service"), stomp.AckAuto, func(serves *goConn, questions *stomp.Subscription) error {
		return g.with("/temp-queue/answers", stomp.AckAuto, func(asks *goConn, answers *stomp.Subscription) error {
			err := asks.Send(g.name("service"), "", []byte("question"), stomp.SendOpt.Header("reply-to", "/temp-queue/answers"))
			if err != nil {
				return err
			}
			m, err := g.take(questions, "question", false)
			if err != nil {
				return err
			}
			if err := serves.Send(m.Header.Get("reply-to"), "", []byte("answer")); err != nil {
				return err
			}
			_, err = g.take(answers, "answer", false)
			return err
		})
	})
}

// beats keeps a connection silent for several of its heart-beats.
func (g *goClient) beats() error {
	c, err := g.connect(stomp.ConnOpt.HeartBeat(500*time.Millisecond, 500*time.Millisecond), stomp.ConnOpt.HeartBeatError(200*time.Millisecond))
	if err != nil {
		return err
	}
	defer func() { _ = c.nc.Close() }()
	sub, err := c.Subscribe(g.name("beats"), stomp.AckAuto)
	if err != nil {
		return err
	}
	silence := time.NewTimer(2500 * time.Millisecond)
	defer silence.Stop()
	select {
	case m := <-sub.C:
		return fmt.Errorf("got %+v in the silence, want nothing", m)
	case <-silence.C:
	}
	if err := g.send(c, g.name("beats"), "alive"); err != nil {
		return err
	}
	_, err = g.take(sub, "alive", false)
	return errors.Join(err, c.end())
}
