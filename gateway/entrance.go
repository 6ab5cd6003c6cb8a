package gateway

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/selvedge-mq/selvedge/gateway/certs"
	"github.com/selvedge-mq/selvedge/gateway/config"
)

// entrance is the way of a connection before its protocol: PROXY header, TLS,
// and which protocol it is. It is the same for all listeners.
type entrance struct {
	certs    *certs.Source // nil: no TLS
	proxies  []netip.Prefix
	patience time.Duration // until all of it is done
}

// arrival is a connection that is ready for its protocol.
type arrival struct {
	net.Conn

	raw         net.Conn // below TLS
	protocol    string
	certificate *x509.Certificate // of the client, verified; nil without one
}

// cut ends the connection at once. TLS would wait some seconds for a client that
// does not take its goodbye.
func (a *arrival) cut() error { return a.raw.Close() }

var errNoProtocol = errors.New("the first byte begins no protocol that is spoken here")

// enter leads a connection through. Where there is nothing to do the connection
// itself comes out.
func (e *entrance) enter(ctx context.Context, nc net.Conn, port config.Listener) (*arrival, error) {
	proxied := e.fromProxy(nc.RemoteAddr())
	if !proxied && !port.TLS && port.Protocol != config.ProtocolAny {
		return &arrival{Conn: nc, raw: nc, protocol: port.Protocol}, nil
	}
	if err := nc.SetDeadline(time.Now().Add(e.patience)); err != nil {
		return nil, fmt.Errorf("bound the handshake: %w", err)
	}
	raw := nc
	stop := context.AfterFunc(ctx, func() { _ = raw.Close() }) // frees what waits
	defer stop()
	var err error
	if proxied {
		if nc, err = unproxy(nc); err != nil {
			return nil, err
		}
	}
	a := &arrival{raw: raw, protocol: port.Protocol}
	if nc, err = e.secure(ctx, nc, port, a); err != nil {
		return nil, err
	}
	if port.Protocol == config.ProtocolAny {
		var first byte
		if first, nc, err = peek(nc); err != nil {
			return nil, err
		}
		if a.protocol = protocolOf(first); a.protocol == "" {
			return nil, fmt.Errorf("%w: %q", errNoProtocol, first)
		}
	}
	a.Conn = nc
	if err := raw.SetDeadline(time.Time{}); err != nil {
		return nil, fmt.Errorf("lift the bound of the handshake: %w", err)
	}
	return a, nil
}

// secure speaks TLS where the port demands it, or where any protocol may come
// and this one does.
func (e *entrance) secure(ctx context.Context, nc net.Conn, port config.Listener, a *arrival) (net.Conn, error) {
	secret := port.TLS
	if !secret && port.Protocol == config.ProtocolAny && e.certs != nil {
		first, looked, err := peek(nc)
		if err != nil {
			return nil, err
		}
		nc, secret = looked, first == tlsHandshake
	}
	if !secret {
		return nc, nil
	}
	tc := tls.Server(nc, e.certs.Server())
	if err := tc.HandshakeContext(ctx); err != nil {
		return nil, fmt.Errorf("TLS handshake: %w", err)
	}
	if chains := tc.ConnectionState().VerifiedChains; len(chains) > 0 {
		a.certificate = chains[0][0]
	}
	return tc, nil
}

// fromProxy reports whether a peer may say by a PROXY header who its client is.
func (e *entrance) fromProxy(remote net.Addr) bool {
	if len(e.proxies) == 0 {
		return false
	}
	at := addrOf(remote)
	return slices.ContainsFunc(e.proxies, func(p netip.Prefix) bool { return p.Contains(at) })
}

// tlsHandshake is the first byte of a TLS connection. (RFC 8446, section 5.1)
const tlsHandshake = 22

// protocolOf tells a protocol by its first byte, or returns "". AMQP begins with
// its header, STOMP with CONNECT, STOMP or an empty line, HTTP with a method.
func protocolOf(first byte) string {
	switch first {
	case 'A':
		return config.ProtocolAMQP
	case 'C', 'S', '\r', '\n':
		return config.ProtocolSTOMP
	case 'G', 'H', 'P', 'D', 'O': // GET, HEAD, POST, PUT and PATCH, DELETE, OPTIONS
		return config.ProtocolHTTP
	}
	return ""
}
