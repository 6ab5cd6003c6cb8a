package frames

import (
	"encoding/binary"
	"errors"
)

// The sizes of frames. [transport 2.3, 2.8.19]
const (
	HeaderSize      = 8   // of the frame header
	MinMaxFrameSize = 512 // every peer takes frames of this size
)

// The frame types. [transport 2.3.2] [security 5.3.1]
const (
	TypeAMQP uint8 = 0
	TypeSASL uint8 = 1
)

// Header is the fixed part of a frame. [transport 2.3.1]
type Header struct {
	Size       uint32 // of the whole frame, this header too
	DataOffset uint8  // where the body starts, in words of four bytes
	Type       uint8
	Channel    uint16 // of AMQP frames; ignored in SASL frames
}

// ParseHeader reads the header from the first HeaderSize bytes of b, which must
// be there. It fails with a *[DecodeError] that carries FramingError. The size
// limit is the caller's to check.
func ParseHeader(b []byte) (Header, error) {
	_ = b[HeaderSize-1]
	h := Header{
		Size:       binary.BigEndian.Uint32(b),
		DataOffset: b[4],
		Type:       b[5],
		Channel:    binary.BigEndian.Uint16(b[6:]),
	}
	switch {
	case h.Size < HeaderSize:
		return h, &DecodeError{Condition: FramingError, Err: errSize}
	case h.DataOffset < 2 || uint32(h.DataOffset)*4 > h.Size:
		return h, &DecodeError{Condition: FramingError, Err: errOffset}
	case h.Type != TypeAMQP && h.Type != TypeSASL:
		return h, &DecodeError{Condition: FramingError, Err: errType}
	}
	return h, nil
}

var (
	errSize   = errors.New("a frame is smaller than its header")
	errOffset = errors.New("a frame's data offset is outside of it")
	errType   = errors.New("a frame is neither AMQP nor SASL")
)

// Body returns the offset of the body: the extended header is passed over.
func (h Header) Body() int { return int(h.DataOffset) * 4 }

// Empty reports whether the frame has no body: it is a heartbeat.
func (h Header) Empty() bool { return h.Size == uint32(h.DataOffset)*4 }

// AppendEmpty appends a frame without a body. [transport 2.4.5]
func AppendEmpty(dst []byte) []byte {
	return append(dst, 0, 0, 0, HeaderSize, 2, TypeAMQP, 0, 0)
}

// AppendFrame appends an AMQP frame with the performative.
func AppendFrame(dst []byte, channel uint16, p Performative) []byte {
	start := len(dst)
	return closeFrame(p.Append(openFrame(dst, TypeAMQP, channel)), start, 0)
}

// AppendSASL appends a SASL frame with the performative.
func AppendSASL(dst []byte, p Performative) []byte {
	start := len(dst)
	return closeFrame(p.Append(openFrame(dst, TypeSASL, 0)), start, 0)
}

// AppendTransfer appends an AMQP frame up to its payload. The payload's bytes
// must follow on the wire.
func AppendTransfer(dst []byte, channel uint16, t *Transfer, payload int) []byte {
	start := len(dst)
	return closeFrame(t.Append(openFrame(dst, TypeAMQP, channel)), start, payload)
}

func openFrame(dst []byte, typ uint8, channel uint16) []byte {
	return append(dst, 0, 0, 0, 0, 2, typ, byte(channel>>8), byte(channel)) //nolint:gosec // its two bytes
}

func closeFrame(dst []byte, start, payload int) []byte {
	binary.BigEndian.PutUint32(dst[start:], uint32(len(dst)-start+payload)) //nolint:gosec // bounded by max-frame-size
	return dst
}
