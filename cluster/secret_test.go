package cluster

import (
	"net"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/rs/zerolog"
)

// routeClient is a node at the other end of a route.
type routeClient struct {
	server.ClientAuthentication
	opts server.ClientOpts
}

func (c routeClient) GetOpts() *server.ClientOpts { return &c.opts }
func (c routeClient) RemoteAddress() net.Addr     { return nil }

func TestRouteAuth(t *testing.T) {
	password := routePassword("secret", "c")
	a := &routeAuth{user: "c", password: password, log: zerolog.Nop()}
	for _, c := range []struct {
		name           string
		user, password string
		want           bool
	}{
		{"the same cluster and secret", "c", password, true},
		{"another secret", "c", routePassword("other", "c"), false},
		{"the secret itself", "c", "secret", false},
		{"another cluster with the same secret", "d", routePassword("secret", "d"), false},
		{"nothing", "", "", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := a.Check(routeClient{opts: server.ClientOpts{Username: c.user, Password: c.password}})
			if got != c.want {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}

// TestRoutePassword_IsStable holds the derivation: nodes of different versions
// must agree.
func TestRoutePassword_IsStable(t *testing.T) {
	const want = "12fbe0f36242efe7ede8e83ed6dae01dbd942640e904b50f2d0df250ab6a0d05"
	if got := routePassword("secret", "c"); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if a, b := randomSession(), randomSession(); a == b || a == 0 {
		t.Errorf("got sessions %d and %d, want two that differ", a, b)
	}
}
