package stomp

// ring is a queue whose entries keep their number: the n-th entry ever pushed
// has the number n, from 0. The zero value is an empty ring.
type ring[T any] struct {
	items []T    // its length is zero or a power of two
	mask  uint64 // its length less one
	head  uint64
	tail  uint64
}

// ringKept is how many entries an emptied ring keeps room for.
const ringKept = 1024

func (r *ring[T]) len() int { return int(r.tail - r.head) } //nolint:gosec // far below 2^63

// push adds an entry at the end and returns its number.
func (r *ring[T]) push(v T) uint64 {
	if r.len() == len(r.items) {
		r.grow()
	}
	n := r.tail
	r.items[n&r.mask] = v
	r.tail++
	return n
}

// at returns the entry with the number n, which must be in the ring.
func (r *ring[T]) at(n uint64) *T { return &r.items[n&r.mask] }

// has reports whether the entry with the number n is in the ring.
func (r *ring[T]) has(n uint64) bool { return n >= r.head && n < r.tail }

// front returns the first entry; the ring must not be empty.
func (r *ring[T]) front() *T { return r.at(r.head) }

// pop removes the first entry and returns it. An emptied large ring gives its
// memory back.
func (r *ring[T]) pop() T {
	var zero T
	v := *r.front()
	*r.front() = zero
	r.head++
	if r.head == r.tail && len(r.items) > ringKept {
		r.release()
	}
	return v
}

// clear drops all entries; their numbers are not used again.
func (r *ring[T]) clear() {
	r.head = r.tail
	r.release()
}

// release gives the memory of an empty ring back.
func (r *ring[T]) release() {
	if r.head == r.tail {
		r.items, r.mask = nil, 0
	}
}

func (r *ring[T]) grow() {
	items := make([]T, max(8, 2*len(r.items)))
	mask := uint64(len(items)) - 1
	for n := r.head; n < r.tail; n++ {
		items[n&mask] = *r.at(n)
	}
	r.items, r.mask = items, mask
}
