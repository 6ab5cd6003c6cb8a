package frames

import "errors"

// ProtocolSize is the size of a protocol header.
const ProtocolSize = 8

// The protocol ids. [transport 2.2] [security 5.2-3]
const (
	ProtocolAMQP uint8 = 0
	ProtocolTLS  uint8 = 2
	ProtocolSASL uint8 = 3
)

// ErrNotAMQP says that a connection does not start with "AMQP".
var ErrNotAMQP = errors.New("the protocol header is not of AMQP")

// Protocol is the header that a connection starts with. [transport 2.2]
type Protocol struct {
	ID                     uint8
	Major, Minor, Revision uint8
}

// Version returns the header of AMQP 1.0.0 with the protocol id.
func Version(id uint8) Protocol { return Protocol{ID: id, Major: 1} }

// ParseProtocol reads a protocol header from the first ProtocolSize bytes of b,
// which must be there. Whether the id and the version are served is the
// caller's to check.
func ParseProtocol(b []byte) (Protocol, error) {
	_ = b[ProtocolSize-1]
	if string(b[:4]) != "AMQP" {
		return Protocol{}, ErrNotAMQP
	}
	return Protocol{ID: b[4], Major: b[5], Minor: b[6], Revision: b[7]}, nil
}

// Append appends the protocol header.
func (p Protocol) Append(dst []byte) []byte {
	return append(dst, 'A', 'M', 'Q', 'P', p.ID, p.Major, p.Minor, p.Revision)
}
