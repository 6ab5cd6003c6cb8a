package peers

import "time"

// end returns the number of the next packet to be closed. The lane is locked.
func (l *lane) end() uint64 { return l.base + uint64(len(l.packets)) }

// push takes a message. It returns whether it was taken, and whether the lane
// must be put in the writer's queue.
func (l *lane) push(msg []byte) (taken, wake bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.phase == phaseClosed {
		return false, false
	}
	if !l.room(len(msg)) {
		l.need = len(msg)
		l.starved = true
		return false, false
	}
	if l.open != nil && len(l.open.buf)+frameLen+len(msg) > l.batch {
		l.closeOpen()
	}
	if l.open == nil {
		l.open = l.pair.pool.get()
	}
	l.open.add(msg, l.batch)
	l.kept++
	l.queued += uint64(len(msg))
	if len(l.open.buf) >= l.batch {
		l.closeOpen()
	}
	return true, l.schedule()
}

// room says whether the window has room for n bytes. Lengths count as well as
// messages, so that memory is bounded for messages of no bytes too. The lane is
// locked.
func (l *lane) room(n int) bool {
	used := l.queued - l.granted
	if used == 0 && l.kept == 0 {
		return true
	}
	return used+uint64(n) <= l.window && uint64(l.kept+1)*frameLen <= l.window //nolint:gosec // not negative
}

// closeOpen gives the open packet its number. The lane is locked.
func (l *lane) closeOpen() {
	l.packets = append(l.packets, l.open)
	l.open = nil
}

// ripe says whether the open packet may go. While many packets wait for their
// acknowledgement it grows instead, so that small messages do not each cost a
// packet; when Peers close everything goes. The lane is locked.
func (l *lane) ripe() bool {
	return l.open != nil && (len(l.packets) < packetsMost || !l.pair.up.Load())
}

// hasten is called when the pair takes no further messages. It returns true if
// the lane must be put in the writer's queue.
func (l *lane) hasten() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.open != nil && l.schedule()
}

// take returns the next packet to publish, nil when there is none; scratch has
// room for a packet without messages. The writer alone calls it, and the bytes
// hold until its next call. again says that the packet was published before.
func (l *lane) take(scratch []byte, now time.Duration) (data []byte, again bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.publishing = nil
	if l.phase == phaseClosed {
		l.scheduled = false
		return nil, false
	}
	if l.cursor == l.end() && l.ripe() {
		l.closeOpen()
	}
	h := head{lane: l.kind, flags: l.flagsDue, ack: l.next - 1, grant: l.consumed}
	switch {
	case l.cursor < l.end() && !l.held():
		l.publishing = l.packets[l.cursor-l.base]
		data, h.seq, again = l.publishing.buf, l.cursor, l.cursor < l.high
		if l.cursor == l.base {
			l.progress = now
		}
		if l.cursor < l.recovery {
			l.allowed--
			h.flags |= flagProbe
		}
		l.cursor++
		l.high = max(l.high, l.cursor)
	case l.ackDue || l.flagsDue != 0:
		data = scratch[:headLen]
	default:
		l.scheduled = false
		return nil, false
	}
	l.pair.address(&h)
	h.put(data)
	l.ackDue, l.flagsDue, l.unacked, l.unackedPackets = false, 0, 0, 0
	l.ackSent, l.grantSent = h.ack, h.grant
	return data, again
}

// acknowledge takes note of what the other end has received and consumed, and
// returns whether Writable must be called. The lane is locked.
func (l *lane) acknowledge(h *head, now time.Duration) (writable bool) {
	if h.ack >= l.base && h.ack < l.high {
		done := h.ack - l.base + 1
		for i, p := range l.packets[:done] {
			l.kept -= p.messages
			if p != l.publishing {
				l.pair.pool.put(p)
			}
			l.packets[i] = nil
		}
		l.packets = l.packets[done:]
		l.base += done
		l.cursor = max(l.cursor, l.base)
		l.allowed = 2 * int(done) //nolint:gosec // at most the packets there are
		l.progress, l.patience = now, resendAfter
	}
	if h.grant > l.granted && h.grant <= l.queued {
		l.granted = h.grant
		l.progress, l.patience = now, resendAfter
	}
	if h.flags&flagResend != 0 {
		l.cursor, l.recovery = min(l.cursor, max(l.base, h.ack+1)), 0
	}
	if !l.starved {
		return false
	}
	used := l.queued - l.granted
	if !l.room(l.need) || used > l.window/2 {
		return false
	}
	l.starved = false
	return true
}
