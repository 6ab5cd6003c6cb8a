package gateway

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"github.com/selvedge-mq/selvedge/gateway/auth"
	"github.com/selvedge-mq/selvedge/gateway/config"
	"github.com/selvedge-mq/selvedge/protocols"
)

// Accept is tried again after a pause when it fails, for example because the
// process has no file descriptor left.
const (
	minAcceptPause = 5 * time.Millisecond
	maxAcceptPause = time.Second
)

// Keep-alives of a connection on which nothing is under way: its host is gone when it
// answers none for a minute.
const (
	keepIdle  = 30 * time.Second
	keepEvery = 10 * time.Second
	keepCount = 3
)

// listener is an open port.
type listener struct {
	port     config.Listener
	ln       net.Listener
	entrance *entrance
	conns    *conns
	web      *handoff // takes HTTP; nil where none comes
	metrics  *metrics
	log      zerolog.Logger

	fronts atomic.Pointer[frontSet] // nil: the node does not take clients yet
	wg     sync.WaitGroup           // of the connections
}

// frontSet are the front-ends behind a listener, by protocol.
type frontSet map[string]protocols.Frontend

// listen opens a port. The error names the setting that chose it.
func listen(ctx context.Context, port config.Listener) (net.Listener, error) {
	lc := net.ListenConfig{KeepAliveConfig: net.KeepAliveConfig{
		Enable: true, Idle: keepIdle, Interval: keepEvery, Count: keepCount,
	}}
	ln, err := lc.Listen(ctx, "tcp", port.Address)
	if err != nil {
		if e, ok := errors.AsType[*net.OpError](err); ok {
			err = e.Err
		}
		return nil, fmt.Errorf("%s: cannot listen on %s: %w (choose another address by %s)", port.Name, port.Address, err, port.Spelling())
	}
	return ln, nil
}

// serve accepts connections until the port is closed, and waits until all that
// it accepted have ended. ctx ends the connections, not the port.
func (l *listener) serve(ctx context.Context) {
	defer l.wg.Wait()
	pause := minAcceptPause
	for {
		nc, err := l.ln.Accept()
		if err == nil {
			pause = minAcceptPause
			l.admit(ctx, nc)
			continue
		}
		if errors.Is(err, net.ErrClosed) {
			return
		}
		l.log.Warn().Err(err).Dur("pause", pause).Msg("accept retried")
		_ = waited(ctx, pause) // the port closes after ctx has ended
		pause = min(2*pause, maxAcceptPause)
	}
}

// admit starts to serve a connection, or closes it if there are too many. Its
// address is counted before its first byte; behind a proxy it is not known yet.
func (l *listener) admit(ctx context.Context, nc net.Conn) {
	var from netip.Addr
	if at := nc.RemoteAddr(); !l.entrance.fromProxy(at) {
		from = addrOf(at)
	}
	cl, why := l.conns.add(nc.Close, from)
	if cl == nil {
		l.refuse(nc, why, nil)
		return
	}
	l.conns.over(cl, nc)
	l.wg.Go(func() {
		defer l.conns.remove(cl)
		if front, ctx, nc := l.arrive(ctx, cl, nc); front != nil {
			l.guard(ctx, front, nc)
		}
	})
}

// refuse closes a connection before its protocol begins.
func (l *listener) refuse(nc net.Conn, why string, err error) {
	l.metrics.refuse(l.port.Protocol, why)
	l.log.Debug().Stringer("remote", nc.RemoteAddr()).Str("limit", why).AnErr("reason", err).Msg("connection refused")
	_ = nc.Close() // refused: nobody needs the reason
}

// arrive leads a connection to its protocol, and returns the front-end that serves it
// with what that one needs; nil when the connection was refused, or taken by the web
// server. It returns first: what is on the stack of a connection lies there for as long
// as the connection lasts.
func (l *listener) arrive(ctx context.Context, cl *client, nc net.Conn) (protocols.Frontend, context.Context, net.Conn) {
	if tcp, ok := nc.(*net.TCPConn); ok {
		if err := tcp.SetNoDelay(true); err != nil {
			l.log.Debug().Err(err).Msg("no delay was not set")
		}
	}
	a, err := l.entrance.enter(ctx, nc, l.port)
	if err != nil {
		l.refuse(nc, refusedHandshake, err)
		return nil, nil, nil
	}
	if a.protocol == config.ProtocolHTTP || l.port.WebSocket {
		l.conns.remove(cl) // it counts as a visit from here on
		l.web.give(a, l)
		return nil, nil, nil
	}
	if !l.conns.locate(cl, addrOf(a.RemoteAddr())) {
		l.refuse(a, refusedAddress, nil)
		return nil, nil, nil
	}
	fronts := l.fronts.Load()
	if fronts == nil {
		l.refuse(a, refusedStarting, nil)
		return nil, nil, nil
	}
	return (*fronts)[a.protocol], auth.WithCertificate(withClient(ctx, cl), a.certificate), a.Conn
}

// guard serves one connection. A panic is a bug: it costs that connection, not
// the node.
func (l *listener) guard(ctx context.Context, front protocols.Frontend, nc net.Conn) {
	l.metrics.accepted.WithLabelValues(front.Name()).Inc()
	defer l.rescue(front, nc)
	_ = front.Serve(ctx, nc) // it logs why the connection ended
	l.countRefused(ctx, front)
}

// rescue is deferred: it closes a connection whose front-end panicked.
func (l *listener) rescue(front protocols.Frontend, nc net.Conn) {
	if p := recover(); p != nil {
		l.metrics.panics.WithLabelValues(front.Name()).Inc()
		l.log.Error().Str("proto", front.Name()).Stringer("remote", nc.RemoteAddr()).
			Interface("panic", p).Str("stack", string(debug.Stack())).Msg("connection closed because of a bug")
		_ = nc.Close() // the front-end may have closed it already
	}
}

// countRefused counts a connection that ended before it had logged in.
func (l *listener) countRefused(ctx context.Context, front protocols.Frontend) {
	if cl := clientOf(ctx); cl != nil && !cl.admitted.Load() {
		l.metrics.refuse(front.Name(), refusedLogin)
	}
}
