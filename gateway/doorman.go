package gateway

import (
	"context"

	"github.com/selvedge-mq/selvedge/gateway/auth"
	"github.com/selvedge-mq/selvedge/protocols"
	"github.com/selvedge-mq/selvedge/routing"
)

// doorman admits clients as the authenticator does, and holds users to the
// number of connections that they may have.
type doorman struct {
	*auth.Authenticator

	conns   *conns
	metrics *metrics
}

var (
	_ protocols.Authenticator = doorman{}
	_ protocols.Exchanger     = doorman{}
)

// Authenticate returns the principal of a client, or an *[routing.Error].
func (d doorman) Authenticate(ctx context.Context, c protocols.Credentials) (routing.Principal, error) {
	p, err := d.Authenticator.Authenticate(ctx, c)
	if err != nil {
		if routing.CodeOf(err) == routing.CodeFull {
			d.metrics.refuse("any", refusedLogins)
		}
		return p, err
	}
	return p, d.count(ctx, p)
}

// Exchange begins a login in several steps.
func (d doorman) Exchange(ctx context.Context, c protocols.Credentials) (protocols.Exchange, error) {
	x, err := d.Authenticator.Exchange(ctx, c)
	if err != nil {
		return nil, err
	}
	return counted{x, d}, nil
}

// counted is a login whose end counts against the user's limit.
type counted struct {
	protocols.Exchange

	by doorman
}

// Step takes the client's response.
func (x counted) Step(ctx context.Context, response []byte) ([]byte, *routing.Principal, error) {
	challenge, who, err := x.Exchange.Step(ctx, response)
	if err == nil && who != nil {
		if err := x.by.count(ctx, *who); err != nil {
			return nil, nil, err
		}
	}
	return challenge, who, err
}

// count notes that a connection has logged in, and refuses a user who has as many
// as there may be, or who was taken away while the login was checked: once the
// connection has its name, either this finds out or the reload does.
func (d doorman) count(ctx context.Context, p routing.Principal) error {
	cl := clientOf(ctx)
	if cl == nil {
		return nil
	}
	cl.admitted.Store(true)
	if !p.Anonymous && !d.conns.name(cl, p.Name) {
		d.metrics.refuse("any", refusedUser)
		return &routing.Error{
			Code: routing.CodeFull, Op: "log in", Reason: "the user has as many connections as max-connections-per-user allows",
		}
	}
	if !p.Anonymous && !d.Knows(p.Name) {
		return &routing.Error{Code: routing.CodeUnauthorized, Op: "log in", Reason: "the user is not known any more"}
	}
	return nil
}
