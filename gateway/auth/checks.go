package auth

import (
	"context"
	"net"
	"net/netip"
	"sync"

	"github.com/selvedge-mq/selvedge/routing"
)

// checks computes password hashes, a few at a time, in the order of their
// arrival. Logins that are equal are one check. It is safe for concurrent use.
type checks struct {
	slots chan struct{} // one for each hash computed at a time
	most  int           // checks of one place at a time, those that wait among them

	mu      sync.Mutex
	running map[cacheKey]*check
	waiting map[netip.Prefix]int // how many checks began there
}

// check is a login whose hash is computed, or waits for it.
type check struct {
	ended chan struct{} // closed at its end, after the rest was written
	done  bool          // otherwise who began it gave up
	right bool
}

func newChecks(slots, most int) *checks {
	return &checks{slots: make(chan struct{}, slots), most: most, running: make(map[cacheKey]*check), waiting: make(map[netip.Prefix]int)}
}

// judge returns what matches says of the login, which may be the answer to an
// equal one. The error is an *[routing.Error]: CodeFull when the place has as many
// checks as there may be, CodeUnauthorized when ctx ends first.
func (c *checks) judge(ctx context.Context, remote net.Addr, login cacheKey, matches func() bool) (bool, error) {
	at := placeOf(remote)
	for {
		k, mine := c.join(at, login)
		switch {
		case k == nil:
			return false, &routing.Error{
				Code: routing.CodeFull, Op: "log in", Reason: "too many logins from this address wait to be checked, try again",
			}
		case mine:
			return c.run(ctx, at, login, k, matches)
		}
		select {
		case <-k.ended:
			if k.done {
				return k.right, nil
			}
		case <-ctx.Done():
			return false, errLate()
		}
	}
}

// join returns the check of a login, and whether the caller is to run it; nil
// when the place has as many as there may be.
func (c *checks) join(at netip.Prefix, login cacheKey) (k *check, mine bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if k := c.running[login]; k != nil {
		return k, false
	}
	if c.waiting[at] >= c.most {
		return nil, false
	}
	c.waiting[at]++
	k = &check{ended: make(chan struct{})}
	c.running[login] = k
	return k, true
}

func (c *checks) run(ctx context.Context, at netip.Prefix, login cacheKey, k *check, matches func() bool) (bool, error) {
	defer c.leave(at, login, k)
	select {
	case c.slots <- struct{}{}:
	case <-ctx.Done():
		return false, errLate()
	}
	defer func() { <-c.slots }()
	k.right = matches()
	k.done = true
	return k.right, nil
}

func (c *checks) leave(at netip.Prefix, login cacheKey, k *check) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.running, login)
	if c.waiting[at]--; c.waiting[at] == 0 {
		delete(c.waiting, at)
	}
	close(k.ended)
}

func errLate() error { return denied("the login was not checked in time, try again") }

// placeOf returns where a client is: its address, or the network of IPv6 that one
// site has. Clients from nowhere are in one place.
func placeOf(remote net.Addr) netip.Prefix {
	if remote == nil {
		return netip.Prefix{}
	}
	at, err := netip.ParseAddrPort(remote.String())
	if err != nil {
		return netip.Prefix{}
	}
	addr := at.Addr().Unmap().WithZone("")
	bits := 32
	if addr.Is6() {
		bits = 64
	}
	return netip.PrefixFrom(addr, bits).Masked()
}
