package gateway

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/pires/go-proxyproto"

	"github.com/selvedge-mq/selvedge/gateway/api"
	"github.com/selvedge-mq/selvedge/gateway/auth"
	"github.com/selvedge-mq/selvedge/gateway/certs/certstest"
	"github.com/selvedge-mq/selvedge/gateway/config"
	"github.com/selvedge-mq/selvedge/protocols"
	"github.com/selvedge-mq/selvedge/routing"
)

// teller is a front-end that tells a client, after its first byte, which protocol
// it met, who it is and where it comes from, and then waits for its end.
type teller struct {
	protocol string
	env      protocols.Env
}

func (f *teller) Name() string { return f.protocol }

func (f *teller) Serve(ctx context.Context, nc net.Conn) error {
	defer nc.Close()
	b := make([]byte, 1)
	if _, err := nc.Read(b); err != nil {
		return err
	}
	who, err := f.env.Auth.Authenticate(ctx, protocols.Credentials{Remote: nc.RemoteAddr()})
	user := who.Name
	switch {
	case err != nil:
		user = routing.CodeOf(err).String()
	case who.Anonymous:
		user = "anyone"
	}
	host, _, _ := net.SplitHostPort(nc.RemoteAddr().String())
	if _, err := fmt.Fprintf(nc, "%s %q %s %s\n", f.protocol, b, user, host); err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { nc.Close() })
	defer stop()
	_, err = nc.Read(b)
	return err
}

// newTellers is a running node whose protocols tell what they meet.
func newTellers(t *testing.T, change func(c *config.Config)) (*rig, map[string]string) {
	t.Helper()
	r := newRig(t, newTestConfig(t, change))
	r.node.table = nil
	for _, name := range []string{config.ProtocolSTOMP, config.ProtocolAMQP} {
		r.node.table = append(r.node.table, protocol{
			name: name,
			open: func(_ *config.Config, _ config.Listener, env protocols.Env) (protocols.Frontend, error) {
				return &teller{name, env}, nil
			},
			codec: func(routing.Codecs) {},
		})
	}
	return r, r.listen(t)
}

// hello sends bytes and returns the line that comes back; it is empty if the
// connection ends instead.
func hello(t *testing.T, nc net.Conn, bytes string) string {
	t.Helper()
	t.Cleanup(func() { nc.Close() })
	if err := nc.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(nc, bytes); err != nil {
		return ""
	}
	line, err := bufio.NewReader(nc).ReadString('\n')
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		t.Fatal("got no answer in time")
	case err != nil:
		return ""
	}
	return strings.TrimSuffix(line, "\n")
}

func plain(t *testing.T, addr string) net.Conn {
	t.Helper()
	nc, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	return nc
}

