package amqp

import (
	"context"
	"net"

	"github.com/selvedge-mq/selvedge/protocols"
	"github.com/selvedge-mq/selvedge/protocols/prototest"
	"github.com/selvedge-mq/selvedge/routing"
)

// auth is the authenticator of scripts: a table of users, a certificate that the
// client showed, and SCRAM when it is asked for.
type auth struct {
	prototest.Users
	certificate string // whom the client's certificate names
	scram       bool
}

// authenticator returns the plain one, or that with SCRAM.
func (a *auth) authenticator() protocols.Authenticator {
	if a.scram {
		return scramAuth{a, prototest.SCRAM{Users: a.Users}}
	}
	return a
}

// Mechanisms lists what the script has.
func (a *auth) Mechanisms(ctx context.Context, remote net.Addr) []string {
	m := a.Users.Mechanisms(ctx, remote)
	if a.certificate != "" {
		m = append([]string{external}, m...)
	}
	return m
}

// Authenticate admits the owner of the certificate, or asks the table.
func (a *auth) Authenticate(ctx context.Context, c protocols.Credentials) (routing.Principal, error) {
	if c.Mechanism != external {
		return a.Users.Authenticate(ctx, c)
	}
	if c.User != "" && c.User != a.certificate {
		return routing.Principal{}, &routing.Error{Code: routing.CodeUnauthorized, Op: "login"}
	}
	return routing.Principal{Name: a.certificate}, nil
}

type scramAuth struct {
	*auth
	prototest.SCRAM
}

// Mechanisms lists SCRAM first.
func (a scramAuth) Mechanisms(ctx context.Context, remote net.Addr) []string {
	return append([]string{"SCRAM-SHA-512-PLUS", "SCRAM-SHA-512", "SCRAM-SHA-256"}, a.auth.Mechanisms(ctx, remote)...)
}
