// Package prototest is what tests of front-ends share: a small real broker in
// memory and an authenticator. It knows the routing contracts, no protocol.
package prototest

import (
	"context"
	"crypto/subtle"
	"net"

	"github.com/selvedge-mq/selvedge/protocols"
	"github.com/selvedge-mq/selvedge/routing"
)

// Users is an authenticator over a table of names and passwords. An empty table
// admits anonymous clients and every login.
type Users map[string]string

// Authenticate admits the clients of the table.
func (u Users) Authenticate(_ context.Context, c protocols.Credentials) (routing.Principal, error) {
	if len(u) == 0 {
		return routing.Principal{Name: c.User, Anonymous: c.Mechanism == "ANONYMOUS"}, nil
	}
	want, known := u[c.User]
	if c.Mechanism == "PLAIN" && known && subtle.ConstantTimeCompare([]byte(want), []byte(c.Password)) == 1 {
		return routing.Principal{Name: c.User}, nil
	}
	return routing.Principal{}, &routing.Error{
		Code: routing.CodeUnauthorized, Op: "login", Reason: "user name or password is invalid",
	}
}

// Mechanisms lists PLAIN, and ANONYMOUS too when the table is empty.
func (u Users) Mechanisms(context.Context, net.Addr) []string {
	if len(u) == 0 {
		return []string{"PLAIN", "ANONYMOUS"}
	}
	return []string{"PLAIN"}
}
