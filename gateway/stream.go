package gateway

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/pires/go-proxyproto"
)

// stream is a connection whose first bytes were looked at, or whose client
// stands behind a proxy. One goroutine reads it at a time.
type stream struct {
	net.Conn

	rest []byte   // read already, not handed out yet
	from net.Addr // the client's address; nil: the connection's own
}

// Read hands out what was read ahead, then what comes.
func (s *stream) Read(p []byte) (int, error) {
	if len(s.rest) == 0 {
		return s.Conn.Read(p)
	}
	n := copy(p, s.rest)
	if s.rest = s.rest[n:]; len(s.rest) == 0 {
		s.rest = nil
	}
	return n, nil
}

// RemoteAddr returns the client's address.
func (s *stream) RemoteAddr() net.Addr {
	if s.from != nil {
		return s.from
	}
	return s.Conn.RemoteAddr()
}

// CloseWrite ends the direction towards the client, where that is possible.
func (s *stream) CloseWrite() error {
	if half, ok := s.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}

// peek returns the first byte that the client sends, and the connection with all
// its bytes.
func peek(nc net.Conn) (byte, net.Conn, error) {
	if s, ok := nc.(*stream); ok && len(s.rest) > 0 {
		return s.rest[0], nc, nil
	}
	b := make([]byte, 1)
	if n, err := nc.Read(b); n == 0 {
		return 0, nc, fmt.Errorf("wait for the first byte: %w", err)
	}
	return b[0], &stream{Conn: nc, rest: b}, nil
}

// unproxy takes the PROXY header off a connection of a load balancer, and gives it
// the address that stands there. Without a header it stays what it is.
func unproxy(nc net.Conn) (net.Conn, error) {
	r := bufio.NewReader(nc)
	h, err := proxyproto.Read(r)
	s := &stream{Conn: nc}
	switch {
	case errors.Is(err, proxyproto.ErrNoProxyProtocol):
	case err != nil:
		return nil, fmt.Errorf("read the PROXY header: %w", err)
	case h.Command.IsProxy(): // a header of the balancer's own, as for its health checks, names no client
		source, _, ok := h.TCPAddrs()
		if !ok {
			return nil, errors.New("read the PROXY header: it names no TCP address")
		}
		s.from = source
	}
	rest, err := r.Peek(r.Buffered())
	if err != nil {
		return nil, fmt.Errorf("read behind the PROXY header: %w", err)
	}
	s.rest = slices.Clone(rest)
	return s, nil
}

// addrOf returns the IP address of a peer; it is not valid where there is none.
func addrOf(a net.Addr) netip.Addr {
	if a == nil {
		return netip.Addr{}
	}
	at, err := netip.ParseAddrPort(a.String())
	if err != nil {
		return netip.Addr{}
	}
	return at.Addr().Unmap().WithZone("")
}
