package main

import (
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"strings"
	"syscall"

	"github.com/Azure/go-amqp"

	"github.com/selvedge-mq/selvedge/cmd/selvedge/internal/endpoint"
)

// otherProtocols are what the libraries say of an answer that is of another protocol.
var otherProtocols = []string{"invalid command", "unexpected protocol", "malformed HTTP response", "first record does not look like a TLS handshake"}

// reach adds to the reason why there is no conversation with a broker or node what to
// look at.
func reach(err error, protocol string) error {
	if errors.Is(err, syscall.ECONNREFUSED) {
		return fmt.Errorf("%w: is a node running there, and is this its address?", err)
	}
	if _, unknown := errors.AsType[x509.UnknownAuthorityError](err); unknown {
		return fmt.Errorf("%w: name who issued it by --ca FILE", err)
	}
	if otherProtocol(err) {
		return fmt.Errorf("%w: does this port speak %s? By default STOMP is 61613, AMQP 5672 and HTTP 8161", err, protocol)
	}
	return amqpReason(err)
}

// explain is reach for an endpoint.
func explain(err error, at *endpoint.Endpoint) error { return reach(err, spoken(at)) }

// spoken names what a broker must speak, for people.
func spoken(e *endpoint.Endpoint) string {
	name := "STOMP"
	if e.Protocol == protocolAMQP {
		name = "AMQP"
	}
	if e.TLS {
		name += " by TLS"
	}
	return name
}

// amqpReason is an error of AMQP in one line, as the broker said it.
func amqpReason(err error) error {
	if e, ok := errors.AsType[*amqp.Error](err); ok {
		return fmt.Errorf("%s: %s", e.Condition, e.Description)
	}
	return err
}

// otherProtocol says that whoever answered seems to speak another protocol.
func otherProtocol(err error) bool {
	other := errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET)
	for _, words := range otherProtocols {
		other = other || strings.Contains(err.Error(), words)
	}
	return other
}

// reach adds to the reason why there is no conversation with the broker what to look at.
func (s *server) reach(err error) error {
	hinted := explain(err, &s.Endpoint)
	if !s.anyProtocol || !otherProtocol(err) {
		return hinted
	}
	return fmt.Errorf("%w; the address is that of SELVEDGE_SERVER, for either protocol: a URL there, stomp:// or amqp://, says which", hinted)
}
