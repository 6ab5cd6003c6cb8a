package amqp

// Sequence numbers, delivery counts and delivery ids live in serial number
// arithmetic modulo 2^32, RFC 1982. [transport 2.8.10]

// before reports whether serial number a comes before b.
func before(a, b uint32) bool { return int32(a-b) < 0 } //nolint:gosec // the wrap is the point

// ahead returns how far a is in front of b, zero when it is behind.
func ahead(a, b uint32) uint32 {
	if before(a, b) {
		return 0
	}
	return a - b
}

// incoming is the window for transfer frames from the peer. [transport 2.5.6]
type incoming struct {
	size   uint32 // what we advertise
	left   uint32 // what is left of the last advertised window
	nextID uint32 // next-incoming-id
}

// take counts one transfer frame and reports whether the window allowed it.
func (w *incoming) take() bool {
	w.nextID++
	if w.left == 0 {
		return false
	}
	w.left--
	return true
}

// low reports whether it is time to advertise the window anew.
func (w *incoming) low() bool { return w.left <= w.size/2 }

// outgoing is the window for transfer frames to the peer. [transport 2.5.6]
type outgoing struct {
	first  uint32 // initial-outgoing-id
	nextID uint32 // next-outgoing-id
	left   uint32 // remote-incoming-window
}

// sent counts one transfer frame.
func (w *outgoing) sent() {
	w.nextID++
	w.left--
}

// update takes a peer's view. It reports false when the peer claims to have
// seen what was not sent. A peer that has not seen our begin yet names no
// next-incoming-id.
func (w *outgoing) update(nextIncomingID uint32, known bool, window uint32) bool {
	if !known {
		nextIncomingID = w.first
	}
	if before(w.nextID, nextIncomingID) {
		return false
	}
	underWay := w.nextID - nextIncomingID
	if underWay >= window {
		w.left = 0
		return true
	}
	w.left = window - underWay
	return true
}
