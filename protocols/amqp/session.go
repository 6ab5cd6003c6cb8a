package amqp

import (
	"context"
	"math"

	"github.com/selvedge-mq/selvedge/protocols/amqp/frames"
	"github.com/selvedge-mq/selvedge/protocols/amqp/wire"
)

// sessionPhase is where a session is in its life. [transport 2.5.5]
type sessionPhase uint8

const (
	sessionLive      sessionPhase = iota
	sessionEnding                 // the peer's end came, ours waits for sends under way
	sessionDiscarded              // our end is out, only the peer's counts
)

// session is an AMQP session: links that share windows and delivery-ids.
type session struct {
	c       *conn
	channel uint16 // the peer's, and ours
	phase   sessionPhase

	in        incoming
	out       outgoing
	handleMax uint32          // the peer's, for our handles
	handles   handles         // ours
	links     slots[endpoint] // by the peer's handle

	nextDelivery uint32    // next delivery-id of a transfer to the peer
	unsettled    unsettled // transfers to the peer
	sentSettled  between   // transfers to the peer that went out settled lie between these
	sends        int       // transfers from the peer that the engine has not judged

	answers   answers      // dispositions owed
	confirmed []confirmed  // transfers from the peer that it is to settle
	flows     []*receiving // links that owe credit
	flowDue   bool         // the session owes its window
	dirty     bool         // it is in conn.dirty
	ready     []*sending   // links with deliveries to write
	queued    bool         // it is in conn.ready
}

// onBegin answers a begin with ours, on the same channel. [transport 2.5.1]
func (c *conn) onBegin(ctx context.Context, channel uint16, b *frames.Begin) *breach {
	switch {
	case b.RemoteChannel.Set:
		return connectionError(frames.NotAllowed, "begin answers channel %d, on which none began", b.RemoteChannel.Value)
	case channel > c.peer.channels:
		return connectionError(frames.FramingError, "channel %d is above channel-max %d", channel, c.peer.channels)
	case c.session(channel) != nil:
		return connectionError(frames.NotAllowed, "channel %d is in use", channel)
	}
	s := &session{
		c: c, channel: channel,
		in:        incoming{size: c.f.o.Window, left: c.f.o.Window, nextID: b.NextOutgoingID},
		out:       outgoing{left: b.IncomingWindow},
		handleMax: b.HandleMax,
	}
	c.sessions.put(uint32(channel), s)
	c.f.metrics.sessions.Inc()
	c.send(channel, &frames.Begin{
		RemoteChannel:  wire.Some(channel),
		NextOutgoingID: s.out.nextID,
		IncomingWindow: s.in.size,
		OutgoingWindow: math.MaxInt32,
		HandleMax:      maxHandle,
	})
	if err := c.openRouting(ctx); err != nil {
		c.debug().Err(err).Msg("session refused")
		s.fail(wireError(err))
	}
	return nil
}

// onEnd ends a session for the client: what it sent is confirmed first.
// [transport 2.5.5]
func (c *conn) onEnd(channel uint16) *breach {
	s := c.session(channel)
	if s == nil {
		return connectionError(frames.FramingError, "end on channel %d, which has no session", channel)
	}
	if s.phase == sessionDiscarded {
		c.forget(s)
		return nil
	}
	s.phase = sessionEnding
	s.abandon()
	s.settlePhase()
	return nil
}

// settlePhase answers the peer's end when nothing is under way any more.
func (s *session) settlePhase() {
	if s.phase != sessionEnding || s.sends > 0 || s.c.state >= closing {
		return
	}
	s.flush()
	s.c.send(s.channel, &frames.End{})
	s.release()
	s.c.forget(s)
}

// fail ends the session with an error and drops what comes until the peer's end.
func (s *session) fail(e *frames.Error) {
	if s.phase == sessionDiscarded {
		return
	}
	e.Description = clip(e.Description)
	s.c.f.metrics.refused.WithLabelValues(string(e.Condition)).Inc()
	s.c.debug().Uint16("channel", s.channel).Str("condition", string(e.Condition)).
		Str("reason", e.Description).Msg("session failed")
	s.flush()
	s.abandon()
	s.c.send(s.channel, &frames.End{Error: e})
	ended := s.phase == sessionEnding
	s.phase = sessionDiscarded
	s.release()
	if ended {
		s.c.forget(s)
	}
}

// abandon ends every link as if it were detached; the session's own phase is
// the caller's to set.
func (s *session) abandon() {
	for l := range s.links.all() {
		l.abandon()
		l.common().unlink()
		s.forget(l.common())
	}
	s.ready = nil
}

