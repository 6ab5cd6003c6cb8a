package cluster

import (
	"net"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/selvedge-mq/selvedge/internal/linetest"
	"github.com/selvedge-mq/selvedge/internal/metrictest"
)

// routeClient is a node at the other end of a route.
type routeClient struct {
	server.ClientAuthentication
	opts server.ClientOpts
	addr net.Addr
}

func (c routeClient) GetOpts() *server.ClientOpts { return &c.opts }
func (c routeClient) RemoteAddress() net.Addr     { return c.addr }

func newTestAuth(t *testing.T, log zerolog.Logger) *routeAuth {
	t.Helper()
	m, err := newMetrics(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	return &routeAuth{user: "c", password: routePassword("secret", "c"), log: log, metrics: m}
}

// Each refusal was a line, and whoever reaches the port can have as many as it likes.
func TestRouteAuth_RefusalsAreToldOnceASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lines := &linetest.Lines{}
		a := newTestAuth(t, zerolog.New(lines))
		refuse := func(times int, host byte) {
			for port := range times {
				a.Check(routeClient{
					opts: server.ClientOpts{Username: "c", Password: "wrong"},
					addr: &net.TCPAddr{IP: net.IPv4(10, 0, 0, host), Port: 1000 + port},
				})
			}
		}
		want := func(n int, texts ...string) {
			t.Helper()
			if got := lines.Count(texts...); got != n {
				t.Errorf("got %d lines with %q, want %d:\n%s", got, texts, n, lines)
			}
		}
		refuse(100, 1)
		refuse(3, 2)
		want(1, `"remote":"10.0.0.1:1000"`, `"suppressed":0`)
		want(1, `"remote":"10.0.0.2:1000"`, `"suppressed":0`)
		<-time.After(refusalEvery)
		refuse(2, 1)
		want(1, `"remote":"10.0.0.1:`, `"suppressed":99`)
		want(3, "refused a node")
		counted := prometheus.NewPedanticRegistry()
		counted.MustRegister(a.metrics.refused)
		if got := metrictest.Value(t, counted, "selvedge_fabric_refused_nodes_total", "secret"); got != 105 {
			t.Errorf("got %v counted, want 105", got)
		}
		for port := range 2 * refusalHosts {
			a.brake.tells(net.JoinHostPort("host"+strconv.Itoa(port), "1"), time.Now())
		}
		if got := len(a.brake.hosts); got > refusalHosts+1 {
			t.Errorf("got %d hosts remembered, want %d at most", got, refusalHosts+1)
		}
	})
}

func TestRouteAuth(t *testing.T) {
	password := routePassword("secret", "c")
	a := newTestAuth(t, zerolog.Nop())
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
