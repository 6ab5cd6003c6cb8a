package peers

import "time"

// outcome is what enter found in a packet.
type outcome struct {
	entered   bool // leave must be called
	deliver   bool // the messages are the next ones
	writable  bool // Writable must be called
	wake      bool // the lane must be put in the writer's queue
	gap       bool // packets before this one are missing
	duplicate bool // the packet was received before
}

// enter takes note of a packet's head and says what is to be done. Packets are
// taken in order only: one that comes early is dropped, and the missing ones
// are asked for. size is the length of its messages.
func (l *lane) enter(h *head, size int, now time.Duration) (o outcome) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.phase != phaseOpen {
		l.missed = true
		return o
	}
	l.busy, o.entered = true, true
	o.writable = l.acknowledge(h, now)
	if h.flags&flagProbe != 0 {
		l.ackDue = true
	}
	switch {
	case h.seq == 0:
	case h.seq == l.next:
		o.deliver = true
		l.next++
		l.received += uint64(size) //nolint:gosec // not negative
		l.unacked += uint64(size)  //nolint:gosec // not negative
		l.unackedPackets++
		if l.unacked >= l.window/8 || l.unackedPackets >= packetsMost/8 {
			l.ackDue = true
		}
	case h.seq < l.next:
		o.duplicate = true
		l.ackDue = true
	default:
		o.gap = true
		if l.askedFor != l.next || now-l.askedAt >= askAgainAfter {
			l.askedFor, l.askedAt = l.next, now
			l.flagsDue |= flagResend
		}
	}
	o.wake = l.ready() && l.schedule()
	return o
}

// consume gives n bytes of window back. What exceeds the bytes received is
// ignored: it belongs to a pair that is over. It returns true if the lane must
// be put in the writer's queue: when an eighth of the window is to be granted,
// or what is left of a burst; smaller grants go with the next packet or tick.
func (l *lane) consume(n int) bool {
	if n <= 0 {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.consumed = min(l.consumed+uint64(n), l.received)
	owed := l.consumed - l.grantSent
	if owed < l.window/8 && (l.consumed != l.received || owed < l.window/64) {
		return false
	}
	l.ackDue = true
	return l.schedule()
}
