// Package endpoint is where a client reaches a broker, and how: HOST:PORT or a
// URL as other clients spell it, in the clear, by TLS or by WebSocket. Of a message
// protocol it knows the name alone.
package endpoint

import (
	"fmt"
	"net"
	"net/url"
	"strings"
)

// The protocols.
const (
	STOMP = "stomp"
	AMQP  = "amqp"
)

// Endpoint is a broker's address, read. The zero value is none.
type Endpoint struct {
	Protocol  string // STOMP or AMQP
	Addr      string // host:port
	TLS       bool
	WebSocket string // the URL of one, or empty
	User      string // of the URL, may be empty
	Password  string
}

// scheme is what the beginning of a URL says.
type scheme struct {
	protocol string // empty: the caller's
	tls      bool
	port     string // when the URL names none
	web      bool
}

// schemes are the spellings of ActiveMQ's and of AMQP's clients.
var schemes = map[string]scheme{
	"stomp":     {STOMP, false, "61613", false},
	"stomps":    {STOMP, true, "61614", false},
	"stomp+ssl": {STOMP, true, "61614", false},
	"stomp+tls": {STOMP, true, "61614", false},
	"amqp":      {AMQP, false, "5672", false},
	"amqps":     {AMQP, true, "5671", false},
	"amqp+ssl":  {AMQP, true, "5671", false},
	"ws":        {"", false, "80", true},
	"wss":       {"", true, "443", true},
}

// Default is the broker on this machine.
func Default(protocol string, tls bool) Endpoint {
	name := protocol
	if tls {
		name += "+ssl"
	}
	return Endpoint{Protocol: protocol, Addr: net.JoinHostPort("127.0.0.1", schemes[name].port), TLS: tls}
}

// Parse reads HOST:PORT, in which protocol is spoken, or a URL, whose scheme may
// name another one. A WebSocket without a path is at /stomp or /amqp.
func Parse(text, protocol string) (Endpoint, error) {
	if !strings.Contains(text, "://") {
		if _, _, err := net.SplitHostPort(text); err != nil {
			return Endpoint{}, fmt.Errorf("server %q: want HOST:PORT or a URL", text)
		}
		return Endpoint{Protocol: protocol, Addr: text}, nil
	}
	u, err := url.Parse(text)
	if err != nil {
		return Endpoint{}, fmt.Errorf("server: the URL cannot be read: %w", reason(err))
	}
	s, known := schemes[strings.ToLower(u.Scheme)]
	switch {
	case !known:
		return Endpoint{}, fmt.Errorf("server: the scheme %s is not known: want stomp, stomp+ssl, amqp, amqps, ws or wss", u.Scheme)
	case u.Hostname() == "":
		return Endpoint{}, fmt.Errorf("server: the URL %s names no host", u.Redacted())
	case !s.web && u.Path != "" && u.Path != "/":
		return Endpoint{}, fmt.Errorf("server: the URL %s has a path, which only a WebSocket has", u.Redacted())
	}
	e := Endpoint{Protocol: protocol, TLS: s.tls, User: u.User.Username()}
	e.Password, _ = u.User.Password()
	if s.protocol != "" {
		e.Protocol = s.protocol
	}
	port := u.Port()
	if port == "" {
		port = s.port
	}
	e.Addr = net.JoinHostPort(u.Hostname(), port)
	if s.web {
		if u.Path == "" || u.Path == "/" {
			u.Path = "/" + e.Protocol
		}
		u.User, u.Host, u.Scheme = nil, e.Addr, strings.ToLower(u.Scheme)
		e.WebSocket = u.String()
	}
	return e, nil
}

// Shown returns what Parse reads as it may be printed: without a password.
func Shown(text string) string {
	if !strings.Contains(text, "://") {
		return text
	}
	u, err := url.Parse(text)
	if err != nil {
		return "a URL that cannot be read"
	}
	return u.Redacted()
}

// RequireTLS has TLS spoken there. The error says that the address is of something in
// the clear that is not spoken by TLS at the same place.
func (e *Endpoint) RequireTLS() error {
	if e.WebSocket != "" && !e.TLS {
		return fmt.Errorf("server: %s is in the clear, and TLS is asked for: use wss://", e.WebSocket)
	}
	e.TLS = true
	return nil
}

// reason leaves the URL out of an error about one: a password may stand in it.
func reason(err error) error {
	if e, ok := err.(*url.Error); ok { //nolint:errorlint // url.Parse returns it unwrapped
		return e.Err
	}
	return err
}

// Host returns the host without the port.
func (e *Endpoint) Host() string {
	host, _, err := net.SplitHostPort(e.Addr)
	if err != nil {
		return e.Addr
	}
	return host
}
