package engine

import (
	"encoding/binary"
	"maps"
	"slices"

	"github.com/selvedge-mq/selvedge/internal/cursor"
	"github.com/selvedge-mq/selvedge/routing"
	"github.com/selvedge-mq/selvedge/routing/shard"
)

// report is what a portal tells a new leader, or a part of it.
type report struct {
	by     hearer    // whose it is, and which
	lowest [2]uint64 // first unconfirmed request of the settle and the send lane
	rest   bool      // it goes on from the part before
	more   bool      // another part follows
	subs   []reportedSub
}

// hearer is a node's portal by its latest report, whose number is greater than that of
// the one before. Each word of a leader names it: what the leader said before it took that
// report in, and sends behind it, is of what the report put an end to.
type hearer struct{ session, report uint64 }

func (h hearer) append(dst []byte) []byte {
	return binary.AppendUvarint(appendU64(dst, h.session), h.report)
}

func readHearer(c *cursor.Cursor) hearer { return hearer{session: c.U64(), report: c.Uvarint()} }

// reportedSub is a subscription. One with many deliveries in flight goes on in
// the next part, which repeats it.
type reportedSub struct {
	id       uint64
	addr     routing.Address
	credit   uint32
	draining bool
	inFlight []reportedKey // in the order in which they came
}

// reportedKey is a delivery in flight, with the note of the settlement that is
// on its way, 0 for none: its number, and a mark for what it is.
type reportedKey struct{ key, settle uint64 }

const (
	reportKeys = 32 << 10 // deliveries in a part: it stays below 600 KiB
	reportSubs = 256      // subscriptions in a part: their names have up to 1 KiB
)

// reaches reports whether there is somebody to send a report to.
func (p *portal) reaches() bool {
	if p.leader == p.e.node {
		l := p.e.leaderOf(p.shard)
		return l != nil && l.epoch == p.epoch
	}
	return p.leader != "" && p.e.isUp(p.leader, 0)
}

// report tells the leader what the node knows of the shard.
func (p *portal) report() {
	importing := p.e.importing.Load()
	r := &report{by: hearer{p.e.session, p.reports}, lowest: [2]uint64{p.lanes[0].known(importing), p.lanes[1].known(importing)}}
	for _, id := range slices.Sorted(maps.Keys(p.subs)) {
		q := p.subs[id]
		if q.closing && q.settles == 0 {
			p.endSub(q, nil)
			continue
		}
		r.subs = append(r.subs, reportedSub{id: id, addr: q.opts.Address, credit: q.credit, draining: q.draining, inFlight: q.reported()})
		q.owed, q.seen, q.closeSent = 0, 0, false
	}
	p.owed = p.owed[:0]
	if p.leader == p.e.node {
		p.reported = p.e.heed(p.shard, p.e.node, p.epoch, func(at *leader) { at.report(p.e.node, r) }, nil)
		return
	}
	for _, part := range r.split() {
		p.control = append(p.control, waitingControl{msg: part.append(p.head(verbReport).append(nil))})
	}
	p.reported = true // whatever is told from now on comes behind it
}

// split cuts a report into parts that fit into a message each.
func (r *report) split() []*report {
	part := &report{by: r.by, lowest: r.lowest}
	parts := []*report{part}
	keys := 0
	next := func() {
		part.more = true
		part = &report{by: r.by, lowest: r.lowest, rest: true}
		parts = append(parts, part)
		keys = 0
	}
	for _, u := range r.subs {
		rest := u.inFlight
		for {
			if keys == reportKeys || len(part.subs) == reportSubs {
				next()
			}
			n := min(len(rest), reportKeys-keys)
			piece := u
			piece.inFlight, rest = rest[:n], rest[n:]
			part.subs = append(part.subs, piece)
			if keys += n; len(rest) == 0 {
				break
			}
		}
	}
	return parts
}

