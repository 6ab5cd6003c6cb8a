package amqp

import (
	"sync"

	"github.com/selvedge-mq/selvedge/protocols/amqp/frames"
	"github.com/selvedge-mq/selvedge/routing"
)

// linkKey is what a link is known by: the two containers, the name
// and the direction. [transport 2.6.1] A container-id is not a credential, so the
// user is a part too; a client that names no container is one of its own.
type linkKey struct {
	user      string
	container string
	conn      *conn // of a client without a container-id
	name      string
	role      frames.Role // ours
}

// Names holds the attached links of all connections to the front-ends that share
// it, so that a link that is attached again takes the first one's place: clients
// reconnect before the node knows that their old connection is dead. It is safe
// for concurrent use. The zero value is ready.
//
// Between two connections that both live, a link gives way only when its terminus
// is durable, so that the name stands for something. Other names are not unique in
// practice: libraries make them of the container-id and the address, and
// applications give all their processes one container-id.
type Names struct {
	mu   sync.Mutex
	held map[linkKey]*claim

	left suspended // by links that have ended before their termini
}

// claim is who has a name, and who waits for it.
type claim struct{ holder, next *link }

// take gives the name to l, or has l wait until the holder let go. It returns
// the holder then, and who waited before and does no more.
func (n *Names) take(l *link) (granted bool, holder, waiting *link) {
	n.mu.Lock()
	defer n.mu.Unlock()
	c := n.held[l.key]
	if c == nil {
		if n.held == nil {
			n.held = make(map[linkKey]*claim)
		}
		n.held[l.key] = &claim{holder: l}
		return true, nil, nil
	}
	waiting, c.next = c.next, l
	return false, c.holder, waiting
}

// drop says that l ended. It returns the link that has the name from now on and
// waited for it, or nil.
func (n *Names) drop(l *link) *link {
	n.mu.Lock()
	defer n.mu.Unlock()
	c := n.held[l.key]
	switch {
	case c == nil:
	case c.next == l:
		c.next = nil
	case c.holder == l && c.next == nil:
		delete(n.held, l.key)
	case c.holder == l:
		c.holder, c.next = c.next, nil
		return c.holder
	}
	return nil
}

// withdraw says that l does without the name. It reports false when l has it
// already, or waits for it no more.
func (n *Names) withdraw(l *link) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	c := n.held[l.key]
	if c == nil || c.next != l {
		return false
	}
	c.next = nil
	return true
}

// claimName asks for the link's name; the link opens when it has it, or is to do
// without. Who has it is asked by its own connection's owner. A link that may not
// have its address does without at once: that it is refused is no reason to take
// another's place. [transport 2.6.1]
func (l *link) claimName() {
	names := l.s.c.f.o.Names
	if l.self.entitled() != nil {
		l.self.open()
		return
	}
	granted, holder, waiting := names.take(l)
	if waiting != nil { // it does without
		waiting.s.c.box.Put(event{kind: rareCame, rare: waiting.named})
	}
	switch {
	case granted:
		l.self.open()
	case holder.s.c == l.s.c:
		holder.stolen()
	default:
		holder.s.c.box.Put(event{kind: rareCame, rare: func() { holder.contested(l) }})
	}
}

// may returns why the client may not do that with an address, as far as it is known
// without asking the broker, which decides; nil of the address that none is.
func (l *link) may(do routing.Action, on routing.Address) error {
	c := l.s.c
	a := c.f.o.Env.Authorizer
	if a == nil || on == (routing.Address{}) {
		return nil
	}
	return a.Authorize(c.principal, do, on)
}

// contested decides whether the link gives way to one of another connection.
func (l *link) contested(by *link) {
	c := l.s.c
	switch {
	case l.leaving(): // the name is handed on
	case l.durable || c.clock.silent >= overdue || c.state >= closeSent:
		l.stolen()
	case c.f.o.Names.withdraw(by):
		by.s.c.box.Put(event{kind: rareCame, rare: by.named})
	}
}

// leaving reports whether the peer has detached the link, and the answer waits for
// what is under way.
func (l *link) leaving() bool { return l.phase == linkDetaching || l.gone }

// overdue is after how many looks without a byte a client has missed the idle
// time-out that it was told.
const overdue = looks / 2

// stolen detaches the link because its name was attached again, unless it ends
// anyhow.
func (l *link) stolen() {
	if l.phase != linkDetached && !l.leaving() && !l.unlinked && l.s.c.state < closeSent {
		l.robbed = true
		l.fail(frames.Errorf(frames.LinkStolen, "the link was attached again"))
	}
}

// named opens the link that waited for its name, with it or without.
func (l *link) named() {
	if l.awaited() {
		l.self.open()
	}
}

// unlink gives the link's name back, once.
func (l *link) unlink() {
	if l.unlinked {
		return
	}
	l.unlinked = true
	c := l.s.c
	c.f.metrics.links.Dec()
	if next := c.f.o.Names.drop(l); next != nil {
		next.s.c.box.Put(event{kind: rareCame, rare: next.named})
	}
}
