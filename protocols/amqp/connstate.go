package amqp

import (
	"context"
	"fmt"
	"math"
	"runtime"
	"time"

	"github.com/selvedge-mq/selvedge/protocols"
	"github.com/selvedge-mq/selvedge/protocols/amqp/frames"
	"github.com/selvedge-mq/selvedge/protocols/amqp/wire"
	"github.com/selvedge-mq/selvedge/routing"
)

// state is where a connection is in its life. [transport 2.4.6]
type state uint8

const (
	waiting   state = iota // for the peer's open
	opened                 // both opens are out
	closing                // the peer's close came, ours waits for sends under way
	closeSent              // our close is out, only the peer's counts
	ended                  // nothing is left to do but to write what waits
)

// peer is what the client's open said.
type peer struct {
	container string
	maxFrame  uint32        // that we send
	idle      time.Duration // within which it wants to hear us; 0 means no matter
	channels  uint16        // channel-max in force
}

// anonymousRelay is offered: links with a null target route each message by its
// properties.to. (OASIS anonterm 2.1)
const anonymousRelay wire.Symbol = "ANONYMOUS-RELAY"

// onOpen answers the peer's open with ours. [transport 2.4.1]
func (c *conn) onOpen(channel uint16, o *frames.Open) *breach {
	if c.state != waiting {
		return connectionError(frames.IllegalState, "a second open")
	}
	c.clock.open = time.Time{}
	c.peer = peer{
		container: o.ContainerID,
		maxFrame:  max(minMaxFrameSize, min(o.MaxFrameSize, c.f.o.MaxFrameSize)),
		idle:      time.Duration(o.IdleTimeout) * time.Millisecond,
		channels:  min(o.ChannelMax, maxChannel),
	}
	c.sendOpen()
	c.state = opened
	if c.peer.idle >= minIdle {
		c.clock.speak = time.Now().Add(c.peer.idle / looks)
	}
	c.clock.arm()
	c.debug().Str("hostname", clip(o.Hostname)).Dur("idle", c.peer.idle).Msg("connection opened")
	switch {
	case channel != 0:
		return connectionError(frames.FramingError, "open on channel %d, want 0", channel)
	case c.peer.idle > 0 && c.peer.idle < minIdle:
		return connectionError(frames.NotAllowed, "idle-time-out is %v, want at least %v", c.peer.idle, minIdle)
	case o.MaxFrameSize < minMaxFrameSize:
		return connectionError(frames.FrameSizeTooSmall, "max-frame-size is %d, want at least %d",
			o.MaxFrameSize, minMaxFrameSize)
	}
	return nil
}

// sendOpen writes our open.
func (c *conn) sendOpen() {
	env := &c.f.o.Env
	properties := wire.Map{
		{Key: wire.Symbol("product"), Value: "Selvedge"},
		{Key: wire.Symbol("version"), Value: env.Version},
		{Key: wire.Symbol("platform"), Value: runtime.Version() + " " + runtime.GOOS + "/" + runtime.GOARCH},
	}
	if p := c.f.o.QueuePrefix; p != "" {
		properties = append(properties, wire.Entry{Key: wire.Symbol("queue-prefix"), Value: p})
	}
	if p := c.f.o.TopicPrefix; p != "" {
		properties = append(properties, wire.Entry{Key: wire.Symbol("topic-prefix"), Value: p})
	}
	if env.Failover != nil {
		if list := failoverList(env.Failover()); len(list) > 0 {
			properties = append(properties, wire.Entry{Key: wire.Symbol("failover-server-list"), Value: list})
		}
	}
	open := frames.Open{
		ContainerID:         env.Node,
		MaxFrameSize:        c.f.o.MaxFrameSize,
		ChannelMax:          c.peer.channels,
		IdleTimeout:         milliseconds(c.f.o.IdleTimeout / 2),
		OfferedCapabilities: []wire.Symbol{anonymousRelay},
		Properties:          properties,
	}
	if len(frames.AppendFrame(nil, 0, &open)) > int(c.peer.maxFrame) {
		open.Properties = nil
	}
	c.send(0, &open)
}

func milliseconds(d time.Duration) uint32 {
	return uint32(min(max(d.Milliseconds(), 1), math.MaxUint32))
}

