package protocols

import "context"

// Login is a login that came with a connection, ahead of its first byte: that of the
// HTTP request which became a WebSocket. Nobody has checked it.
type Login struct {
	User     string // not empty
	Password string
}

type loginKey struct{}

// WithLogin returns the context of a connection that came with a login.
func WithLogin(ctx context.Context, l Login) context.Context {
	return context.WithValue(ctx, loginKey{}, l)
}

// LoginOf returns the login that a connection came with, and whether it did.
func LoginOf(ctx context.Context) (Login, bool) {
	l, ok := ctx.Value(loginKey{}).(Login)
	return l, ok
}
