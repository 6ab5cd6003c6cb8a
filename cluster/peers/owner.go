package peers

import (
	"errors"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/selvedge-mq/selvedge/routing/engine"
)

// noticed hands a notice to the owner. When the owner is behind it is dropped:
// all notices are repeated.
func (p *Peers) noticed(m *nats.Msg) {
	if !p.started.Load() {
		return
	}
	n, err := parseNotice(m.Data)
	if err != nil {
		p.stats.malformed.Inc()
		now, last := int64(p.now()), p.failing.Load()
		if now-last < int64(reportFailing) || !p.failing.CompareAndSwap(last, now) {
			return
		}
		if errors.Is(err, errNoticeVersion) {
			p.log.Error().Err(err).Msg("a node speaks another version of the peers' protocol")
			return
		}
		p.log.Warn().Err(err).Msg("notice is malformed")
		return
	}
	select {
	case p.notices <- n:
	default:
	}
}

// own is the goroutine that owns the pairs: it hears notices, keeps time and
// reports peers up and down.
func (p *Peers) own() {
	ticker := time.NewTicker(min(p.heartbeat, tickMost))
	defer ticker.Stop()
	p.beat()
	beatAt := p.now()
	for {
		select {
		case <-p.done:
			return
		case n := <-p.notices:
			p.perform(p.roster.hear(&n, p.now()))
		case <-ticker.C:
			now := p.now()
			if now-beatAt >= p.heartbeat {
				beatAt += p.heartbeat * ((now - beatAt) / p.heartbeat)
				p.beat()
				p.perform(p.roster.tick(now))
			}
			p.tend(now)
		}
	}
}

// beat shows a sign of life.
func (p *Peers) beat() {
	n := p.roster.beat(kindBeat)
	p.post(subjectAll, n.encode())
}

// tend looks after the lanes of all pairs, and ends those that Reset was called for.
func (p *Peers) tend(now time.Duration) {
	for _, pr := range p.pairs.Load().nodes {
		if pr.ending.Load() {
			p.perform(p.roster.reset(pr, now))
			continue
		}
		for _, l := range pr.lanes {
			if l.tick(now) {
				p.writer.put(l)
			}
		}
	}
}

// perform does what the roster asks for.
func (p *Peers) perform(effects []effect) {
	for _, e := range effects {
		switch {
		case e.open != nil:
			p.replace(func(t *table) {
				t.nodes[e.open.node], t.sessions[e.open.session] = e.open, e.open
			})
		case e.up != nil:
			p.raise(e.up)
		case e.down != nil:
			p.lower(e.down, e.why)
		case e.tell != nil:
			p.post(subjectOf(e.tell.to, "notice"), e.tell.notice.encode())
		case e.clash != nil:
			p.log.Error().Str("peer", e.clash.node).Uint64("session", e.clash.session).
				Uint64("former", e.clash.former).
				Msg("two processes run under one node name: give each node a name of its own and restart it")
		}
	}
}

// raise reports a peer up, then lets its messages in.
func (p *Peers) raise(pr *pair) {
	p.log.Info().Str("peer", pr.node).Uint64("session", pr.session).Msg("peer is up")
	p.stats.up.Inc()
	pr.up.Store(true)
	p.handler.PeerUp(pr.node, pr.session)
	for _, l := range pr.lanes {
		if l.unlatch() {
			p.writer.put(l)
		}
	}
}

// lower ends a pair and reports the peer down if it was up.
func (p *Peers) lower(pr *pair, why string) {
	wasUp := pr.up.Load()
	pr.close()
	p.replace(func(t *table) {
		if t.nodes[pr.node] == pr {
			delete(t.nodes, pr.node)
		}
		if t.sessions[pr.session] == pr {
			delete(t.sessions, pr.session)
		}
	})
	if !wasUp {
		return
	}
	p.log.Warn().Str("peer", pr.node).Uint64("session", pr.session).Str("cause", why).Msg("peer is down")
	p.stats.up.Dec()
	p.handler.PeerDown(pr.node, pr.session)
}

// arrive takes a packet in; each lane has a goroutine that calls it. All calls
// of the handler for one peer and lane, but PeerUp and PeerDown, are made here.
func (p *Peers) arrive(lane engine.Lane, data []byte) {
	h, body, size, err := parsePacket(data)
	if err != nil || h.lane != lane {
		p.stats.malformed.Inc()
		return
	}
	pr := p.pairs.Load().sessions[h.from]
	if pr == nil || !pr.owns(&h) {
		p.stats.stale.Inc()
		return
	}
	now := p.now()
	pr.seen.Store(int64(now))
	l := pr.lanes[lane]
	o := l.enter(&h, size, now)
	p.stats.arrived(lane, len(data), &o)
	if o.wake {
		p.writer.put(l)
	}
	if !o.entered {
		return
	}
	defer l.leave()
	if o.deliver {
		p.deliver(pr, lane, body)
	}
	if o.writable && !pr.over.Load() {
		p.handler.Writable(pr.node, lane)
	}
}

// deliver hands a packet's messages over, until the pair is over.
func (p *Peers) deliver(pr *pair, lane engine.Lane, body []byte) {
	for len(body) > 0 && !pr.over.Load() {
		msg, rest, err := nextMessage(body)
		if err != nil {
			panic("peers: a checked packet does not parse: " + err.Error())
		}
		p.handler.Receive(pr.node, lane, msg)
		body = rest
	}
}
