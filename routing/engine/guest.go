package engine

import (
	"encoding/binary"

	"github.com/selvedge-mq/selvedge/routing"
	"github.com/selvedge-mq/selvedge/routing/shard"
)

// guest is the stream of dead letters from another shard, whose leader runs on
// this node. Its numbers were given out by that shard's log, so they mean the same
// whichever node speaks for it: the lane in this shard belongs to the other
// shard and not to a node. Owned by the portal's goroutine.
type guest struct {
	epoch    uint32   // of the leader of the other shard
	letters  []letter // not confirmed, numbers ascending
	sent     int      // of letters, those that the leader has got
	next     uint64   // behind the last letter
	greeted  bool     // the leader was told of the guest
	expected bool     // the leader has said with which number to begin

	ahead        uint64 // letters below are done already, though not all are here yet
	aheadAnswers []shard.Answer
}

// letter is a dead letter on its way. It never expires: it is not a client's.
type letter struct {
	number uint64
	large  bool // body is the commit of an upload
	body   []byte
	done   func(code routing.Code)
}

// guestLane names a guest's lane. Sessions of nodes are random numbers of 64 bits.
func guestLane(source int) shard.LaneID {
	return shard.LaneID{Session: uint64(source), Lane: laneDead}
}

// lowest returns the first number that is not confirmed.
func (g *guest) lowest() uint64 {
	if len(g.letters) > 0 {
		return g.letters[0].number
	}
	return g.next
}

// takeLetter takes a dead letter of another shard in, from its leader in an epoch.
func (p *portal) takeLetter(source int, epoch uint32, m letter) {
	g := p.guests[source]
	if g == nil {
		g = &guest{epoch: epoch}
		p.guests[source] = g
	}
	g.next = m.number + 1
	g.letters = append(g.letters, m)
	if m.number < g.ahead { // a former leader brought it
		g.end(g.ahead, g.aheadAnswers)
	}
}

// dismiss forgets a guest: this node does not lead the other shard any more.
func (p *portal) dismiss(source int) { delete(p.guests, source) }

// forwardGuests sends the leader the letters that it has not got.
func (p *portal) forwardGuests() {
	for source, g := range p.guests {
		if !g.greeted {
			g.greeted = true
			epoch, lowest := g.epoch, g.lowest()
			msg := binary.BigEndian.AppendUint32(appendGuest(p.head(verbGuest).append(nil), source, lowest), epoch)
			p.tell(msg, func(l *leader) { l.guest(p.e.node, source, epoch, lowest) })
		}
		for g.expected && g.sent < len(g.letters) && p.transmitLetter(source, g, &g.letters[g.sent]) {
			g.sent++
		}
	}
}

func (p *portal) transmitLetter(source int, g *guest, m *letter) bool {
	b := &sendBatch{
		lane: laneDead, session: uint64(source), first: m.number, lowest: g.lowest(),
		sizes: []int32{int32(len(m.body))}, buf: m.body, step: m.large,
	}
	v := verbLetter
	if m.large {
		v = verbLargeLetter
	}
	if p.leader == p.e.node {
		return p.e.heed(p.shard, p.e.node, p.epoch, func(at *leader) { at.queueSends(p.e.node, b, 0) }, nil)
	}
	return p.e.opts.Peers.Send(p.leader, LaneSend, b.append(p.head(v).append(nil)))
}

// rejoinGuests has the guests begin anew with a leader.
func (p *portal) rejoinGuests() {
	for _, g := range p.guests {
		g.greeted, g.expected = false, false
	}
}

// expect begins to send the letters of a guest, from a number on.
func (p *portal) expect(source int, number uint64) {
	g := p.guests[source]
	if g == nil || !g.greeted {
		return
	}
	g.expected, g.sent = true, 0
	for g.sent < len(g.letters) && g.letters[g.sent].number < number {
		g.sent++
	}
}

// confirmGuest takes the leader's word that the letters below next are done.
func (p *portal) confirmGuest(source int, next uint64, answers []shard.Answer) {
	g := p.guests[source]
	if g == nil {
		return
	}
	if next > g.next {
		g.ahead, g.aheadAnswers = next, append(g.aheadAnswers, answers...)
	}
	g.end(next, answers)
}

// end ends the letters below next that are here.
func (g *guest) end(next uint64, answers []shard.Answer) {
	for len(g.letters) > 0 && g.letters[0].number < next {
		m := &g.letters[0]
		m.done(takeAnswer(&answers, m.number))
		*m = letter{}
		g.letters = g.letters[1:]
		g.sent = max(g.sent-1, 0)
	}
}

// host is the node that leads another shard and sends its dead letters, as far as it
// is known here.
type host struct {
	node  string // empty when it is gone
	epoch uint32
}

// guest opens the lane of another shard's dead letters for the node that leads it.
// A former leader does not get it, which knows less of what was answered, and
// whose successor would wait for ever.
func (l *leader) guest(node string, source int, in uint32, lowest uint64) {
	if l.hearers[node].session == 0 || in < l.guests[source].epoch {
		return // it has not reported, or does not lead any more
	}
	l.guests[source] = host{node: node, epoch: in}
	expects := l.s.OpenLane(guestLane(source), "", lowest)
	l.toNode(node, verbExpect, appendGuest(nil, source, expects), func(p *portal) { p.expect(source, expects) })
}

func (l *leader) confirmGuest(c *shard.Confirm) {
	source, next, answers := int(c.Lane.Session), c.Next, c.Answers
	node := l.guests[source].node
	if node == "" {
		return
	}
	l.toNode(node, verbConfirmGuest, appendConfirm(binary.BigEndian.AppendUint16(nil, uint16(source)), c),
		func(p *portal) { p.confirmGuest(source, next, answers) })
}

// partGuests takes note that a node is gone. Its epochs still count.
func (l *leader) partGuests(node string) {
	for source, at := range l.guests {
		if at.node == node {
			l.guests[source] = host{epoch: at.epoch}
		}
	}
}

// forgetGuests has this node's leaders forget an epoch of another shard that is in no
// log: they would not listen to the next leader.
func (e *Engine) forgetGuests(source int, refuted uint32) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, l := range e.leaders {
		l.box.Put(func() {
			if l.guests[source].epoch == refuted {
				delete(l.guests, source)
			}
		})
	}
}

func appendGuest(dst []byte, source int, number uint64) []byte {
	return binary.AppendUvarint(binary.BigEndian.AppendUint16(dst, uint16(source)), number)
}
