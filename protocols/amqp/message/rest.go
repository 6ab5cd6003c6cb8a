package message

import (
	"errors"
	"math"

	"github.com/selvedge-mq/selvedge/protocols/amqp/wire"
)

// mostSectionHead is more than a section has in front of its value's bytes: its
// descriptor, the longest of which are symbols, a constructor and a size.
const mostSectionHead = 64

// Rest follows the sections behind the first one of a body while their bytes come piece
// by piece, so that a message that is not looked at as a whole is one all the same.
type Rest struct {
	m    Message // its kind is the body's
	last uint64  // descriptor of the section under way
	left int64   // bytes of it that have not come
	at   int     // where in the message the head begins, or what is left
	head []byte  // what came of the next one in front of its bytes
	err  error
}

// Rest returns what follows the sections from the first byte of the body's first section
// on. When the size of that is unknown, whatever comes is taken.
func (h *Head) Rest() Rest {
	r := Rest{m: Message{Kind: h.Kind}, last: CodeData + uint64(h.Kind) - 1, left: h.Length, at: h.Offset}
	if h.Length < 0 {
		r.left = math.MaxInt64
	}
	return r
}

// Take takes the bytes that come next, and fails once they cannot be sections of the
// message. A failure is a *[wire.Error].
func (r *Rest) Take(b []byte) error {
	for len(b) > 0 && r.err == nil {
		if r.left > 0 {
			n := min(r.left, int64(len(b)))
			r.left -= n
			r.at += int(n)
			b = b[n:]
			continue
		}
		before := len(r.head)
		r.head = append(r.head, b[:min(len(b), mostSectionHead-before)]...)
		size, ok := r.section()
		if !ok {
			return r.err // nil: more of its head is to come
		}
		b = b[size-before:]
		r.head = r.head[:0]
		r.at += size
	}
	return r.err
}

// section reads what stands in front of a section's bytes, and returns how much that is.
// It reports false when that is not there as a whole.
func (r *Rest) section() (size int, ok bool) {
	in := wire.NewReader(r.head, wire.Limits{})
	code := in.Descriptor(names)
	if in.Len() > 0 {
		r.m.check(&in, code, r.last)
		_, r.left = in.Begin()
	} else {
		in.Fail("a section has no value")
	}
	if err := in.Err(); err != nil {
		r.left = 0
		if len(r.head) == mostSectionHead {
			r.err = r.placed(err)
		}
		return 0, false
	}
	r.last = code
	return in.Offset(), true
}

// End fails unless the last section that came is there as a whole.
func (r *Rest) End() error {
	switch {
	case r.err != nil || len(r.head) == 0 && (r.left == 0 || r.left > math.MaxUint32):
		return r.err
	case len(r.head) > 0:
		in := wire.NewReader(r.head, wire.Limits{})
		r.m.check(&in, in.Descriptor(names), r.last)
		in.Fail("a section ends in its beginning")
		return r.placed(in.Err())
	}
	in := wire.NewReader(nil, wire.Limits{})
	in.Fail("a section ends in its middle")
	return r.placed(in.Err())
}

// placed has a failure tell its offset in the message.
func (r *Rest) placed(err error) error {
	if e, ok := errors.AsType[*wire.Error](err); ok {
		e.Offset += r.at
	}
	return err
}
