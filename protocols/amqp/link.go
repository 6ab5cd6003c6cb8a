package amqp

import (
	"github.com/selvedge-mq/selvedge/protocols/amqp/frames"
	"github.com/selvedge-mq/selvedge/protocols/amqp/wire"
)

// linkPhase is where a link is in its life. [transport 2.6.3-5]
type linkPhase uint8

const (
	linkAttaching linkPhase = iota // the peer's attach came, ours waits for the engine
	linkAttached
	linkDetaching // the peer's detach came, ours waits for what is under way
	linkDetached  // our detach is out, only the peer's counts
)

// endpoint is our end of a link: *[sending] or *[receiving].
type endpoint interface {
	common() *link
	// read reads what the attach asks for.
	read() *frames.Error
	// entitled returns why the client may not have the address that it asks for, or nil.
	entitled() error
	// open begins to answer the attach.
	open()
	onFlow(f *frames.Flow) *breach
	onTransfer(t *frames.Transfer, payload []byte) *breach
	// onDetach begins an end that the peer asked for. The link answers with
	// answerDetach when nothing is under way any more.
	onDetach()
	// refuse answers the attach with a null terminus of ours.
	refuse()
	// abandon ends what the link has with the engine, at once.
	abandon()
}

// link is what both ends have in common.
type link struct {
	s      *session
	self   endpoint
	key    linkKey
	handle uint32 // the peer's
	out    uint32 // ours
	phase  linkPhase
	closed bool           // the peer's detach was closing
	gone   bool           // the peer's detach came before our attach
	attach *frames.Attach // the peer's, until it is answered
	node   *dynamicNode   // the dynamic node that the link is attached to, if any

	durable  bool // its terminus is, so that its name stands for something
	unlinked bool // its name is given back

	retention retention // of what is unsettled, beyond the link's end
	robbed    bool      // its name was attached again
	doomed    bool      // it is closed for good, nothing of it is kept
}

func (l *link) common() *link { return l }

// awaited reports whether the peer still waits for our attach: its session may
// have ended in the meantime, and then the channel is no more ours to write to.
func (l *link) awaited() bool {
	return l.phase == linkAttaching && !l.unlinked && l.s.c.state < closeSent
}

// onAttach makes a link. [transport 2.6.3]
func (s *session) onAttach(a *frames.Attach) *breach {
	switch {
	case a.Handle > maxHandle:
		return connectionError(frames.FramingError, "handle %d is above handle-max %d", a.Handle, maxHandle)
	case s.links.get(a.Handle) != nil:
		return sessionError(frames.HandleInUse, "handle %d is in use", a.Handle)
	}
	if limit := s.c.f.o.Links; s.c.links >= limit {
		return sessionError(frames.ResourceLimitExceeded, "the connection has %d links (amqp-links)", limit)
	}
	out, ok := s.handles.take(a.Handle, s.handleMax)
	if !ok {
		return sessionError(frames.ResourceLimitExceeded, "all handles up to your handle-max %d are in use", s.handleMax)
	}
	base := link{s: s, key: s.c.linkKey(a), handle: a.Handle, out: out, attach: a}
	base.durable = lasts(a)
	var l endpoint
	if a.Role == frames.RoleReceiver {
		l = &sending{link: base}
	} else {
		l = &receiving{link: base}
	}
	k := l.common()
	k.self = l
	s.links.put(a.Handle, l)
	s.c.links++
	s.c.f.metrics.links.Inc()
	s.c.debug().Str("link", clip(a.Name)).Stringer("role", k.key.role).Msg("link attaching")
	if bad := l.read(); bad != nil {
		k.fail(bad)
		return nil
	}
	k.claimName()
	return nil
}

// lasts reports whether the terminus that the attach asks for is to outlive the
// connection. [messaging 3.5.5-6]
func lasts(a *frames.Attach) bool {
	durable, policy, seconds := frames.DurableNone, wire.Symbol(""), uint32(0)
	switch {
	case a.Role == frames.RoleReceiver && a.Source != nil:
		durable, policy, seconds = a.Source.Durable, a.Source.ExpiryPolicy, a.Source.Timeout
	case a.Role == frames.RoleSender && a.Target != nil:
		durable, policy, seconds = a.Target.Durable, a.Target.ExpiryPolicy, a.Target.Timeout
	}
	return durable != frames.DurableNone || policy == frames.ExpireNever || seconds > 0
}

// linkKey returns what the link of an attach is known by.
func (c *conn) linkKey(a *frames.Attach) linkKey {
	k := linkKey{user: c.principal.Name, container: c.peer.container, name: a.Name, role: !a.Role}
	if k.container == "" {
		k.conn = c
	}
	return k
}

// forget frees the handles of a link on both sides, once.
func (s *session) forget(l *link) {
	if s.links.get(l.handle) != l.self {
		return
	}
	s.links.drop(l.handle)
	s.handles.drop(l.out)
	s.c.links--
}

// onDetach ends a link for the peer, or is the answer to our detach.
// [transport 2.6.5]
func (s *session) onDetach(d *frames.Detach) *breach {
	l := s.links.get(d.Handle)
	if l == nil {
		return sessionError(frames.UnattachedHandle, "handle %d is not attached", d.Handle)
	}
	k := l.common()
	switch k.phase {
	case linkDetached:
		k.free()
	case linkAttaching:
		k.gone, k.closed = true, d.Closed
	case linkAttached:
		k.phase, k.closed = linkDetaching, d.Closed
		l.onDetach()
	case linkDetaching:
		return sessionError(frames.UnattachedHandle, "handle %d was detached twice", d.Handle)
	}
	return nil
}

// answerDetach answers the peer's detach, behind the dispositions of the link.
func (l *link) answerDetach() {
	l.s.flush()
	l.s.c.send(l.s.channel, &frames.Detach{Handle: l.out, Closed: l.closed})
	l.free()
}

// fail detaches the link with an error. The peer's frames for it are dropped
// until its detach. Only a closing detach is understood by every client.
// [transport 2.6.5]
func (l *link) fail(e *frames.Error) {
	e.Description = clip(e.Description)
	c := l.s.c
	c.f.metrics.refused.WithLabelValues(string(e.Condition)).Inc()
	c.debug().Str("link", clip(l.key.name)).Str("condition", string(e.Condition)).
		Str("reason", e.Description).Msg("link failed")
	answered := l.phase == linkDetaching || l.gone
	if l.phase == linkAttaching {
		l.self.refuse()
	}
	l.s.flush()
	l.doomed = !l.robbed
	l.self.abandon()
	c.send(l.s.channel, &frames.Detach{Handle: l.out, Closed: true, Error: e})
	l.unlink()
	l.phase = linkDetached
	if answered {
		l.free()
	}
}

// free gives the handle back.
func (l *link) free() {
	l.phase = linkDetached
	l.s.forget(l)
	l.unlink()
}

// answerAttach writes our attach. Settle modes are echoed exactly; what the peer
// left open is filled in.
func (l *link) answerAttach(a *frames.Attach, mode frames.SenderSettleMode) {
	a.Name, a.Handle, a.Role = l.key.name, l.out, l.key.role
	a.SndSettleMode = wire.Some(l.attach.SndSettleMode.Or(mode))
	a.RcvSettleMode = wire.Some(l.attach.RcvSettleMode.Or(frames.ReceiverFirst))
	l.s.c.send(l.s.channel, a)
	l.attach = nil
}
