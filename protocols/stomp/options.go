package stomp

import (
	"fmt"
	"time"

	"github.com/selvedge-mq/selvedge/protocols"
)

// Options are what New needs.
type Options struct {
	Env      protocols.Env // Broker and Auth are required
	Dialect  Dialect
	Switches Switches
	Limits   Limits
	// Clients are the client-ids of all listeners of the node; nil means that this
	// front-end has its own.
	Clients *Clients
	// Persistent makes a SEND without the header persistent a persistent one.
	Persistent bool
}

// Limits bound what a connection may ask for, beside those of [protocols.Limits].
// Zero fields mean the default.
type Limits struct {
	LoginFrame    int           // octets of a frame before the login; default 64 KiB
	Subscriptions int           // of a connection; default 10,000
	Temporary     int           // temporary destinations of a connection; default 1,000
	Transactions  int           // open ones of a connection; default 1,024
	Actions       int           // sends and acknowledgments of a transaction; default 100,000
	Idle          time.Duration // without an octet in either direction, when the client sends no heart-beats; default none
	// Transaction is how long a transaction that holds work may be idle until it
	// is rolled back; default 5 minutes.
	Transaction time.Duration
	// Write is how long a client may take to read 64 KiB, or a WebSocket message;
	// default 30 minutes, because there are workers that read their next message
	// when they have done the one before.
	Write time.Duration
}

func (l Limits) withDefaults() (Limits, error) {
	for _, f := range []struct {
		name  string
		field *int
		value int
	}{
		{"LoginFrame", &l.LoginFrame, 64 << 10},
		{"Subscriptions", &l.Subscriptions, 10_000},
		{"Temporary", &l.Temporary, 1_000},
		{"Transactions", &l.Transactions, 1_024},
		{"Actions", &l.Actions, 100_000},
	} {
		if *f.field < 0 {
			return l, fmt.Errorf("stomp: Limits.%s is negative", f.name)
		}
		if *f.field == 0 {
			*f.field = f.value
		}
	}
	for _, f := range []struct {
		name  string
		field *time.Duration
		value time.Duration
	}{
		{"Idle", &l.Idle, 0},
		{"Transaction", &l.Transaction, 5 * time.Minute},
		{"Write", &l.Write, 30 * time.Minute},
	} {
		if *f.field < 0 {
			return l, fmt.Errorf("stomp: Limits.%s is negative", f.name)
		}
		if *f.field == 0 {
			*f.field = f.value
		}
	}
	return l, nil
}

// Subprotocols lists the WebSocket sub-protocols of STOMP, best first. A server
// echoes the first one that the client offers, and none if it offers none; the
// version is negotiated by CONNECT all the same. A connection that Serve gets for
// a WebSocket needs a method WriteMessage(p []byte) error beside those of
// net.Conn: each call has one frame, or heart-beats, and shall be one message. So is a
// frame that is too large for that, which is written to what a method
// BeginMessage() (io.WriteCloser, error) returns. Behind a breach of the framing, and
// when the node stops, a method CloseWith(status int) error is called instead of Close.
// Frames may be cut anywhere on their way in.
func Subprotocols() []string { return []string{"v12.stomp", "v11.stomp", "v10.stomp"} }
