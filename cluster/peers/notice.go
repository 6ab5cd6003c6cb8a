package peers

import (
	"encoding/binary"
	"errors"
)

// kind says what a notice is about.
type kind byte

const (
	// kindBeat is broadcast each heartbeat.
	kindBeat kind = iota
	// kindHello offers a connection number and asks for an answer.
	kindHello
	// kindWelcome says that its sender has agreed on the pair.
	kindWelcome
	// kindGoodbye is broadcast by a node that leaves.
	kindGoodbye

	kinds
)

const (
	noticeMagic   = 'S'
	noticeVersion = 1
	noticeLen     = 4 + 6*8 + 1 // without the name
	maxNode       = 255         // longest name of a node

	noticeStorage = 1
)

// Errors of a notice that cannot be read.
var (
	errNoticeForm    = errors.New("peers: malformed notice")
	errNoticeVersion = errors.New("peers: notice of another version")
)

// notice is what nodes tell each other outside the lanes: who is there, and
// which pair of connection numbers holds.
type notice struct {
	kind        kind
	storage     bool
	node        string
	session     uint64
	conn        uint64 // the sender's connection number for this pair
	echoSession uint64 // the receiver's session, as the sender knows it
	echo        uint64 // the receiver's connection number, as the sender knows it
	window      uint64 // bytes of window of each lane but control
	control     uint64 // bytes of window of the control lane
}

// encode returns n's bytes.
func (n *notice) encode() []byte {
	b := make([]byte, 0, noticeLen+len(n.node))
	var flags byte
	if n.storage {
		flags |= noticeStorage
	}
	b = append(b, noticeMagic, noticeVersion, byte(n.kind), flags)
	for _, v := range [...]uint64{n.session, n.conn, n.echoSession, n.echo, n.window, n.control} {
		b = binary.BigEndian.AppendUint64(b, v)
	}
	b = append(b, byte(len(n.node))) //nolint:gosec // New bounds the name
	return append(b, n.node...)
}

// parseNotice reads a notice.
func parseNotice(b []byte) (notice, error) {
	if len(b) < 2 || b[0] != noticeMagic {
		return notice{}, errNoticeForm
	}
	if b[1] != noticeVersion {
		return notice{}, errNoticeVersion
	}
	if len(b) < noticeLen || len(b) != noticeLen+int(b[noticeLen-1]) ||
		kind(b[2]) >= kinds || b[3]&^noticeStorage != 0 {
		return notice{}, errNoticeForm
	}
	n := notice{kind: kind(b[2]), storage: b[3]&noticeStorage != 0, node: string(b[noticeLen:])}
	for i, v := range [...]*uint64{&n.session, &n.conn, &n.echoSession, &n.echo, &n.window, &n.control} {
		*v = binary.BigEndian.Uint64(b[4+8*i:])
	}
	handshake := n.kind == kindHello || n.kind == kindWelcome
	if n.node == "" || n.session == 0 || handshake && n.conn == 0 {
		return notice{}, errNoticeForm
	}
	return n, nil
}
