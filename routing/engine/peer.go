package engine

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/selvedge-mq/selvedge/internal/cursor"
	"github.com/selvedge-mq/selvedge/routing/shard"
)

// gates tell senders that a lane to a node has room again.
type gates struct {
	mu      sync.Mutex
	lanes   map[gate]chan struct{}
	control map[string]*controlList // by node that is up
}

type gate struct {
	node string
	lane Lane
}

// wait returns a channel that is closed at the next word about the lane.
func (g *gates) wait(k gate) <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	ch := g.lanes[k]
	if ch == nil {
		ch = make(chan struct{})
		g.lanes[k] = ch
	}
	return ch
}

func (g *gates) open(k gate) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if ch := g.lanes[k]; ch != nil {
		close(ch)
		delete(g.lanes, k)
	}
}

// sendWhenWritable sends a message as soon as the lane has room; it gives up when
// ctx ends or the node is down. Before each try may says whether it may be sent at
// all; it may wait for that.
func (e *Engine) sendWhenWritable(
	ctx context.Context, node string, session uint64, lane Lane, msg []byte, may func(ctx context.Context) bool,
) {
	for ctx.Err() == nil {
		room := e.gates.wait(gate{node, lane})
		if !may(ctx) || !e.isUp(node, session) || e.opts.Peers.Send(node, lane, msg) || !e.isUp(node, session) {
			return
		}
		e.metrics.windowFull.Inc()
		select {
		case <-room:
		case <-ctx.Done():
		}
	}
}

// isUp reports whether that process of a node can be reached; 0 means any.
func (e *Engine) isUp(node string, session uint64) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	s, ok := e.peers[node]
	return ok && (session == 0 || s == session)
}

// PeerUp implements PeerHandler.
func (e *Engine) PeerUp(node string, session uint64) {
	e.gates.letControl(node, true)
	e.mu.Lock()
	e.peers[node], e.changed = session, time.Now()
	e.met[node] = true
	leaders := slices.Collect(maps.Values(e.leaders))
	e.mu.Unlock()
	e.log.Info().Str("peer", node).Msg("node is up")
	for _, l := range leaders {
		l.box.Put(func() { l.peerUp(node) })
	}
	e.hub.box.Put(func() { e.hub.peerUp(node) })
}

// PeerDown implements PeerHandler.
func (e *Engine) PeerDown(node string, session uint64) {
	e.mu.Lock()
	delete(e.peers, node)
	e.changed = time.Now()
	leaders := slices.Collect(maps.Values(e.leaders))
	e.mu.Unlock()
	e.log.Warn().Str("peer", node).Msg("node is down")
	e.gates.letControl(node, false)
	for lane := range Lane(Lanes) {
		e.gates.open(gate{node, lane})
	}
	for _, p := range e.portals {
		p.box.Put(func() { p.lost(node) })
	}
	for _, l := range leaders {
		l.box.Put(func() { l.peerDown(node, session) })
	}
	e.hub.box.Put(func() { e.hub.peerDown(node) })
}

// Writable implements PeerHandler.
func (e *Engine) Writable(to string, lane Lane) {
	if lane == LaneControl {
		e.flushControl(to)
	}
	e.gates.open(gate{to, lane})
	for _, p := range e.portals {
		p.box.Wake()
	}
	e.hub.box.Wake()
}

// Receive implements PeerHandler.
func (e *Engine) Receive(from string, lane Lane, msg []byte) {
	c := cursor.New(msg)
	h := readHead(&c)
	handler := receivers[h.verb]
	if handler == nil || h.shard >= len(e.portals) || c.Bad {
		e.log.Error().Str("from", from).Uint8("verb", uint8(h.verb)).Msg("unknown message from a node")
		e.opts.Peers.Consumed(from, lane, len(msg))
		return
	}
	kept := handler(e, from, h, &c, len(msg))
	if c.Bad {
		e.log.Error().Str("from", from).Uint8("verb", uint8(h.verb)).Msg("message from a node ends too early: it is ignored")
	}
	if !kept { // else whoever took it gives the window back
		e.opts.Peers.Consumed(from, lane, len(msg))
	}
}

// receiver handles one kind of message. It reports true when the bytes stay in
// the window until they are dealt with.
type receiver func(e *Engine, from string, h head, c *cursor.Cursor, size int) bool