// release gives back what the engine holds for the session. Deliveries that are
// unsettled go back to their queues.
func (s *session) release() {
	s.abandon()
	s.c.expireSuspended(s)
	s.unsettled = unsettled{}
}

// forget frees the channel.
func (c *conn) forget(s *session) {
	c.sessions.drop(uint32(s.channel))
	c.f.metrics.sessions.Dec()
}

// trim gives back what a busy time left behind.
func (s *session) trim() {
	s.unsettled.trim()
	s.answers.trim()
	if len(s.ready) == 0 {
		s.ready = nil
	}
	for l := range s.links.all() {
		if r, ok := l.(*receiving); ok {
			r.tags.trim()
		}
	}
}

// mark says that the session owes dispositions or flows at the end of the turn.
func (s *session) mark() {
	if !s.dirty {
		s.dirty = true
		s.c.dirty = append(s.c.dirty, s)
	}
}

// flush writes what every session owes, in one go, so that a batch of transfers
// is answered by few frames.
func (c *conn) flush() {
	for _, s := range c.dirty {
		s.flush()
	}
	clear(c.dirty)
	c.dirty = c.dirty[:0]
}

// flush writes the dispositions and flows that the session owes.
func (s *session) flush() {
	if !s.dirty {
		return
	}
	s.dirty = false
	if s.phase == sessionDiscarded {
		return
	}
	s.answers.write(s)
	for i, l := range s.flows {
		s.flows[i] = nil
		l.topUp()
	}
	s.flows = s.flows[:0]
	switch {
	case s.phase != sessionLive:
	case s.flowDue, s.in.low() && !s.c.load.held:
		s.sendFlow(nil)
	case s.in.low(): // it opens when the engine takes more
		s.c.load.windows = append(s.c.load.windows, s)
	}
}

// onFlow updates the windows, and a link's credit when it names one.
// [transport 2.7.4]
func (s *session) onFlow(f *frames.Flow) *breach {
	if !s.out.update(f.NextIncomingID.Value, f.NextIncomingID.Set, f.IncomingWindow) {
		return sessionError(frames.WindowViolation, "next-incoming-id %d was not sent yet", f.NextIncomingID.Value)
	}
	if before(f.NextOutgoingID, s.in.nextID) {
		return sessionError(frames.WindowViolation, "next-outgoing-id went back from %d to %d", s.in.nextID, f.NextOutgoingID)
	}
	if len(s.ready) > 0 {
		s.queue()
	}
	if !f.Handle.Set {
		if f.Echo {
			s.flowDue = true
			s.mark()
		}
		return nil
	}
	return s.withLink(f.Handle.Value, func(l endpoint) *breach { return l.onFlow(f) })
}

// sendFlow writes a flow: of the session alone, or with the fields of a link.
// Every flow carries the window.
func (s *session) sendFlow(link func(f *frames.Flow)) {
	f := &s.c.scratch().flow
	*f = frames.Flow{
		NextIncomingID: wire.Some(s.in.nextID),
		IncomingWindow: s.in.size,
		NextOutgoingID: s.out.nextID,
		OutgoingWindow: math.MaxInt32,
	}
	s.in.left = s.in.size
	s.flowDue = false
	if link != nil {
		link(f)
	}
	s.c.send(s.channel, f)
}

// onTransfer counts a transfer in the window and passes it to its link.
// [transport 2.5.6]
func (s *session) onTransfer(t *frames.Transfer, payload []byte) *breach {
	if l := s.links.get(t.Handle); l == nil || l.common().phase >= linkDetaching {
		s.c.miss(&t.State, missed())
	}
	if !s.in.take() {
		return sessionError(frames.WindowViolation, "a transfer beyond the incoming window of %d", s.in.size)
	}
	if s.in.low() {
		s.mark()
	}
	return s.withLink(t.Handle, func(l endpoint) *breach { return l.onTransfer(t, payload) })
}

// withLink calls f with the link of a handle. Frames for a link whose detach is
// out are dropped. [transport 2.6.5]
func (s *session) withLink(handle uint32, f func(l endpoint) *breach) *breach {
	l := s.links.get(handle)
	if l == nil {
		return sessionError(frames.UnattachedHandle, "handle %d is not attached", handle)
	}
	if k := l.common(); k.phase == linkDetaching || k.phase == linkDetached {
		return nil
	}
	b := f(l)
	if b != nil && b.level == onLink {
		l.common().fail(b.wire)
		return nil
	}
	return b
}
