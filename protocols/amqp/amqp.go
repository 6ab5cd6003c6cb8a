// Package amqp is the AMQP 1.0 front-end: it speaks the protocol with clients
// as a broker does. It knows connections, sessions, links, credit and outcomes;
// it does not know how messages are stored or routed.
package amqp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/selvedge-mq/selvedge/internal/aside"
	"github.com/selvedge-mq/selvedge/protocols"
	"github.com/selvedge-mq/selvedge/routing"
)

const (
	minMaxFrameSize = 512 // MIN-MAX-FRAME-SIZE [transport 2.8.19]
	maxHandle       = 4095
	maxChannel      = 1023
	minIdle         = 100 * time.Millisecond // idle-time-out of a peer that we can honor
	closeGrace      = 5 * time.Second        // for the peer's close after ours, and for the last bytes
	drainGrace      = 2 * time.Second        // for confirmations under way when the node drains
	writeTimeout    = 60 * time.Second       // a peer that takes no byte for so long is gone
)

// Options configure a front-end. Zero fields mean the default.
type Options struct {
	Env          protocols.Env
	MaxFrameSize uint32        // greatest frame taken and sent; default 128 KiB, at least 512
	IdleTimeout  time.Duration // a client silent for so long is cut off, half is told to it; default 60 s
	Credit       uint32        // of a client's sending link; default 1000
	Window       uint32        // incoming window of a session in transfers; default 2048

	// Names are shared by the front-ends of a node: a client may come back by
	// another listener. Nil means names of this front-end alone.
	Names *Names

	// Dialect is whose spelling of addresses is read; default Artemis.
	Dialect Dialect
	// QueuePrefix and TopicPrefix are told to clients, which put them in front of
	// the names of queues and topics; addresses that have one are of that kind.
	QueuePrefix, TopicPrefix string
	// TransactionTimeout is how long a transaction that holds work may be idle,
	// within a quarter of IdleTimeout; default 5 min.
	TransactionTimeout time.Duration
	Transactions       int // of a connection that are not discharged; default 256
	DynamicNodes       int // of a connection; default 1024
	Links              int // of a connection; default 10,000
	// SuspendedBytes bounds what the node remembers of links that have ended before
	// their termini, so that they can be resumed; default 16 MiB.
	SuspendedBytes int
	// SuspendedTime is how long it is remembered at most when the connection has
	// ended; default 10 min.
	SuspendedTime time.Duration
	// NoBareAMQP refuses clients that begin without SASL, also where the policy
	// admits them without a login.
	NoBareAMQP bool
}

func (o Options) withDefaults() Options {
	if o.MaxFrameSize == 0 {
		o.MaxFrameSize = 128 << 10
	}
	if o.IdleTimeout == 0 {
		o.IdleTimeout = time.Minute
	}
	if o.Credit == 0 {
		o.Credit = 1000
	}
	if o.Window == 0 {
		o.Window = 2048
	}
	if o.Dialect == "" {
		o.Dialect = Artemis
	}
	if o.TransactionTimeout == 0 {
		o.TransactionTimeout = 5 * time.Minute
	}
	if o.Transactions == 0 {
		o.Transactions = 256
	}
	if o.DynamicNodes == 0 {
		o.DynamicNodes = 1024
	}
	if o.Links == 0 {
		o.Links = 10_000
	}
	if o.SuspendedBytes == 0 {
		o.SuspendedBytes = 16 << 20
	}
	if o.SuspendedTime == 0 {
		o.SuspendedTime = 10 * time.Minute
	}
	if o.Names == nil {
		o.Names = new(Names)
	}
	o.Env.Limits = o.Env.Limits.WithDefaults()
	return o
}

func (o Options) check() error {
	switch {
	case o.Env.Broker == nil:
		return errors.New("amqp: Options.Env.Broker is missing")
	case o.Env.Auth == nil:
		return errors.New("amqp: Options.Env.Auth is missing")
	case o.MaxFrameSize < minMaxFrameSize:
		return fmt.Errorf("amqp: Options.MaxFrameSize is %d, want at least %d", o.MaxFrameSize, minMaxFrameSize)
	case o.IdleTimeout < 0:
		return fmt.Errorf("amqp: Options.IdleTimeout is %v, want a positive duration", o.IdleTimeout)
	case o.TransactionTimeout < 0:
		return fmt.Errorf("amqp: Options.TransactionTimeout is %v, want a positive duration", o.TransactionTimeout)
	case o.Transactions < 0 || o.DynamicNodes < 0 || o.Links < 0:
		return errors.New("amqp: Options.Transactions, Options.DynamicNodes and Options.Links must not be negative")
	case o.SuspendedBytes < 0 || o.SuspendedTime < 0:
		return errors.New("amqp: Options.SuspendedBytes and Options.SuspendedTime must not be negative")
	case prefixes[o.Dialect] == nil:
		return fmt.Errorf("amqp: Options.Dialect is %q, want %s, %s or %s", o.Dialect, Artemis, ActiveMQ, RabbitMQ)
	case o.Credit > 1<<20 || o.Window > 1<<20:
		return errors.New("amqp: Options.Credit and Options.Window may be at most 1048576")
	}
	return nil
}

// Frontend serves AMQP 1.0 connections. It is safe for concurrent use.
type Frontend struct {
	o       Options
	metrics *metrics
	pools   pools
	speller speller

	exchanger protocols.Exchanger // nil when the authenticator is none
}

// New returns a front-end, or an error that names the option that is wrong.
func New(o Options) (*Frontend, error) {
	o = o.withDefaults()
	if err := o.check(); err != nil {
		return nil, err
	}
	m, err := newMetrics(o.Env.Metrics)
	if err != nil {
		return nil, fmt.Errorf("amqp: register metrics: %w", err)
	}
	f := &Frontend{o: o, metrics: m, speller: newSpeller(o.Dialect, o.QueuePrefix, o.TopicPrefix)}
	f.exchanger, _ = o.Env.Auth.(protocols.Exchanger)
	return f, nil
}

// Name returns "amqp".
func (*Frontend) Name() string { return "amqp" }

// Serve runs one connection until it ends and closes it.
func (f *Frontend) Serve(ctx context.Context, nc net.Conn) error {
	defer hangUp(nc)
	f.metrics.connections.Inc()
	defer f.metrics.connections.Dec()
	in := newReader(nc, &f.pools, f.o.MaxFrameSize)
	login := time.Now().Add(f.o.Env.Limits.LoginTimeout)
	var who routing.Principal
	var err error
	aside.Do(func() { who, err = f.negotiate(ctx, nc, in, login) })
	if err != nil {
		linger(nc)
		return err
	}
	return newConn(f, nc, in, who, login).serve(ctx)
}

// hangUp closes a connection. That it fails matters to nobody: all that counts
// was written before, and who waits for the connection is freed.
func hangUp(nc net.Conn) { _ = nc.Close() }

// lingerTime is what a refused client has to read the answer.
const lingerTime = time.Second

// linger lets a refused client read the answer: closing a socket on which bytes
// wait unread would destroy it. One that floods is not read any more then, but has the
// rest of the time.
func linger(nc net.Conn) {
	end := time.NewTimer(lingerTime)
	defer end.Stop()
	half, ok := nc.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil || nc.SetReadDeadline(time.Now().Add(lingerTime)) != nil {
		return
	}
	if _, err := io.CopyN(io.Discard, nc, bufferSize); err == nil {
		<-end.C
	}
}
