package stomp

import (
	"math"

	"github.com/selvedge-mq/selvedge/routing"
)

// What waits in a connection to be written is bounded in octets too, by
// [protocols.Limits.InFlightBytes]: a prefetch counts messages, which may be large. What
// comes beyond that goes back to its queue, unmarked. The broker gives its credit back, and
// gets it again as the client reads, by the size that messages have.

// accept takes a delivery, or gives it back when there is no room.
func (m *machine) accept(d delivery) {
	s := d.sub
	d.size = len(d.d.Envelope.Payload)
	s.size = max(d.size, s.size-s.size/8)
	if s.recalled {
		s.withheld--
	} else {
		s.granted--
		if m.overflows(&d) {
			m.recall(s)
		}
	}
	if s.recalled && s.returns && !s.closing {
		s.sub.Settle(d.d.Tag, routing.Outcome{Kind: routing.Released}, nil, 0)
		s.withheld++
		m.fe.metrics.returned.Inc()
		return
	}
	m.backlog.push(d)
	m.held += d.size
}

// overflows reports whether there is no room for a delivery. There is for one, always.
func (m *machine) overflows(d *delivery) bool {
	return m.backlog.len() > 0 && m.held+d.size > m.fe.limits.InFlightBytes && !d.sub.browse && !d.sub.closing
}

// recall has the broker give its credit back. What it has handed out until then is still
// on its way: the drain is answered behind it.
func (m *machine) recall(s *subscription) {
	if s.withheld == 0 {
		m.short = append(m.short, s)
	}
	s.recalled = true
	s.withheld += s.granted
	s.granted = 0
	s.sub.Grant(-math.MaxInt32)
	s.sub.Drain()
}

// drained takes the answer to a drain.
func (m *machine) drained(s *subscription, left uint32) {
	if s.browse {
		m.browsed(s, left)
	}
	s.recalled = false
}

// grant gives the broker credit, or keeps it until there is room.
func (m *machine) grant(s *subscription, n int32) {
	if s.recalled || s.withheld > 0 {
		s.withheld += n
		return
	}
	s.granted += n
	s.sub.Grant(n)
}

// refill gives the broker credit again, when half of the room is free: for as many messages
// as fit, and for one at least.
func (m *machine) refill() {
	limit := m.fe.limits.InFlightBytes
	if len(m.short) == 0 || m.held > limit/2 {
		return
	}
	room := limit - m.held
	for _, s := range m.short {
		room -= int(s.granted) * s.size
	}
	rest := m.short[:0]
	for _, s := range m.short {
		if s.closing || m.muted || m.state != stateOpen {
			s.withheld = 0
			continue
		}
		if n := m.fits(s, room); n > 0 {
			s.granted += n
			s.withheld -= n
			room -= int(n) * s.size
			s.sub.Grant(n)
		}
		if s.recalled || s.withheld > 0 {
			rest = append(rest, s)
		}
	}
	clear(m.short[len(rest):])
	m.short = rest
}

// fits returns for how many messages more a subscription may have credit.
func (m *machine) fits(s *subscription, room int) int32 {
	if s.recalled {
		return 0
	}
	n := max(0, room) / max(1, s.size)
	if s.granted == 0 {
		n = max(1, n)
	}
	return int32(min(n, int(s.withheld))) //nolint:gosec // at most what is withheld
}