// onClose ends the connection for the client: what it sent is confirmed first.
// [transport 2.4.3]
func (c *conn) onClose(p *frames.Close) *breach {
	switch c.state {
	case closeSent:
		c.state = ended
		return nil
	case waiting:
		return connectionError(frames.IllegalState, "close before open")
	case opened, closing, ended:
	}
	if p.Error != nil {
		c.debug().Str("condition", string(p.Error.Condition)).Msg("client closed with an error")
	}
	c.state = closing
	c.clock.grace = time.Now().Add(drainGrace)
	c.clock.arm()
	for s := range c.sessions.all() {
		s.abandon()
	}
	return nil
}

// answerClose writes the answer to the peer's close and ends.
func (c *conn) answerClose() {
	c.flush()
	c.send(0, &frames.Close{})
	c.state = ended
}

// fail closes the connection with an error. The peer must see our open first.
// [transport 2.4.1, 2.4.3]
func (c *conn) fail(b *breach) {
	if c.state >= closeSent {
		return
	}
	b.wire.Description = clip(b.wire.Description)
	c.f.metrics.refused.WithLabelValues(string(b.wire.Condition)).Inc()
	c.debug().Str("condition", string(b.wire.Condition)).Str("reason", b.wire.Description).Msg("connection failed")
	if c.err == nil {
		c.err = fmt.Errorf("amqp: %w", b)
	}
	if c.state == waiting {
		c.peer = peer{maxFrame: minMaxFrameSize, channels: maxChannel}
		c.sendOpen()
	}
	c.flush()
	c.send(0, &frames.Close{Error: b.wire})
	if c.state == closing {
		c.state = ended
		return
	}
	c.state = closeSent
	c.clock.open = time.Time{}
	c.clock.grace = time.Now().Add(closeGrace)
	c.clock.arm()
	c.releaseSessions()
}

// graceOver ends the wait of a close.
func (c *conn) graceOver() {
	switch c.state {
	case closing:
		c.answerClose()
	case closeSent:
		c.state = ended
	case opened: // draining
		c.force()
	case waiting, ended:
	}
}

// settleState goes on with a close when nothing is under way any more.
func (c *conn) settleState() {
	if c.load.sends > 0 {
		return
	}
	switch {
	case c.state == closing:
		c.answerClose()
	case c.state == opened && c.draining:
		c.force()
	}
}

// force closes the connection because the node goes away; clients reconnect on
// exactly this condition.
func (c *conn) force() {
	c.fail(connectionError(frames.ConnectionForced, "%s", protocols.Stopping("the node stops", c.err)))
}

// releaseSessions gives back what the engine holds for this connection.
func (c *conn) releaseSessions() {
	defer c.closeRouting() // also if a panic left a session that cannot be released
	for s := range c.sessions.all() {
		s.release()
	}
}

// closeRouting ends the conversation with the broker.
func (c *conn) closeRouting() {
	if c.routing != nil {
		c.routing.Close()
		c.routing = nil
	}
}

// forgetSessions frees the channels of the sessions that no end ended: most
// clients close without.
func (c *conn) forgetSessions() {
	for s := range c.sessions.all() {
		c.forget(s)
	}
}

// openRouting starts the conversation with the broker. All sessions share it: a
// temporary address belongs to the connection, and a transaction may span them.
func (c *conn) openRouting(ctx context.Context) error {
	if c.routing != nil {
		return nil
	}
	r, err := c.f.o.Env.Broker.Open(ctx, routing.SessionOptions{
		Principal: c.principal, ClientID: c.peer.container, Remote: c.nc.RemoteAddr().String(), Protocol: "amqp",
	})
	if err != nil {
		return err
	}
	c.routing = r
	return nil
}

// send encodes a frame for the writer. It is for the rarer performatives.
func (c *conn) send(channel uint16, p frames.Performative) {
	if c.state >= closeSent { // nothing may follow our close
		return
	}
	c.trace(true, channel, p, 0)
	start := len(c.buf)
	c.buf = frames.AppendFrame(c.room(), channel, p)
	if size := len(c.buf) - start; c.state == opened && size > int(c.peer.maxFrame) {
		c.buf = c.buf[:start]
		c.fail(connectionError(frames.FrameSizeTooSmall, "%s needs a frame of %d bytes, your max-frame-size is %d",
			frames.Name(p), size, c.peer.maxFrame))
	}
}

// emptyFrame tells the peer that we live. [transport 2.4.5]
func (c *conn) emptyFrame() { c.buf = frames.AppendEmpty(c.room()) }

// room returns the buffer to append to.
func (c *conn) room() []byte {
	if c.buf == nil {
		c.buf = c.f.pools.buffer()
	}
	return c.buf
}

// session returns the session on the peer's channel, or nil.
func (c *conn) session(channel uint16) *session { return c.sessions.get(uint32(channel)) }
