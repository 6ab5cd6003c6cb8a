package cluster

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"encoding/hex"
	"net/url"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/rs/zerolog"
)

// routePassword derives what nodes show each other from the cluster's secret, so
// that the secret itself never leaves this process.
func routePassword(secret, clusterName string) string {
	m := hmac.New(sha256.New, []byte(secret))
	m.Write([]byte("selvedge route 1\x00" + clusterName))
	return hex.EncodeToString(m.Sum(nil))
}

// randomSecret is the password of this process's own connections.
func randomSecret() string { return rand.Text() }

// randomSession returns the number of a session, never 0.
func randomSession() uint64 {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return binary.BigEndian.Uint64(b[:]) | 1
}

// routeAuth admits the nodes of this cluster, and says why it refuses others: once a
// second at most of each host, for anybody who reaches the port can have it refuse.
type routeAuth struct {
	user, password string
	log            zerolog.Logger
	metrics        *metrics
	brake          brake
	judged         func(remote string) // is told whom this has refused; may be nil
}

var _ server.Authentication = (*routeAuth)(nil)

// Check says whether the node at the other end of a route may join.
func (a *routeAuth) Check(c server.ClientAuthentication) bool {
	o := c.GetOpts()
	var reason, differs string
	switch {
	case o.Username == "":
		reason, differs = "it shows no secret", "none"
	case o.Username != a.user:
		reason, differs = "its cluster name differs from ours", "name"
	case subtle.ConstantTimeCompare([]byte(o.Password), []byte(a.password)) != 1:
		reason, differs = "its secret differs from ours", "secret"
	default:
		return true
	}
	a.metrics.refused.WithLabelValues(differs).Inc()
	remote := ""
	if addr := c.RemoteAddress(); addr != nil {
		remote = addr.String()
	}
	if a.judged != nil {
		a.judged(remote)
	}
	if suppressed, tell := a.brake.tells(remote, time.Now()); tell {
		a.log.Warn().Str("reason", reason).Str("cluster", a.user).Str("remote", remote).
			Int("suppressed", suppressed).Msg("refused a node")
	}
	return false
}

// routeURL is where a node is dialed.
func (a *routeAuth) routeURL(hostport string) *url.URL {
	return &url.URL{Scheme: "nats-route", Host: hostport, User: url.UserPassword(a.user, a.password)}
}
