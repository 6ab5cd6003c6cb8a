package stomp

// apartFrom is the size in octets from which a payload is written from where it
// stands, and not copied into the output: below it the copy is cheaper than a place
// of its own in the write. BenchmarkWriteMessages compares the two; docs/performance.md
// has its figures.
const apartFrom = 8 << 10

// apart is a part of the output in memory of its own, which nobody changes: the
// payload of a delivery.
type apart struct {
	at int // how many octets of the buffer go before it
	b  []byte
}

// output is for the writer: whole frames, or a part of a large one.
type output struct {
	buf   []byte
	apart []apart
	more  bool // the frame goes on in the next output
}

// parts yields the output in the order of the wire.
func (o *output) parts(yield func([]byte) bool) {
	from := 0
	for _, a := range o.apart {
		if a.at > from && !yield(o.buf[from:a.at]) {
			return
		}
		from = a.at
		if !yield(a.b) {
			return
		}
	}
	if from < len(o.buf) {
		yield(o.buf[from:])
	}
}

// encoded returns how many octets wait for the writer.
func (m *machine) encoded() int { return len(m.out) + m.apartSize }

// appendPayload appends the end of a payload, which may hold header lines too.
func (m *machine) appendPayload(dst, b []byte) []byte {
	if len(b) < apartFrom || m.whole || m.tracing {
		return append(dst, b...)
	}
	m.apart = append(m.apart, apart{len(dst), b})
	m.apartSize += len(b)
	return dst
}

// takeOut hands the output over.
func (m *machine) takeOut() output {
	o := output{buf: m.out, apart: m.apart}
	m.dropOut()
	return o
}

// dropOut forgets what is encoded.
func (m *machine) dropOut() { m.out, m.apart, m.apartSize = nil, nil, 0 }
