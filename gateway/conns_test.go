package gateway

import (
	"errors"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/selvedge-mq/selvedge/gateway/auth"
	"github.com/selvedge-mq/selvedge/gateway/certs/certstest"
	"github.com/selvedge-mq/selvedge/gateway/config"
)

// closed reports whether the node ends a connection on which nothing was sent.
func closed(t *testing.T, nc net.Conn) bool {
	t.Helper()
	t.Cleanup(func() { nc.Close() })
	if err := nc.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	_, err := nc.Read(make([]byte, 1))
	var slow net.Error
	return err != nil && (!errors.As(err, &slow) || !slow.Timeout())
}

// TestAnAddressIsCountedBeforeItsHandshake: who says nothing holds a place of its
// address as anybody does, whatever the port waits for.
func TestAnAddressIsCountedBeforeItsHandshake(t *testing.T) {
	a := certstest.New(t)
	for _, port := range []string{"stomp", "stomp-tls", "mux", "http", "http-tls", "stomp-ws"} {
		t.Run(port, func(t *testing.T) {
			r, addrs := newTellers(t, func(c *config.Config) {
				withTLS(t, c, a)
				c.STOMPTLS, c.HTTPTLS, c.STOMPWS, c.Mux = "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0"
				c.MaxAddressConnections = 1
			})
			silent := plain(t, addrs[port])
			defer silent.Close()
			if !closed(t, plain(t, addrs[port])) {
				t.Error("got a second connection, want it closed")
			}
			var refused float64
			for _, protocol := range []string{config.ProtocolSTOMP, config.ProtocolHTTP, config.ProtocolAny} {
				refused += countOf(t, r.node.metrics.refused, protocol, refusedAddress)
			}
			if refused != 1 {
				t.Errorf("got %v refused because of the address, want 1", refused)
			}
		})
	}
}

// TestAPlaceIsFreeAgain: a connection of any kind gives its place back once.
func TestAPlaceIsFreeAgain(t *testing.T) {
	r, addrs := newTellers(t, func(c *config.Config) {
		c.Mux, c.MaxAddressConnections = "127.0.0.1:0", 1
	})
	for range 3 {
		for _, port := range []string{"http", "mux"} {
			if code, _ := get(t, addrs[port], "/livez"); code != http.StatusOK {
				t.Errorf("%s: got %d, want 200", port, code)
			}
			eventually(t, func() bool { return r.node.web.ports[config.ProtocolHTTP].conns.count()+r.node.conns.count() == 0 })
		}
	}
}

// eventually waits until a condition holds.
func eventually(t *testing.T, holds func() bool) {
	t.Helper()
	tick, late := time.NewTicker(time.Millisecond), time.NewTimer(20*time.Second)
	defer tick.Stop()
	defer late.Stop()
	for !holds() {
		select {
		case <-tick.C:
		case <-late.C:
			t.Fatal("got no change in time")
		}
	}
}

// TestWebSocketsLeaveRoomForHealthChecks: a client by WebSocket is a client like
// others, and takes no place of HTTP.
func TestWebSocketsLeaveRoomForHealthChecks(t *testing.T) {
	_, addrs := newTellers(t, func(c *config.Config) { c.MaxConnections = 1 })
	nc, code := dialWeb(t, "ws://"+addrs["http"]+"/stomp", nil, nil)
	if code != http.StatusSwitchingProtocols || hello(t, nc, "C") == "" {
		t.Fatalf("got %d, want a connection", code)
	}
	if code, body := get(t, addrs["http"], "/livez"); code != http.StatusOK {
		t.Errorf("got %d %s, want 200", code, body)
	}
}

// TestAForeignPageIsNoClientOfThisMachine: where users are configured and clients
// of this machine need no login, a page whose name was made to point here is
// neither; a name is welcome where nobody is admitted for being near.
func TestAForeignPageIsNoClientOfThisMachine(t *testing.T) {
	named := http.Header{"Host": {"broker.example"}}
	for policy, want := range map[auth.Policy]int{auth.Loopback: http.StatusForbidden, auth.None: http.StatusSwitchingProtocols} {
		_, addrs := newTellers(t, func(c *config.Config) {
			c.Users, c.Anonymous = []auth.User{{Name: "alice", Password: hash}}, string(policy)
		})
		nc, code := dialWeb(t, "ws://"+addrs["http"]+"/stomp", nil, named)
		if code != want {
			t.Errorf("%s: got %d, want %d", policy, code, want)
		}
		if nc != nil {
			nc.Close()
		}
	}
}

// polite is a connection that says goodbye, for which the client may let it wait.
type polite struct {
	net.Conn

	said bool
}

func (p *polite) Close() error {
	p.said = true
	return p.Conn.Close()
}

// TestCuttingSaysNoGoodbye: what is given up is cut below TLS, whose orderly end
// may wait for the client.
func TestCuttingSaysNoGoodbye(t *testing.T) {
	near, far := net.Pipe()
	defer far.Close()
	above := &polite{Conn: near}
	a := &arrival{Conn: above, raw: near}
	if err := a.cut(); err != nil {
		t.Error(err)
	}
	if _, err := far.Read(make([]byte, 1)); !errors.Is(err, io.EOF) || above.said {
		t.Errorf("got %v, a goodbye = %v, want the connection cut alone", err, above.said)
	}
}
