// Package stomp is the front-end of STOMP 1.0, 1.1 and 1.2: it turns frames
// into requests to the broker and deliveries into frames. It knows the routing
// contracts; it does not know how a message is stored or where.
package stomp

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"net"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/selvedge-mq/selvedge/protocols"
	"github.com/selvedge-mq/selvedge/protocols/stomp/frame"
)

// Frontend serves STOMP connections. It is safe for concurrent use.
type Frontend struct {
	env      protocols.Env
	limits   protocols.Limits
	own      Limits
	dialect  *behavior
	durable  bool // a SEND that does not say is persistent
	clients  *Clients
	metrics  *metrics
	batches  frame.Pool
	buffers  sync.Pool     // of *buffer
	sessions atomic.Uint64 // how many there were
	prefix   string        // of session ids: unique for this process
}

// buffer is memory for frames to write.
type buffer struct{ b []byte }

const bufferSize = 64 << 10

var _ protocols.Frontend = (*Frontend)(nil)

// New returns a front-end, or says which option is wrong.
func New(o Options) (*Frontend, error) {
	switch {
	case o.Env.Broker == nil:
		return nil, errors.New("stomp: Options.Env.Broker is missing")
	case o.Env.Auth == nil:
		return nil, errors.New("stomp: Options.Env.Auth is missing")
	}
	dialect, err := o.Dialect.resolve(o.Switches)
	if err != nil {
		return nil, err
	}
	own, err := o.Limits.withDefaults()
	if err != nil {
		return nil, err
	}
	m, err := newMetrics(o.Env.Metrics)
	if err != nil {
		return nil, err
	}
	var salt [6]byte
	if _, err := rand.Read(salt[:]); err != nil {
		return nil, err
	}
	return &Frontend{
		env:     o.Env,
		limits:  o.Env.Limits.WithDefaults(),
		own:     own,
		dialect: dialect,
		durable: o.Persistent,
		clients: cmp.Or(o.Clients, new(Clients)),
		metrics: m,
		prefix:  "S-" + hex.EncodeToString(salt[:]) + "-",
	}, nil
}

// Name returns "stomp".
func (f *Frontend) Name() string { return "stomp" }

// Serve runs one connection until it ends and closes it.
func (f *Frontend) Serve(ctx context.Context, nc net.Conn) error {
	f.metrics.connections.Inc()
	defer f.metrics.connections.Dec()
	c := newConn(f, nc)
	return c.serve(ctx)
}

// newSessionID returns an id of letters, digits and '-', so that no client's
// escaping can harm it.
func (f *Frontend) newSessionID() string {
	return f.prefix + strconv.FormatUint(f.sessions.Add(1), 10)
}

func (f *Frontend) takeBuffer() []byte {
	if b, ok := f.buffers.Get().(*buffer); ok {
		return b.b[:0]
	}
	return make([]byte, 0, bufferSize)
}

func (f *Frontend) giveBuffer(b []byte) {
	if cap(b) >= bufferSize && cap(b) <= 4*bufferSize {
		f.buffers.Put(&buffer{b})
	}
}
