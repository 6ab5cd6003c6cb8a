package message

import "github.com/selvedge-mq/selvedge/protocols/amqp/wire"

// Head is what the begin of a message says, up to where the bytes of its body are.
type Head struct {
	Message           // the sections in front of the body; its Bare goes to the end of what was scanned
	Offset  int       // where the bytes of the body's first section begin
	Length  int64     // how many that section has; -1: its constructor does not tell
	Type    wire.Type // of its value
}

// End returns where the body's first section ends in the message, -1 when that is
// not known.
func (h *Head) End() int64 {
	if h.Length < 0 {
		return -1
	}
	return int64(h.Offset) + h.Length
}

// ScanHead finds the sections in front of the body as [Scan] does. It reports false
// unless the bytes hold them, and the constructor of the body, as a whole.
// [messaging 3.2]
func ScanHead(b []byte) (Head, bool) {
	var h Head
	r := wire.NewReader(b, wire.Limits{})
	bare := -1
	var last uint64
	for r.Len() > 0 {
		start := r.Offset()
		code := r.Descriptor(names)
		h.check(&r, code, last)
		if r.Err() != nil || code == CodeFooter {
			return Head{}, false
		}
		if bare < 0 && code >= CodeProperties {
			bare = start
		}
		if code >= CodeData {
			h.Kind = BodyKind(code - CodeData + 1) //nolint:gosec // 1 to 3
			h.BodySections = 1
			h.Type, h.Length = r.Begin()
			h.Offset, h.Bare = r.Offset(), b[bare:]
			return h, r.Err() == nil
		}
		if r.Skip(); r.Err() != nil {
			return Head{}, false
		}
		h.put(code, b[start:r.Offset():r.Offset()])
		last = code
	}
	return Head{}, false
}

// AppendDataHead appends what a data section of so many bytes has in front of them.
// [messaging 3.2.6]
func AppendDataHead(dst []byte, size uint32) []byte {
	return wire.AppendBinaryHead(wire.AppendDescriptor(dst, CodeData), size)
}

// AppendBinaryValueHead does so for an amqp-value section that is a binary.
// [messaging 3.2.8]
func AppendBinaryValueHead(dst []byte, size uint32) []byte {
	return wire.AppendBinaryHead(wire.AppendDescriptor(dst, CodeValue), size)
}
