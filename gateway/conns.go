package gateway

import (
	"context"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
)

// client is a connection that counts against the limits.
type client struct {
	cut func() error // ends it at once, without a goodbye that could wait

	admitted atomic.Bool // it has logged in, or need not

	// Under the mutex of conns.
	addr   netip.Addr
	user   string
	socket socketConn // below everything; nil: not known
}

// socketConn is a connection that the kernel knows.
type socketConn interface {
	net.Conn
	syscall.Conn
}

// conns are live connections, with their limits. A limit of 0 for an address or
// a user means none of its own.
type conns struct {
	limit, perAddress, perUser int

	mu        sync.Mutex
	live      map[*client]struct{}
	addresses map[netip.Addr]int
	users     map[string]int
	closed    bool
	idle      chan struct{} // closed when closed and the last connection is gone
}

func newConns(limit, perAddress, perUser int) *conns {
	return &conns{
		limit: limit, perAddress: perAddress, perUser: perUser,
		live: make(map[*client]struct{}), addresses: make(map[netip.Addr]int), users: make(map[string]int),
		idle: make(chan struct{}),
	}
}

// add admits a connection that cut ends, from an address that is not valid while it
// is not known; nil comes with why it is refused, as the metric says it. Who is
// admitted is removed by the caller.
func (c *conns) add(cut func() error, from netip.Addr) (cl *client, refused string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed || len(c.live) >= c.limit {
		return nil, refusedConnections
	}
	cl = &client{cut: cut}
	if !c.place(cl, from) {
		return nil, refusedAddress
	}
	c.live[cl] = struct{}{}
	return cl, ""
}

// locate says where a connection comes from, unless that was said before; false
// means that there are as many from there as there may be.
func (c *conns) locate(cl *client, addr netip.Addr) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.place(cl, addr)
}

// over says on which socket a connection is, if nc is one.
func (c *conns) over(cl *client, nc net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	cl.socket, _ = nc.(socketConn)
}

// sockets returns the live connections whose sockets are known.
func (c *conns) sockets() map[*client]socketConn {
	c.mu.Lock()
	defer c.mu.Unlock()
	known := make(map[*client]socketConn, len(c.live))
	for cl := range c.live {
		if cl.socket != nil {
			known[cl] = cl.socket
		}
	}
	return known
}

// place does what locate does, under the mutex.
func (c *conns) place(cl *client, addr netip.Addr) bool {
	if c.perAddress == 0 || !addr.IsValid() || cl.addr.IsValid() {
		return true
	}
	if c.addresses[addr] >= c.perAddress {
		return false
	}
	c.addresses[addr]++
	cl.addr = addr
	return true
}

// name says whose connection it is; false means that the user has as many as
// there may be.
func (c *conns) name(cl *client, user string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if cl.user == user {
		return true
	}
	if c.perUser > 0 && c.users[user] >= c.perUser {
		return false
	}
	forget(c.users, cl.user)
	c.users[user]++
	cl.user = user
	return true
}

// remove says that a connection counts no more. Another call does nothing.
func (c *conns) remove(cl *client) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, live := c.live[cl]; !live {
		return
	}
	delete(c.live, cl)
	forget(c.addresses, cl.addr)
	forget(c.users, cl.user)
	if c.closed && len(c.live) == 0 {
		close(c.idle)
	}
}

// forget counts one less, if it was counted.
func forget[K comparable](counts map[K]int, k K) {
	switch counts[k] {
	case 0:
	case 1:
		delete(counts, k)
	default:
		counts[k]--
	}
}

// count returns how many connections are live.
func (c *conns) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.live)
}

// expel ends the connections of users for whom gone holds, and returns how many
// these were.
func (c *conns) expel(gone func(user string) bool) int {
	return end(c.list(func(cl *client) bool { return cl.user != "" && gone(cl.user) }))
}

// drain admits no more connections and waits until the last one ended. When ctx
// ends first the rest is cut off. It is called once; it returns how many were cut.
func (c *conns) drain(ctx context.Context) int {
	c.mu.Lock()
	c.closed = true
	if len(c.live) == 0 {
		close(c.idle)
	}
	c.mu.Unlock()
	select {
	case <-c.idle:
		return 0
	case <-ctx.Done():
	}
	n := end(c.list(func(*client) bool { return true }))
	<-c.idle
	return n
}

func (c *conns) list(want func(*client) bool) []*client {
	c.mu.Lock()
	defer c.mu.Unlock()
	var some []*client
	for cl := range c.live {
		if want(cl) {
			some = append(some, cl)
		}
	}
	return some
}

func end(some []*client) int {
	for _, cl := range some {
		_ = cl.cut() // it is given up: nobody needs the reason
	}
	return len(some)
}

type clientKey struct{}

// withClient returns the context of a connection.
func withClient(ctx context.Context, cl *client) context.Context {
	return context.WithValue(ctx, clientKey{}, cl)
}

// clientOf returns the connection that a context belongs to, or nil.
func clientOf(ctx context.Context) *client {
	cl, _ := ctx.Value(clientKey{}).(*client)
	return cl
}
