package stomp

// texts holds short texts in the order in which they came, in one piece of
// memory. A text is found by its offset among all that there ever were. The zero
// value is empty.
type texts struct {
	buf  []byte
	base uint64 // offset of the first octet of buf
}

// textsKept is how much room an emptied one keeps.
const textsKept = 16 << 10

func (t *texts) len() int { return len(t.buf) }

// push adds a text and returns its offset.
func (t *texts) push(s []byte) uint64 {
	at := t.base + uint64(len(t.buf))
	t.buf = append(t.buf, s...)
	return at
}

// get returns a text, which is valid until the next push or drop.
func (t *texts) get(at, size uint64) []byte {
	i := at - t.base
	return t.buf[i : i+size]
}

// drop forgets all texts before an offset.
func (t *texts) drop(to uint64) {
	n := to - t.base
	switch {
	case n == uint64(len(t.buf)):
		t.buf = t.buf[:0]
		if cap(t.buf) > textsKept {
			t.buf = nil
		}
	case n > textsKept && n > uint64(len(t.buf))/2:
		t.buf = append(t.buf[:0], t.buf[n:]...)
	default:
		return
	}
	t.base = to
}

// release gives the memory of an empty one back.
func (t *texts) release() {
	if len(t.buf) == 0 {
		t.buf = nil
	}
}
