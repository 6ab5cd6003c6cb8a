package amqp

import "math/bits"

// handles are the handles of our ends of a session's links: a bit each, set when
// it is in use. The zero value has none in use.
type handles []uint64

// take returns a free handle up to highest and marks it: the preferred one when
// it is free and allowed, because a peer's own number is easiest to read in a
// trace. It reports whether there is one.
func (h *handles) take(preferred, highest uint32) (uint32, bool) {
	highest = min(highest, maxHandle)
	free := preferred
	if preferred > highest || h.has(preferred) {
		free = h.lowest()
	}
	if free > highest {
		return 0, false
	}
	for uint32(len(*h))*64 <= free { //nolint:gosec // maxHandle/64 at most
		*h = append(*h, 0)
	}
	(*h)[free/64] |= 1 << (free % 64)
	return free, true
}

// drop gives a handle back.
func (h handles) drop(n uint32) { h[n/64] &^= 1 << (n % 64) }

func (h handles) has(n uint32) bool {
	return int(n/64) < len(h) && h[n/64]>>(n%64)&1 == 1
}

// lowest returns the lowest handle that is free.
func (h handles) lowest() uint32 {
	for i, word := range h {
		if word != ^uint64(0) {
			return uint32(i*64 + bits.TrailingZeros64(^word)) //nolint:gosec // maxHandle+1 at most
		}
	}
	return uint32(len(h) * 64) //nolint:gosec // the same
}