// secured is a TLS client of the authority, with a certificate or without.
func secured(t *testing.T, addr string, a *certstest.Authority, certs ...tls.Certificate) net.Conn {
	t.Helper()
	d := tls.Dialer{Config: &tls.Config{RootCAs: a.Pool(), Certificates: certs}}
	nc, err := d.DialContext(t.Context(), "tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	return nc
}

// withTLS gives the node a certificate of the authority, and believes those of
// clients.
func withTLS(t *testing.T, c *config.Config, a *certstest.Authority) {
	t.Helper()
	c.TLSCert, c.TLSKey, c.TLSClientCA = a.Write(t.TempDir(), a.Issue("node"))
}

func TestTLSListener(t *testing.T) {
	a := certstest.New(t)
	_, addrs := newTellers(t, func(c *config.Config) {
		withTLS(t, c, a)
		c.STOMPTLS, c.AMQPTLS = "127.0.0.1:0", "127.0.0.1:0"
		c.Anonymous = "any"
		c.Users = []auth.User{{Name: "robot", Certificate: "dns:robot.example"}}
	})
	for _, tt := range []struct {
		name string
		nc   net.Conn
		want string
	}{
		{"STOMP", secured(t, addrs["stomp-tls"], a), `stomp "C" anyone 127.0.0.1`},
		{"AMQP", secured(t, addrs["amqp-tls"], a), `amqp "C" anyone 127.0.0.1`},
		{"a certificate that names a user", secured(t, addrs["stomp-tls"], a, a.Issue("x", "robot.example")), `stomp "C" robot 127.0.0.1`},
		{"a certificate that names nobody", secured(t, addrs["stomp-tls"], a, a.Issue("robot.example")), `stomp "C" anyone 127.0.0.1`},
		{"a client that does not speak TLS", plain(t, addrs["stomp-tls"]), ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := hello(t, tt.nc, "CONNECT\n"); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestOnePortForAll(t *testing.T) {
	a := certstest.New(t)
	r, addrs := newTellers(t, func(c *config.Config) {
		withTLS(t, c, a)
		c.Mux = "127.0.0.1:0"
	})
	at := addrs["mux"]
	const ask = "GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
	for _, tt := range []struct{ name, first, want string }{
		{"STOMP by CONNECT", "CONNECT\n", `stomp "C" anyone 127.0.0.1`},
		{"STOMP by STOMP", "STOMP\n", `stomp "S" anyone 127.0.0.1`},
		{"STOMP after an empty line", "\nCONNECT\n", `stomp "\n" anyone 127.0.0.1`},
		{"AMQP", "AMQP\x03\x01\x00\x00", `amqp "A" anyone 127.0.0.1`},
		{"HTTP", ask, "HTTP/1.1 200 OK\r"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := hello(t, plain(t, at), tt.first); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
			if got := hello(t, secured(t, at, a), tt.first); got != tt.want {
				t.Errorf("by TLS: got %q, want %q", got, tt.want)
			}
		})
	}
	if got := hello(t, plain(t, at), "\x10\x0c\x00\x04MQTT"); got != "" {
		t.Errorf("got %q of a protocol that is not known, want the connection closed", got)
	}
	if got := countOf(t, r.node.metrics.refused, "any", refusedHandshake); got != 1 {
		t.Errorf("got %v refused, want 1", got)
	}
}

// proxyHeader is what a load balancer puts before a connection of 192.0.2.7.
func proxyHeader(t *testing.T, version byte, local bool) string {
	t.Helper()
	from := &net.TCPAddr{IP: net.IPv4(192, 0, 2, 7), Port: 4711}
	h := proxyproto.HeaderProxyFromAddrs(version, from, &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 61613})
	if local {
		h = &proxyproto.Header{Version: version, Command: proxyproto.LOCAL, TransportProtocol: proxyproto.UNSPEC}
	}
	b, err := h.Format()
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestProxyHeader(t *testing.T) {
	open := func(from string) string {
		_, addrs := newTellers(t, func(c *config.Config) {
			c.ProxyFrom = config.List{from}
			c.Anonymous = "any"
		})
		return addrs["stomp"]
	}
	for _, tt := range []struct{ name, from, first, want string }{
		{"version 1", "127.0.0.0/8", proxyHeader(t, 1, false) + "C", `stomp "C" anyone 192.0.2.7`},
		{"version 2", "127.0.0.1", proxyHeader(t, 2, false) + "C", `stomp "C" anyone 192.0.2.7`},
		{"the balancer's own", "127.0.0.1", proxyHeader(t, 2, true) + "C", `stomp "C" anyone 127.0.0.1`},
		{"none", "127.0.0.1", "C", `stomp "C" anyone 127.0.0.1`},
		{"a broken one", "127.0.0.1", "PROXY TCP4 nonsense\r\nC", ""},
		{"one from elsewhere is not read", "192.0.2.0/24", proxyHeader(t, 1, false) + "C", `stomp "P" anyone 127.0.0.1`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := hello(t, plain(t, open(tt.from)), tt.first); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

// TestProxyHeaderHidesLoopback: a client behind a balancer on the node's own
// machine is not a client of that machine.
func TestProxyHeaderHidesLoopback(t *testing.T) {
	_, addrs := newTellers(t, func(c *config.Config) { c.ProxyFrom = config.List{"127.0.0.1"} })
	if got, want := hello(t, plain(t, addrs["stomp"]), proxyHeader(t, 1, false)+"C"), `stomp "C" unauthorized 192.0.2.7`; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// dialWeb opens a WebSocket and returns it as a stream.
func dialWeb(t *testing.T, url string, config *tls.Config, header http.Header, protocols ...string) (net.Conn, int) {
	t.Helper()
	tr := &http.Transport{TLSClientConfig: config}
	t.Cleanup(tr.CloseIdleConnections)
	ws, resp, err := websocket.Dial(t.Context(), url, &websocket.DialOptions{
		HTTPClient: &http.Client{Transport: tr}, Subprotocols: protocols, HTTPHeader: header, Host: header.Get("Host"),
	})
	if resp != nil && resp.Body != nil {
		defer resp.Body.Close()
	}
	switch {
	case err == nil:
		return websocket.NetConn(context.WithoutCancel(t.Context()), ws, websocket.MessageText), http.StatusSwitchingProtocols
	case resp == nil:
		t.Fatal(err)
	}
	return nil, resp.StatusCode
}

// [stomp WebSocket_07] [stomp WebSocket_08] [stomp Connect_15] By whatever way a
// browser may come.
func TestWebSockets(t *testing.T) {
	a := certstest.New(t)
	_, addrs := newTellers(t, func(c *config.Config) {
		withTLS(t, c, a)
		c.STOMPWS, c.HTTPTLS = "127.0.0.1:0", "127.0.0.1:0"
		c.Anonymous = "any"
		c.Users = []auth.User{{Name: "robot", Certificate: "robot"}}
		c.Listeners = []config.Listener{
			{Name: "browsers", Protocol: config.ProtocolSTOMP, Address: "127.0.0.1:0", TLS: true, WebSocket: true},
		}
	})
	trusting := &tls.Config{RootCAs: a.Pool()}
	robot := &tls.Config{RootCAs: a.Pool(), Certificates: []tls.Certificate{a.Issue("robot")}}
	for _, tt := range []struct {
		name, url string
		tls       *tls.Config
		header    http.Header
		want      string
		code      int
	}{
		{"STOMP on the HTTP port", "ws://" + addrs["http"] + "/stomp", nil, nil, `stomp "C" anyone 127.0.0.1`, 101},
		{"STOMP on the HTTPS port", "wss://" + addrs["http-tls"] + "/stomp", trusting, nil, `stomp "C" anyone 127.0.0.1`, 101},
		{"with a certificate", "wss://" + addrs["http-tls"] + "/stomp", robot, nil, `stomp "C" robot 127.0.0.1`, 101},
		{"a port of its own, at any path", "ws://" + addrs["stomp-ws"] + "/anything", nil, nil, `stomp "C" anyone 127.0.0.1`, 101},
		{"a port of its own by TLS", "wss://" + addrs["browsers"], robot, nil, `stomp "C" robot 127.0.0.1`, 101},
		{"AMQP without its sub-protocol", "ws://" + addrs["http"] + "/amqp", nil, nil, "", 400},
		{"a foreign page", "ws://" + addrs["http"] + "/stomp", nil, http.Header{"Origin": {"https://evil.example"}}, "", 403},
		{"another path", "ws://" + addrs["http"] + "/mqtt", nil, nil, "", 404},
	} {
		t.Run(tt.name, func(t *testing.T) {
			nc, code := dialWeb(t, tt.url, tt.tls, tt.header)
			if code != tt.code {
				t.Fatalf("got %d, want %d", code, tt.code)
			}
			if nc == nil {
				return
			}
			if got := hello(t, nc, "C"); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

// TestWebSocketOfAForeignName: while everyone on this machine is admitted, a page
// whose host name was made to point here must not be.
func TestWebSocketOfAForeignName(t *testing.T) {
	_, addrs := newTellers(t, nil)
	url := "ws://" + addrs["http"] + "/stomp"
	if _, code := dialWeb(t, url, nil, http.Header{"Host": {"evil.example"}}); code != http.StatusForbidden {
		t.Errorf("got %d, want 403", code)
	}
	if nc, code := dialWeb(t, url, nil, nil); code != 101 || hello(t, nc, "C") == "" {
		t.Errorf("got %d, want a connection", code)
	}
}

func TestLimitsByAddressAndUser(t *testing.T) {
	a := certstest.New(t)
	r, addrs := newTellers(t, func(c *config.Config) {
		withTLS(t, c, a)
		c.STOMPTLS = "127.0.0.1:0"
		c.MaxAddressConnections, c.MaxUserConnections = 2, 1
		c.Users = []auth.User{{Name: "robot", Certificate: "robot"}}
	})
	robot := a.Issue("robot")
	first := secured(t, addrs["stomp-tls"], a, robot)
	if got, want := hello(t, first, "C"), `stomp "C" robot 127.0.0.1`; got != want {
		t.Fatalf("got %q, want %q", got, want)
	}
	second := secured(t, addrs["stomp-tls"], a, robot)
	if got, want := hello(t, second, "C"), `stomp "C" full 127.0.0.1`; got != want {
		t.Errorf("the user's second connection: got %q, want %q", got, want)
	}
	if got := hello(t, plain(t, addrs["stomp"]), "C"); got != "" {
		t.Errorf("the address's third connection: got %q, want it closed", got)
	}
	if _, code := dialWeb(t, "ws://"+addrs["http"]+"/stomp", nil, nil); code != http.StatusTooManyRequests {
		t.Errorf("the address's third connection, by WebSocket: got %d, want 429", code)
	}
	for reason, want := range map[string]float64{refusedUser: 1, refusedAddress: 2} {
		var got float64
		for _, p := range []string{"any", "stomp"} {
			got += countOf(t, r.node.metrics.refused, p, reason)
		}
		if got != want {
			t.Errorf("refused because of the %s: got %v, want %v", reason, got, want)
		}
	}
}

func TestAdminByCertificate(t *testing.T) {
	a := certstest.New(t)
	_, addrs := newTellers(t, func(c *config.Config) {
		withTLS(t, c, a)
		c.HTTPTLS = "127.0.0.1:0"
		c.Users = []auth.User{{Name: "root", Certificate: "root", Admin: true}, {Name: "alice", Certificate: "alice"}}
	})
	for name, want := range map[string]string{"root": "200 OK", "alice": "401 Unauthorized", "nobody": "401 Unauthorized"} {
		nc := secured(t, addrs["http-tls"], a, a.Issue(name))
		got := hello(t, nc, "GET "+api.PathNodes+" HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
		if !strings.Contains(got, want) {
			t.Errorf("%s: got %q, want %s", name, got, want)
		}
	}
}
