package shard

import "slices"

// firstOf returns the delivery at which a subscription's consumer is.
func (m *model) firstOf(id SubID) *modelDelivery {
	if i := slices.IndexFunc(m.held, func(d *modelDelivery) bool { return d.sub == id }); i >= 0 {
		return m.held[i]
	}
	return nil
}

// mayFail notes that the attempt at which a subscription's consumer is may be counted: the
// first, or the one behind those that are not persistent, which a leader may have taken along.
func (m *model) mayFail(id SubID) {
	for _, d := range m.held {
		if d.sub == id {
			d.msg.most++
			if d.msg.persistent {
				return
			}
		}
	}
}

// idle reports whether a subscription's consumer has nothing to do, as everybody knows.
func (m *model) idle(id SubID) bool {
	unknown := slices.ContainsFunc(m.settles[m.lowest[0]-1:], func(r *request) bool { return r.settle.Sub == id })
	return m.firstOf(id) == nil && !unknown
}

// crash notes what the end of the consumers' node, together with the leader, has to
// count, and what it may: the message that each consumer was at. That may be one whose
// settlement nobody has confirmed.
func (m *model) crash() {
	seen := map[SubID]bool{}
	for _, d := range m.held {
		if seen[d.sub] {
			continue
		}
		seen[d.sub] = true
		m.mayFail(d.sub)
		if d.alone && d.msg.persistent {
			d.msg.least = max(d.msg.least, d.failed+1)
		}
	}
	for _, r := range m.settles[m.lowest[0]-1:] {
		r.msg.most++
	}
}

// interrupt notes what a leader was about to hand out when it died: with the attempts
// logged, they may be counted, though nobody got anything.
func (m *model) interrupt(old *leader) {
	for _, u := range old.s.subList {
		if u != nil {
			m.mayBeginInVain(old, u)
		}
	}
}

// mayBeginInVain notes that the attempt which a subscription waits for may be counted.
func (m *model) mayBeginInVain(at *leader, u *sub) {
	if u.parked != 0 {
		m.message(at.s.bodyOf(at.s.store.at(at.s.store.find(u.parked)))).most++
	}
}

// checkFailed checks the failed attempts of a delivery: none is forgotten, and none
// made up.
func (m *model) checkFailed(msg *modelMessage, d Delivery) {
	if msg.persistent && int(d.Failed) < msg.least {
		m.Fatalf("message %s is handed out with %d failed attempts, want at least %d", msg.id, d.Failed, msg.least)
	}
	if int(d.Failed) > msg.most {
		m.Fatalf("message %s is handed out with %d failed attempts, want at most %d", msg.id, d.Failed, msg.most)
	}
}