// receivers has a handler for each verb.
var receivers = map[verb]receiver{
	verbPing: func(e *Engine, from string, h head, c *cursor.Cursor, _ int) bool {
		number, refutes := c.U64(), uint32(0)
		if c.More() {
			refutes = c.U32()
		}
		if c.Bad {
			return false
		}
		p, now := e.portals[h.shard], time.Now()
		e.heardOf(h.shard, from, h.epoch)
		p.box.Put(func() {
			p.announce(from, h.epoch, refutes)
			if h.epoch >= p.epoch { // a leader that another one follows gets no lease from here
				p.heard.Store(&now)
				e.opts.Peers.Send(from, LaneControl, appendU64(head{verb: verbPong, shard: h.shard, epoch: h.epoch}.append(nil), number))
				return
			}
			// It may not have heard of that other one, which may be gone: then it has to
			// begin an epoch anew, or nobody would serve this node.
			e.opts.Peers.Send(from, LaneControl, appendU64(head{verb: verbPong, shard: h.shard, epoch: p.epoch}.append(nil), 0))
		})
		return false
	},
	verbPong: func(e *Engine, from string, h head, c *cursor.Cursor, _ int) bool {
		number := c.U64()
		if c.Bad {
			return false
		}
		e.heardOf(h.shard, from, h.epoch)
		if l := e.leaderOf(h.shard); l != nil && l.epoch == h.epoch {
			l.lease.pong(from, number)
			l.box.Wake()
		}
		return false
	},
	verbFull: func(e *Engine, _ string, h head, c *cursor.Cursor, _ int) bool {
		if full := c.Octet() != 0; !c.Bad {
			p := e.portals[h.shard]
			p.box.Put(func() { p.setFull(h.epoch, full) })
		}
		return false
	},
	verbReport: atLeader(func(from string, c *cursor.Cursor) func(l *leader) {
		r := readReport(c)
		return func(l *leader) {
			if l.e.isUp(from, r.by.session) { // else it is of a former process
				l.report(from, r)
			}
		}
	}),
	verbSubscribe: atLeader(func(from string, c *cursor.Cursor) func(l *leader) {
		sub, addr := readSubscribe(c)
		return func(l *leader) { l.subscribe(from, l.subID(from, sub), addr) }
	}),
	verbGrant: atLeader(func(from string, c *cursor.Cursor) func(l *leader) {
		sub, n := c.Uvarint(), int32(c.U32())
		return func(l *leader) { l.grant(l.subID(from, sub), n) }
	}),
	verbDrain: atLeader(func(from string, c *cursor.Cursor) func(l *leader) {
		sub := c.Uvarint()
		return func(l *leader) { l.drain(l.subID(from, sub)) }
	}),
	verbClose: atLeader(func(from string, c *cursor.Cursor) func(l *leader) {
		sub, seen := c.Uvarint(), c.Uvarint()
		return func(l *leader) { l.closeSub(from, l.subID(from, sub), seen) }
	}),
	verbRead: atLeader(func(from string, c *cursor.Cursor) func(l *leader) {
		sub, a := readPieceAsked(c)
		return func(l *leader) {
			a.sub = l.subID(from, sub)
			l.read(a)
		}
	}),
	verbWelcome: atPortal(func(p *portal, c *cursor.Cursor) func() {
		expects := [2]uint64{c.Uvarint(), c.Uvarint()}
		return func() { p.welcome(expects) }
	}),
	verbOpened: atPortal(func(p *portal, c *cursor.Cursor) func() {
		sub := c.Uvarint()
		return func() { p.openedAt(sub) }
	}),
	verbRefuse: atPortal(func(p *portal, c *cursor.Cursor) func() {
		sub := c.Uvarint()
		return func() { p.refusedAt(sub) }
	}),
	verbClosed: atPortal(func(p *portal, c *cursor.Cursor) func() {
		sub := c.Uvarint()
		return func() { p.closedAt(sub) }
	}),
	verbDrained: atPortal(func(p *portal, c *cursor.Cursor) func() {
		sub, n := c.Uvarint(), c.U32()
		return func() { p.drained(sub, n) }
	}),
	verbConfirm: atPortal(func(p *portal, c *cursor.Cursor) func() {
		lane, next, answers := readConfirm(c)
		return func() { p.confirm(lane, next, answers) }
	}),
	verbSend: sends(laneSend, false),
	verbStep: sends(laneSend, true),
	verbAsk: atLeader(func(_ string, c *cursor.Cursor) func(l *leader) {
		tx, node, participant := readTx(c), string(c.Bytes()), int(c.U16())
		return func(l *leader) { l.answer(tx, node, participant) }
	}),
	verbVerdict: atLeader(func(_ string, c *cursor.Cursor) func(l *leader) {
		tx, commit, coordinator := readTx(c), c.Octet() != 0, int(c.U16())
		return func(l *leader) { l.verdict(tx, commit, coordinator) }
	}),
	verbCarried: atLeader(func(_ string, c *cursor.Cursor) func(l *leader) {
		tx, participant := readTx(c), int(c.U16())
		return func(l *leader) { l.carriedOut(tx, participant) }
	}),
	verbLetter:      sends(laneDead, false),
	verbLargeLetter: sends(laneDead, true),
	verbGuest: atLeader(func(from string, c *cursor.Cursor) func(l *leader) {
		source, lowest, epoch := int(c.U16()), c.Uvarint(), c.U32()
		return func(l *leader) {
			if source < len(l.e.portals) { // else its lane would stand in the log for ever
				l.guest(from, source, epoch, lowest)
			}
		}
	}),
	verbExpect: atPortal(func(p *portal, c *cursor.Cursor) func() {
		source, number := int(c.U16()), c.Uvarint()
		return func() { p.expect(source, number) }
	}),
	verbConfirmGuest: atPortal(func(p *portal, c *cursor.Cursor) func() {
		source := int(c.U16())
		_, next, answers := readConfirm(c)
		return func() { p.confirmGuest(source, next, answers) }
	}),
	verbSettle: requests(LaneSettle, func(from string, c *cursor.Cursor, size int) func(l *leader) {
		b := readSettles(c)
		return func(l *leader) { l.queueSettles(from, b, size) }
	}),
	verbDeliver: func(e *Engine, from string, h head, c *cursor.Cursor, size int) bool {
		var ds []handed
		to := readHearer(c)
		for c.More() {
			ds = append(ds, readHanded(c))
		}
		if c.Bad || to.session != e.session {
			return false
		}
		p := e.portals[h.shard]
		p.box.Put(func() {
			p.deliver(to.report, ds)
			e.opts.Peers.Consumed(from, LaneDeliver, size)
		})
		return true
	},
	verbPiece: func(e *Engine, from string, h head, c *cursor.Cursor, size int) bool {
		to := readHearer(c)
		a := readPiece(c)
		if c.Bad || to.session != e.session {
			return false
		}
		p := e.portals[h.shard]
		p.box.Put(func() {
			p.piece(to.report, a)
			e.opts.Peers.Consumed(from, LaneDeliver, size)
		})
		return true
	},
	verbInterest: (*Engine).receiveInterest,
	verbHeard:    (*Engine).receiveHeard,
	verbTopic:    (*Engine).receiveTopic,
}