func (r *report) append(dst []byte) []byte {
	dst = r.by.append(dst)
	dst = append(dst, flag(r.rest), flag(r.more))
	dst = binary.AppendUvarint(dst, r.lowest[0])
	dst = binary.AppendUvarint(dst, r.lowest[1])
	dst = binary.AppendUvarint(dst, uint64(len(r.subs)))
	for i := range r.subs {
		u := &r.subs[i]
		dst = appendSubscribe(dst, u.id, u.addr)
		dst = binary.AppendUvarint(dst, uint64(u.credit))
		dst = append(dst, flag(u.draining))
		dst = binary.AppendUvarint(dst, uint64(len(u.inFlight)))
		for _, k := range u.inFlight {
			dst = binary.AppendUvarint(binary.BigEndian.AppendUint64(dst, k.key), k.settle)
		}
	}
	return dst
}

func readReport(c *cursor.Cursor) *report {
	r := &report{by: readHearer(c), rest: c.Octet() != 0, more: c.Octet() != 0}
	r.lowest[0], r.lowest[1] = c.Uvarint(), c.Uvarint()
	for n := c.Uvarint(); n > 0 && !c.Bad; n-- {
		u := reportedSub{}
		u.id, u.addr = readSubscribe(c)
		u.credit, u.draining = uint32(c.Uvarint()), c.Octet() != 0
		for k := c.Uvarint(); k > 0 && !c.Bad; k-- {
			u.inFlight = append(u.inFlight, reportedKey{key: c.U64(), settle: c.Uvarint()})
		}
		r.subs = append(r.subs, u)
	}
	return r
}

// gatherReport puts the parts of a node's report together. It returns nil while
// some are missing. A part whose beginning did not come is none: that was lost with a
// connection, and the node reports anew on the next one.
func (l *leader) gatherReport(node string, part *report) *report {
	whole := l.partial[node]
	switch {
	case !part.rest:
		whole = &report{by: part.by, lowest: part.lowest}
	case whole == nil || whole.by != part.by:
		return nil
	}
	for _, u := range part.subs {
		if n := len(whole.subs); n > 0 && whole.subs[n-1].id == u.id {
			whole.subs[n-1].inFlight = append(whole.subs[n-1].inFlight, u.inFlight...)
			continue
		}
		whole.subs = append(whole.subs, u)
	}
	if part.more {
		l.partial[node] = whole
		return nil
	}
	delete(l.partial, node)
	return whole
}

// report takes in what a node knows, and welcomes it.
func (l *leader) report(node string, r *report) {
	if r = l.gatherReport(node, r); r == nil {
		return
	}
	l.meet(node, r.by)
	session := r.by.session
	for _, old := range l.s.Sessions(node, session) {
		l.s.CloseSession(old)
		l.s.Forget(old)
	}
	l.s.CloseSession(session)
	l.dropOpenings(node)
	lanes := [2]byte{laneSettle, laneSend}
	var expects [2]uint64
	for i, lane := range lanes {
		expects[i] = l.s.OpenLane(shard.LaneID{Session: session, Lane: lane}, node, r.lowest[i])
	}
	for i := range r.subs {
		l.reopen(node, shard.SubID{Session: session, Sub: r.subs[i].id}, &r.subs[i], expects)
	}
	delete(l.awaiting, node)
	l.dropWaiting(node)
	l.welcome(node, expects)
}

// reopen takes in a subscription that a node has already.
func (l *leader) reopen(node string, id shard.SubID, u *reportedSub, expects [2]uint64) {
	if o := l.openLater(node, id, u.addr); o != nil { // nothing of a queue that is not there can be in flight
		o.credit, o.draining = int64(u.credit), u.draining
		return
	}
	if !l.s.Subscribe(id, u.addr) {
		l.refuse(node, u.id)
		return
	}
	for _, f := range u.inFlight {
		// A settlement that is known already had its effect: whatever became of
		// the message, it is not in flight any more.
		number := f.settle &^ (inTransaction | givingBack)
		switch {
		case f.settle&inTransaction != 0:
			l.heldInStep(id, f.key, number, expects[1])
		case number > 0 && number < expects[0]:
		case f.settle&givingBack != 0:
			l.s.HeldToLeave(id, f.key)
		default:
			l.s.Held(id, f.key)
		}
	}
	l.s.Grant(id, int32(min(u.credit, 1<<30)))
	if u.draining {
		l.s.Drain(id)
	}
}
