package protocols

import (
	"fmt"

	"github.com/selvedge-mq/selvedge/routing"
)

// ReadTries is how often a piece of a large message that is being written is asked for
// in vain, one time after the other, before the message breaks off: each time the engine has
// tried for send-timeout.
const ReadTries = 10

// ReadAgain reports whether a read that has ended so may be tried again, having failed
// that often in a row.
func ReadAgain(err error, failed int) bool {
	code := routing.CodeOf(err)
	return failed < ReadTries && (code == routing.CodeTimeout || code == routing.CodeUnavailable)
}

// HeadCodec is what a codec is besides that converts large messages, of which a
// front-end has only the head, see [routing.Session]. Implementations are pure and
// safe for concurrent use.
type HeadCodec interface {
	routing.Codec
	// DecodeHead returns the neutral view of a message of size bytes whose payload
	// begins with head, and where its body is. The view has a BodyKind and no Body;
	// it may alias the head. It fails when the head does not hold everything in front
	// of the body, or when the body is not one run of bytes that ends the payload: then
	// the message may still be converted as a whole, by whoever holds it.
	DecodeHead(head []byte, size int64) (*routing.Message, Run, error)
	// EncodeHead returns what a message of this encoding has in front of its body,
	// which has that many bytes and is the end of the payload. The view's Body is
	// not looked at, and a BodyText may turn out not to be valid UTF-8.
	EncodeHead(m *routing.Message, body int64) ([]byte, error)
}

// Run is a part of a payload: so many bytes from the offset on.
type Run struct{ Offset, Length int64 }

// ConvertHead makes the begin of a large message one of another encoding: head is
// what a message of that encoding has in front of its body, and body is where the
// bytes of the body stand in the envelope's whole payload. Those in front of
// len(e.Payload) are in e.Payload, the others come by [routing.Subscription.Read].
// An error is final: this message can never be converted by its head.
func ConvertHead(codecs routing.Codecs, e *routing.Envelope, to routing.Encoding) (head []byte, body Run, err error) {
	src, ok := codecs[e.Encoding].(HeadCodec)
	dst, ok2 := codecs[to].(HeadCodec)
	if !ok || !ok2 {
		return nil, Run{}, fmt.Errorf("protocols: no codec of large messages from encoding %d to %d", e.Encoding, to)
	}
	m, body, err := src.DecodeHead(e.Payload, e.Size)
	if err != nil {
		return nil, Run{}, fmt.Errorf("protocols: head of encoding %d: %w", e.Encoding, err)
	}
	if body.Offset < 0 || body.Length < 0 || body.Offset+body.Length > e.Size {
		return nil, Run{}, fmt.Errorf("protocols: a body of %d bytes at %d in a payload of %d", body.Length, body.Offset, e.Size)
	}
	if head, err = dst.EncodeHead(m, body.Length); err != nil {
		return nil, Run{}, fmt.Errorf("protocols: head of encoding %d: %w", to, err)
	}
	return head, body, nil
}
