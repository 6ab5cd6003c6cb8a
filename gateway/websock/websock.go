// Package websock makes a byte stream of a WebSocket: the messages of the client
// are joined, whatever their type and their borders. It knows HTTP and net.Conn;
// it does not know what the bytes mean.
package websock

import (
	"errors"
	"net"
	"net/http"
	"slices"

	"github.com/coder/websocket"
)

// ErrProtocol says that the client offered none of the sub-protocols that are
// spoken here.
var ErrProtocol = errors.New("websock: none of the client's sub-protocols is spoken here")

// Answer is of which kind the messages are that are written.
type Answer string

// The kinds. What is no UTF-8 is binary in each of them, and so is a message that
// is written piece by piece.
const (
	AnswerBinary Answer = "binary"
	AnswerText   Answer = "text"
	AnswerMirror Answer = "mirror" // as the client's first message
)

// Options say whom to accept.
type Options struct {
	Protocols []string // sub-protocols, the best first
	Require   bool     // refuse a client that offers none of them
	Answer    Answer   // binary when empty
	// Origins are the sites, beside the request's own host, whose pages may
	// connect: host patterns, with or without a scheme. "*" is any site.
	Origins  []string
	Compress bool // by permessage-deflate, for clients that ask for it
}

// Accept answers the handshake. When it fails the client was told why. The
// connection has the given addresses; the caller closes it.
func Accept(w http.ResponseWriter, r *http.Request, local, remote net.Addr, o Options) (*Conn, error) {
	mode := websocket.CompressionDisabled
	if o.Compress {
		mode = websocket.CompressionNoContextTakeover // it keeps no memory between messages
	}
	if o.Require && !offers(r, o.Protocols) {
		http.Error(w, "the sub-protocol is missing: offer "+o.Protocols[0], http.StatusBadRequest)
		return nil, ErrProtocol
	}
	ws, err := websocket.Accept(w, r, &websocket.AcceptOptions{
		Subprotocols:       o.Protocols,
		OriginPatterns:     o.Origins,
		InsecureSkipVerify: slices.Contains(o.Origins, "*"),
		CompressionMode:    mode,
	})
	if err != nil {
		return nil, err
	}
	ws.SetReadLimit(-1) // it is a stream: who reads it bounds it
	return newConn(ws, local, remote, o.Answer), nil
}
