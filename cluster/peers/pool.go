package peers

import "sync"

const packetFirst = 512 // bytes that a new packet can hold at first

// packet holds messages: open while it grows, then numbered until its
// acknowledgement comes.
type packet struct {
	buf      []byte // room for the head, then messages
	messages int
}

// add appends a message. The packet grows in few steps, to batch bytes at most
// unless the message alone is larger.
func (pk *packet) add(msg []byte, batch int) {
	if need := len(pk.buf) + frameLen + len(msg); need > cap(pk.buf) {
		grown := make([]byte, len(pk.buf), max(need, min(8*cap(pk.buf), batch)))
		copy(grown, pk.buf)
		pk.buf = grown
	}
	pk.buf = appendMessage(pk.buf, msg)
	pk.messages++
}

// pool keeps packets for reuse.
type pool struct {
	packets sync.Pool
	largest int // capacity of the largest one kept
}

// get returns an empty packet.
func (p *pool) get() *packet {
	if pk, ok := p.packets.Get().(*packet); ok {
		return pk
	}
	return &packet{buf: make([]byte, headLen, packetFirst)}
}

// put takes a packet that nobody uses any more.
func (p *pool) put(pk *packet) {
	if cap(pk.buf) > p.largest {
		return
	}
	pk.buf, pk.messages = pk.buf[:headLen], 0
	p.packets.Put(pk)
}
