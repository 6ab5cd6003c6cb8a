package amqp

import (
	"cmp"
	"slices"
)

// span is a range of delivery-ids, both ends included, that does not wrap.
type span struct{ first, last uint32 }

// between are delivery-ids of which none lies outside of first to last, both included.
type between struct {
	first, last uint32
	any         bool
}

// widest is how far apart two ids may be that are still compared.
const widest = 1 << 30

// add puts an id in that is behind all others; the first ones are forgotten when they
// are too far away.
func (b *between) add(id uint32) {
	if !b.any {
		b.first, b.any = id, true
	}
	b.last = id
	if b.last-b.first > widest {
		b.first = b.last - widest
	}
}

// meets says whether there may be ids in a range.
func (b *between) meets(first, last uint32) bool {
	return b.any && !before(last, b.first) && !before(b.last, first)
}

// spans gathers delivery-ids that share one state, so that they are answered in
// as few dispositions as possible. [transport 2.7.6]
type spans []span

// add puts an id in.
func (r *spans) add(id uint32) {
	if n := len(*r); n > 0 && (*r)[n-1].last+1 == id && id != 0 {
		(*r)[n-1].last = id
		return
	}
	*r = append(*r, span{id, id})
}

// take returns the ranges in ascending order, merged, and empties r. No range
// wraps past 2^32: clients loop from first to last. The slice is good until the
// next add.
func (r *spans) take() []span {
	s := *r
	*r = s[:0]
	if len(s) < 2 {
		return s
	}
	if !slices.IsSortedFunc(s, bySpan) {
		slices.SortFunc(s, bySpan)
	}
	merged := s[:1]
	for _, next := range s[1:] {
		last := &merged[len(merged)-1]
		if last.last+1 == next.first && next.first != 0 {
			last.last = next.last
			continue
		}
		merged = append(merged, next)
	}
	return merged
}

// trim gives the memory of a long list back.
func (r *spans) trim() {
	if cap(*r) > 64 {
		*r = nil
	}
}

func bySpan(a, b span) int { return cmp.Compare(a.first, b.first) }
