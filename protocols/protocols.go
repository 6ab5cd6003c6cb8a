// Package protocols is the contract between the gateway and the wire
// front-ends, and what front-ends share. It knows no protocol.
package protocols

import (
	"context"
	"errors"
	"net"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/selvedge-mq/selvedge/routing"
)

// Frontend speaks one wire protocol.
type Frontend interface {
	// Name is the protocol's name in logs, metrics and lists: "stomp", "amqp".
	Name() string
	// Serve runs one accepted connection until it ends and closes it. When ctx
	// is canceled with cause [ErrDraining] the client is told that the node
	// goes away, and the connection ends in good order. The returned error says
	// why the connection ended, nil for an orderly end by the client; the front-end
	// has logged it, since it knows the user and its own name of the connection.
	Serve(ctx context.Context, nc net.Conn) error
}

// Env is what the gateway gives to each front-end.
type Env struct {
	Broker  routing.Broker
	Auth    Authenticator
	Codecs  routing.Codecs // filled with every protocol's codec
	Log     zerolog.Logger
	Metrics prometheus.Registerer
	Node    string // this node's name
	Version string // of the product
	Limits  Limits
	Traces  *Traces // takes the frames of connections that are watched; nil: none are
	// Authorizer is what the broker asks at each request. Front-ends need not: it
	// is for what they do ahead of one. Nil allows everything.
	Authorizer routing.Authorizer
	// Failover lists the addresses of other nodes' listeners of this protocol,
	// as clients reach them ("host:port"); may be nil.
	Failover func() []string
	// Alone is closed while the node stops, when nothing that is under way will be
	// confirmed any more: connections need not wait for it. Nil: that does not happen.
	Alone <-chan struct{}
}

// Limits bound what one connection may cost. Zero fields mean the default.
type Limits struct {
	MessageSize   int           // greatest message that is held as a whole, in bytes; default 4 MiB
	LargeSize     int           // greatest message that a client may send, in bytes; default 100 MiB. It may be less than MessageSize
	HeaderCount   int           // STOMP headers of a frame; default 1000
	HeaderSize    int           // STOMP header line in bytes; default 64 KiB
	LoginTimeout  time.Duration // to CONNECT or open; default 30 s
	InFlight      int           // unconfirmed sends of a connection; default 2000
	InFlightBytes int           // their bytes; default 16 MiB
	Prefetch      int           // credit of a STOMP subscription that names none; default 1000
}

// WithDefaults returns l with every zero field set to its default.
func (l Limits) WithDefaults() Limits {
	for _, f := range []struct {
		field *int
		value int
	}{
		{&l.MessageSize, 4 << 20},
		{&l.LargeSize, 100 << 20},
		{&l.HeaderCount, 1000},
		{&l.HeaderSize, 64 << 10},
		{&l.InFlight, 2000},
		{&l.InFlightBytes, 16 << 20},
		{&l.Prefetch, 1000},
	} {
		if *f.field == 0 {
			*f.field = f.value
		}
	}
	if l.LoginTimeout == 0 {
		l.LoginTimeout = 30 * time.Second
	}
	return l
}

// Whole is the greatest message that a client may send as a whole.
func (l Limits) Whole() int { return min(l.MessageSize, l.LargeSize) }

// Credentials are what a client showed of itself.
type Credentials struct {
	Mechanism string // "PLAIN", "ANONYMOUS", "EXTERNAL"; empty means PLAIN
	User      string
	Password  string
	Remote    net.Addr
}

// Authenticator admits clients. It is safe for concurrent use; Authenticate may
// take a while (password hashes) and must not be called by an owner goroutine
// that others wait for. The contexts are derived from the one that
// [Frontend.Serve] got: it carries what the gateway knows of the connection, such as
// the certificate that the client showed.
type Authenticator interface {
	// Authenticate returns the principal, or an *routing.Error with
	// CodeUnauthorized whose Reason may be shown to the client.
	Authenticate(ctx context.Context, c Credentials) (routing.Principal, error)
	// Mechanisms lists the SASL mechanisms worth offering to that peer, best
	// first. ANONYMOUS stands in it when the policy admits the peer without a login,
	// EXTERNAL when its certificate names a user.
	Mechanisms(ctx context.Context, remote net.Addr) []string
}

type drainingError struct{ reason string }

func (e drainingError) Error() string { return because("the node is draining", e.reason) }

// Is says that all causes of this kind are ErrDraining, whatever their reason.
func (drainingError) Is(target error) bool { return target == ErrDraining }

// ErrDraining is the cause of a context that ends because the node stops.
var ErrDraining error = drainingError{}

// Draining is ErrDraining with a reason that clients may be told, "" if there is none: the
// node was told to stop.
func Draining(reason string) error { return drainingError{reason} }

// Stopping returns what a client is told whose node stops: text, and why, if cause is an
// ErrDraining with a reason.
func Stopping(text string, cause error) string {
	e, _ := errors.AsType[drainingError](cause)
	return because(text, e.reason)
}

func because(text, reason string) string {
	if reason == "" {
		return text
	}
	return text + ": " + reason
}
