package protocols

import (
	"context"

	"github.com/selvedge-mq/selvedge/routing"
)

// Exchanger is what an [Authenticator] is besides when it lists mechanisms of
// several steps, such as SCRAM-SHA-256. It is safe for concurrent use.
type Exchanger interface {
	// Exchange begins an exchange with the mechanism and the remote address of c.
	Exchange(ctx context.Context, c Credentials) (Exchange, error)
}

// Exchange is one client's login in several steps. It is used by one goroutine
// and forgotten when it ended.
type Exchange interface {
	// Step takes the client's response. It returns the next challenge, or with the
	// principal the last words for the client, which may be empty. An *routing.Error
	// with CodeUnauthorized refuses the client; nothing else than the mechanism's own
	// words may be told of it.
	Step(ctx context.Context, response []byte) (challenge []byte, who *routing.Principal, err error)
}
