package amqpclient

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
)

// Codes of types. [types 1.6]
const (
	codeNull    = 0x40
	codeTrue    = 0x41
	codeFalse   = 0x42
	codeUint    = 0x70
	codeUbyte   = 0x50
	codeUshort  = 0x60
	codeSmall   = 0x53 // ulong of one byte
	codeBin8    = 0xa0
	codeBin32   = 0xb0
	codeStr8    = 0xa1
	codeStr32   = 0xb1
	codeSym8    = 0xa3
	codeList32  = 0xd0
	codeArray8  = 0xe0
	frameHeader = 8
)

// Descriptors of performatives, states and sections.
const (
	descOpen        = 0x10
	descBegin       = 0x11
	descAttach      = 0x12
	descFlow        = 0x13
	descTransfer    = 0x14
	descDisposition = 0x15
	descDetach      = 0x16
	descEnd         = 0x17
	descClose       = 0x18
	descAccepted    = 0x24
	descRejected    = 0x25
	descSource      = 0x28
	descTarget      = 0x29
	descMechanisms  = 0x40
	descInit        = 0x41
	descOutcome     = 0x44
	descHeader      = 0x70
	descData        = 0x75
	descValue       = 0x77

	typeAMQP byte = 0
	typeSASL byte = 1
)

// encoder writes one frame: a performative's fields in their order.
type encoder struct {
	b     []byte
	start int    // of the frame
	lists [3]int // where the items of open lists begin
	depth int
}

// frame begins a frame at the end of b. [transport 2.3]
func frame(b []byte, typ, performative byte) encoder {
	e := encoder{b: append(b, 0, 0, 0, 0, 2, typ, 0, 0), start: len(b)}
	e.open(performative)
	return e
}

// open begins a described list.
func (e *encoder) open(descriptor byte) {
	e.b = append(e.b, 0, codeSmall, descriptor, codeList32, 0, 0, 0, 0, 0, 0, 0, 0)
	e.lists[e.depth] = len(e.b)
	e.depth++
}

// shut ends the list that was opened last; fields is how many it has.
func (e *encoder) shut(fields uint32) {
	e.depth--
	at := e.lists[e.depth]
	binary.BigEndian.PutUint32(e.b[at-8:], uint32(len(e.b)-at+4))
	binary.BigEndian.PutUint32(e.b[at-4:], fields)
}

// done ends the performative with its fields and the frame with its payload.
func (e *encoder) done(fields uint32, payload ...[]byte) []byte {
	e.shut(fields)
	for _, p := range payload {
		e.b = append(e.b, p...)
	}
	binary.BigEndian.PutUint32(e.b[e.start:], uint32(len(e.b)-e.start))
	return e.b
}

func (e *encoder) null() { e.b = append(e.b, codeNull) }

func (e *encoder) uint(v uint32) {
	e.b = binary.BigEndian.AppendUint32(append(e.b, codeUint), v)
}

func (e *encoder) ubyte(v byte) { e.b = append(e.b, codeUbyte, v) }

func (e *encoder) bool(v bool) {
	if v {
		e.b = append(e.b, codeTrue)
		return
	}
	e.b = append(e.b, codeFalse)
}

func (e *encoder) string(s string) {
	e.b = binary.BigEndian.AppendUint32(append(e.b, codeStr32), uint32(len(s)))
	e.b = append(e.b, s...)
}

// symbol writes a symbol of at most 255 bytes.
func (e *encoder) symbol(s string) { e.b = append(append(e.b, codeSym8, byte(len(s))), s...) }

func (e *encoder) binary(p []byte) {
	e.b = binary.BigEndian.AppendUint32(append(e.b, codeBin32), uint32(len(p)))
	e.b = append(e.b, p...)
}

// symbols writes an array of one symbol.
func (e *encoder) symbols(s string) {
	e.b = append(e.b, codeArray8, byte(len(s)+3), 1, codeSym8, byte(len(s)))
	e.b = append(e.b, s...)
}

// received is a frame that was read; its bytes are valid until the next one.
type received struct {
	typ     byte
	empty   bool // a heart-beat
	body    value
	payload []byte
}

// frameReader reads frames.
type frameReader struct {
	in  *bufio.Reader
	max int
	buf []byte
}

func newFrameReader(in io.Reader, most int) *frameReader {
	return &frameReader{in: bufio.NewReaderSize(in, 64<<10), max: most}
}

// next reads a frame; io.EOF between two of them is the stream's end.
func (r *frameReader) next() (received, error) {
	head, err := r.in.Peek(frameHeader)
	if err != nil {
		if len(head) == 0 {
			return received{}, err
		}
		return received{}, io.ErrUnexpectedEOF
	}
	length, offset, typ := int(binary.BigEndian.Uint32(head)), 4*int(head[4]), head[5]
	if offset < frameHeader || length < offset || length > r.max {
		return received{}, fmt.Errorf("%w: a frame of %d bytes with its body at %d, at most %d are accepted", ErrMalformed, length, offset, r.max)
	}
	if cap(r.buf) < length {
		r.buf = make([]byte, length)
	}
	r.buf = r.buf[:length]
	if _, err := io.ReadFull(r.in, r.buf); err != nil {
		return received{}, io.ErrUnexpectedEOF
	}
	f := received{typ: typ}
	if length == offset {
		f.empty = true
		return f, nil
	}
	f.body, f.payload, err = next(r.buf[offset:])
	if err == nil && !f.body.described {
		err = fmt.Errorf("%w: a frame without a performative", ErrMalformed)
	}
	return f, err
}
