package stomp

import (
	"context"
	"sync"
	"time"

	"github.com/selvedge-mq/selvedge/routing"
)

// clientPatience is how long a login waits for the client-id of a connection that
// is about to end: a client that comes back at once may overtake its own end.
const clientPatience = time.Second

// Clients holds the client-ids in use on the front-ends that share it, where a
// dialect or a setting allows each of them once. It knows one node. It is safe for
// concurrent use. The zero value is ready.
type Clients struct {
	mu   sync.Mutex
	held map[string]*claim
}

// claim is a client-id that a connection has, or wants.
type claim struct {
	of     *Clients
	id     string
	who    routing.Principal
	remote string        // host:port
	stolen func()        // tells the connection that another has the id now; does not block
	gone   chan struct{} // closed: the id is free again

	dropped bool // guarded by of.mu
}

// take gives the client-id to a claim, or says who has it. With steal it takes it
// away from another connection of the same user.
func (c *Clients) take(l *claim, steal bool) (holder *claim) {
	c.mu.Lock()
	defer c.mu.Unlock()
	holder = c.held[l.id]
	if holder != nil && (!steal || holder.who != l.who) {
		return holder
	}
	if c.held == nil {
		c.held = make(map[string]*claim)
	}
	c.held[l.id] = l
	if holder != nil {
		holder.stolen()
	}
	return nil
}

// drop gives the client-id free. A nil claim has none, and a second drop does
// nothing.
func (l *claim) drop() {
	if l == nil {
		return
	}
	l.of.mu.Lock()
	defer l.of.mu.Unlock()
	if l.dropped {
		return
	}
	l.dropped = true
	close(l.gone)
	if l.of.held[l.id] == l {
		delete(l.of.held, l.id)
	}
}

// claimID takes the client-id of a login, if there is one and each is allowed once. It
// waits for a connection that ends, not for one that lives.
func (c *conn) claimID(ctx context.Context, who routing.Principal, o routing.SessionOptions) error {
	rule := c.fe.dialect.clientIDs
	if o.ClientID == "" || rule == ClientIDsShare {
		return nil
	}
	l := &claim{
		of: c.fe.clients, id: o.ClientID, who: who, remote: o.Remote, gone: make(chan struct{}),
		stolen: func() { c.events.Put(event{run: (*machine).superseded}) },
	}
	patience := time.NewTimer(clientPatience)
	defer patience.Stop()
	for {
		holder := l.of.take(l, rule == ClientIDsTakeOver)
		if holder == nil {
			c.claim = l
			return nil
		}
		select {
		case <-holder.gone:
			continue
		case <-ctx.Done():
		case <-patience.C:
		}
		return c.taken(l, holder)
	}
}

// maxClientText bounds what an ERROR repeats of a client-id, in octets.
const maxClientText = 256

// taken says that another connection has the client-id, in the words of ActiveMQ.
// Where it is from is the business of its own user alone.
func (c *conn) taken(l, holder *claim) error {
	from := "by another user"
	if holder.who == l.who {
		from = "from tcp://" + holder.remote
	}
	id := l.id
	if len(id) > maxClientText {
		id = id[:maxClientText]
	}
	w := invalid("Broker: %s - Client: %s already connected %s", c.fe.env.Node, id, from)
	w.code = routing.CodeLocked
	return w
}

// superseded ends a connection whose client-id another one has taken over. What it
// has sent is confirmed before.
func (m *machine) superseded() {
	if m.state < stateLeaving {
		m.breach(&wireError{code: routing.CodeLocked, message: "another connection has taken over the client-id"}, "", false)
	}
}
