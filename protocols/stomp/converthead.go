package stomp

import (
	"bytes"
	"fmt"

	"github.com/selvedge-mq/selvedge/protocols"
	"github.com/selvedge-mq/selvedge/routing"
)

var _ protocols.HeadCodec = Codec{}

// DecodeHead returns the neutral view of a large message and where its body is:
// behind the empty line, to the end.
func (Codec) DecodeHead(head []byte, size int64) (*routing.Message, protocols.Run, error) {
	at := bodyAt(head)
	if at < 0 {
		return nil, protocols.Run{}, fmt.Errorf("stomp: a head of %d octets has no end of its headers", len(head))
	}
	m := decode(head[:at-1], nil)
	return m, protocols.Run{Offset: int64(at), Length: size - int64(at)}, nil
}

// EncodeHead returns the header lines and the empty line. They always say how long
// the body is: it may hold any octet.
func (Codec) EncodeHead(m *routing.Message, body int64) ([]byte, error) {
	return encodeHead(nil, m, m.To, body), nil
}

// bodyAt returns where the body of a payload begins, -1 when its headers do not end.
func bodyAt(payload []byte) int {
	if len(payload) > 0 && payload[0] == '\n' {
		return 1
	}
	if i := bytes.Index(payload, []byte("\n\n")); i >= 0 {
		return i + 2
	}
	return -1
}
