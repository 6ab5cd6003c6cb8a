package amqp

import "iter"

// lowSlots is how many numbers have a place in an array.
const lowSlots = 64

// slots holds things by numbers that clients choose: links by their handles,
// sessions by their channels. Low numbers, which nearly all clients use, stand in
// an array; the others in a map, so that a number costs the same however great it
// is. The zero value is empty.
type slots[T comparable] struct {
	low  []T
	high map[uint32]T
}

// get returns what has that number, or the zero value.
func (s *slots[T]) get(n uint32) T {
	if n < uint32(len(s.low)) { //nolint:gosec // at most lowSlots
		return s.low[n]
	}
	return s.high[n]
}

// put gives v that number.
func (s *slots[T]) put(n uint32, v T) {
	if n >= lowSlots {
		if s.high == nil {
			s.high = make(map[uint32]T)
		}
		s.high[n] = v
		return
	}
	for uint32(len(s.low)) <= n { //nolint:gosec // at most lowSlots
		var none T
		s.low = append(s.low, none)
	}
	s.low[n] = v
}

// drop frees the number.
func (s *slots[T]) drop(n uint32) {
	if n < uint32(len(s.low)) { //nolint:gosec // at most lowSlots
		var none T
		s.low[n] = none
		return
	}
	if delete(s.high, n); len(s.high) == 0 {
		s.high = nil
	}
}

// all yields what is there; the loop may drop it.
func (s *slots[T]) all() iter.Seq[T] {
	return func(yield func(T) bool) {
		var none T
		for _, v := range s.low {
			if v != none && !yield(v) {
				return
			}
		}
		for _, v := range s.high {
			if !yield(v) {
				return
			}
		}
	}
}
