package gateway

import (
	"context"
	"net/http"
	"strings"
	"unicode"

	"github.com/selvedge-mq/selvedge/gateway/config"
	"github.com/selvedge-mq/selvedge/protocols"
)

// challenge says how a request can log in. (RFC 7617, section 2)
const challenge = `Basic realm="selvedge", charset="UTF-8"`

const adviceLogin = "the header Authorization holds no login: send it once, as Basic, with a user name and without control characters, or leave it out"

// carried returns the context of a connection whose handshake carries a login; ctx
// itself if it carries none, or if none counts. False means that what stands there is
// no login. It is not checked here: the protocol does that, by the same way as a login
// of its own, so that it is counted and bounded as those are.
func (s *web) carried(ctx context.Context, protocol string, r *http.Request) (context.Context, bool) {
	lines := r.Header.Values("Authorization")
	if !s.login || protocol != config.ProtocolSTOMP || len(lines) == 0 {
		return ctx, true
	}
	user, password, ok := r.BasicAuth()
	if !ok || len(lines) > 1 || user == "" || strings.ContainsFunc(user+password, unicode.IsControl) {
		return ctx, false
	}
	return protocols.WithLogin(ctx, protocols.Login{User: user, Password: password}), true
}
