package gateway

import (
	"context"
	"net"
	"sync"
)

// handoff is the listener of an HTTP server: it gets its connections from ports
// that speak other protocols too.
type handoff struct {
	conns *conns // bounds them
	queue chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func newHandoff(limit, perAddress int) *handoff {
	return &handoff{conns: newConns(limit, perAddress, 0), queue: make(chan net.Conn), done: make(chan struct{})}
}

// Accept returns the next connection, a [*visit].
func (h *handoff) Accept() (net.Conn, error) {
	select {
	case nc := <-h.queue:
		return nc, nil
	case <-h.done:
		return nil, net.ErrClosed
	}
}

// Close ends Accept. Connections that were given stay open.
func (h *handoff) Close() error {
	h.once.Do(func() { close(h.done) })
	return nil
}

// Addr returns an address that says nothing: there are several.
func (*handoff) Addr() net.Addr { return &net.TCPAddr{} }

// give hands a connection over, or closes it when there are too many or the
// server has ended.
func (h *handoff) give(a *arrival, from *listener) {
	cl, why := h.conns.add(a.cut, addrOf(a.RemoteAddr()))
	if cl == nil {
		from.refuse(a, why, nil)
		return
	}
	v := &visit{arrival: a, from: from, leave: func() { h.conns.remove(cl) }}
	select {
	case h.queue <- v:
	case <-h.done:
		_ = v.Close() // the server is gone: nobody needs the reason
	}
}

// visit is a connection that speaks HTTP.
type visit struct {
	*arrival

	from  *listener
	leave func() // gives its place among the visits back; the first call does
}

// Close ends the visit.
func (v *visit) Close() error {
	v.leave()
	return v.arrival.Close()
}

type visitKey struct{}

// withVisit is the ConnContext of an HTTP server on a handoff.
func withVisit(ctx context.Context, nc net.Conn) context.Context {
	v, ok := nc.(*visit)
	if !ok {
		return ctx
	}
	return context.WithValue(ctx, visitKey{}, v)
}

// visitOf returns the connection of a request.
func visitOf(ctx context.Context) *visit {
	v, _ := ctx.Value(visitKey{}).(*visit)
	return v
}