// atLeader makes a receiver for a message to this node's leader of a shard.
func atLeader(read func(from string, c *cursor.Cursor) func(l *leader)) receiver {
	return func(e *Engine, from string, h head, c *cursor.Cursor, _ int) bool {
		if f := read(from, c); !c.Bad {
			e.heed(h.shard, from, h.epoch, f, nil)
		}
		return false
	}
}

// requests makes a receiver for requests to this node's leader of a shard. Their bytes
// stay in the window of their lane until they are composed.
func requests(lane Lane, read func(from string, c *cursor.Cursor, size int) func(l *leader)) receiver {
	return func(e *Engine, from string, h head, c *cursor.Cursor, size int) bool {
		f := read(from, c, size)
		return !c.Bad && e.heed(h.shard, from, h.epoch, f, func() { e.opts.Peers.Consumed(from, lane, size) })
	}
}

// sends makes a receiver for envelopes, or for steps.
func sends(lane byte, step bool) receiver {
	return requests(LaneSend, func(from string, c *cursor.Cursor, size int) func(l *leader) {
		b := readSends(c, lane)
		b.step = step
		return func(l *leader) { l.queueSends(from, b, size) }
	})
}

// atPortal makes a receiver for a word of a leader to a shard's portal.
func atPortal(read func(p *portal, c *cursor.Cursor) func()) receiver {
	return func(e *Engine, _ string, h head, c *cursor.Cursor, _ int) bool {
		p, to := e.portals[h.shard], readHearer(c)
		if f := read(p, c); to.session == e.session && !c.Bad {
			p.heed(to.report, f)
		}
		return false
	}
}

// subID names a subscription of a node. One that has not reported has session 0,
// which no subscription has.
func (l *leader) subID(node string, sub uint64) shard.SubID {
	return shard.SubID{Session: l.hearers[node].session, Sub: sub}
}

// Answer implements PeerHandler.
func (e *Engine) Answer(ctx context.Context, _, method string, req []byte) ([]byte, error) {
	if method != askQueues {
		return nil, fmt.Errorf("unknown request %q: the asking node is newer", method)
	}
	var at queueCursor
	if err := json.Unmarshal(req, &at); err != nil {
		return nil, fmt.Errorf("reading the place in the list of queues: %w", err)
	}
	return json.Marshal(e.ownQueues(ctx, at))
}
