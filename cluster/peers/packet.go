package peers

import (
	"encoding/binary"
	"errors"

	"github.com/selvedge-mq/selvedge/routing/engine"
)

// The layout of a packet: a head of fixed length, then messages, each behind
// its length. The head is rewritten when a packet is sent again, for its
// acknowledgement and grant are those of the moment.
const (
	packetVersion = 1
	headLen       = 64
	frameLen      = 4 // the length before each message
)

// Flags of a packet.
const (
	// flagResend asks the other end to send again from the packet behind ack.
	flagResend = 1 << iota
	// flagProbe asks the other end for its acknowledgement and grant.
	flagProbe

	flagsKnown = flagResend | flagProbe
)

// Errors of a packet that cannot be read.
var (
	errPacketShort   = errors.New("peers: packet is shorter than its head")
	errPacketVersion = errors.New("peers: packet of another version")
	errPacketLane    = errors.New("peers: packet for a lane that does not exist")
	errPacketFlags   = errors.New("peers: packet with unknown flags")
	errPacketFrame   = errors.New("peers: message reaches beyond its packet")
	errPacketEmpty   = errors.New("peers: numbered packet without a message, or messages without a number")
)

// head is what a packet says beside its messages. The two sessions and the two
// connection numbers name one incarnation of a pair of nodes.
type head struct {
	lane     engine.Lane
	flags    byte
	from, to uint64 // sessions
	fromConn uint64 // connection number chosen by the sender
	toConn   uint64 // connection number chosen by the receiver
	seq      uint64 // number of the packet, from 1; 0: carries no messages
	ack      uint64 // last packet that was received in order on the reverse way
	grant    uint64 // bytes of messages consumed on the reverse way, ever
}

// put writes h to the first headLen bytes of b.
func (h *head) put(b []byte) {
	_ = b[headLen-1]
	be := binary.BigEndian
	b[0], b[1], b[2], b[3] = packetVersion, byte(h.lane), h.flags, 0
	be.PutUint32(b[4:], 0)
	be.PutUint64(b[8:], h.from)
	be.PutUint64(b[16:], h.to)
	be.PutUint64(b[24:], h.fromConn)
	be.PutUint64(b[32:], h.toConn)
	be.PutUint64(b[40:], h.seq)
	be.PutUint64(b[48:], h.ack)
	be.PutUint64(b[56:], h.grant)
}

// parsePacket reads a packet and checks every length in it. The body shares
// memory with b; size is the sum of the messages' lengths.
func parsePacket(b []byte) (h head, body []byte, size int, err error) {
	if len(b) < headLen {
		return head{}, nil, 0, errPacketShort
	}
	if b[0] != packetVersion {
		return head{}, nil, 0, errPacketVersion
	}
	be := binary.BigEndian
	h = head{
		lane: engine.Lane(b[1]), flags: b[2],
		from: be.Uint64(b[8:]), to: be.Uint64(b[16:]),
		fromConn: be.Uint64(b[24:]), toConn: be.Uint64(b[32:]),
		seq: be.Uint64(b[40:]), ack: be.Uint64(b[48:]), grant: be.Uint64(b[56:]),
	}
	if h.lane >= engine.Lanes {
		return head{}, nil, 0, errPacketLane
	}
	if h.flags&^flagsKnown != 0 || b[3] != 0 || be.Uint32(b[4:]) != 0 {
		return head{}, nil, 0, errPacketFlags
	}
	body = b[headLen:]
	if (len(body) == 0) != (h.seq == 0) {
		return head{}, nil, 0, errPacketEmpty
	}
	for rest := body; len(rest) > 0; {
		var msg []byte
		if msg, rest, err = nextMessage(rest); err != nil {
			return head{}, nil, 0, err
		}
		size += len(msg)
	}
	return h, body, size, nil
}

// appendMessage appends msg and its length to a packet.
func appendMessage(b, msg []byte) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(len(msg))) //nolint:gosec // Send bounds the length by the packet's
	return append(b, msg...)
}

// nextMessage cuts the first message off a packet's body. An append to msg does
// not reach the next one.
func nextMessage(b []byte) (msg, rest []byte, err error) {
	if len(b) < frameLen {
		return nil, nil, errPacketFrame
	}
	n := uint64(binary.BigEndian.Uint32(b))
	b = b[frameLen:]
	if n > uint64(len(b)) {
		return nil, nil, errPacketFrame
	}
	return b[:n:n], b[n:], nil
}
