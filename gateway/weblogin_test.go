package gateway

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/coder/websocket"

	"github.com/selvedge-mq/selvedge/gateway/auth"
	"github.com/selvedge-mq/selvedge/gateway/config"
)

func basic(login string) http.Header {
	return http.Header{"Authorization": {"Basic " + base64.StdEncoding.EncodeToString([]byte(login))}}
}

// socket opens a WebSocket with a header in its request, and returns the answer to
// the request.
func socket(t *testing.T, url string, header http.Header) (ws *websocket.Conn, code int, answer http.Header) {
	t.Helper()
	tr := &http.Transport{}
	t.Cleanup(tr.CloseIdleConnections)
	ws, resp, err := websocket.Dial(t.Context(), url, &websocket.DialOptions{
		HTTPClient: &http.Client{Transport: tr}, HTTPHeader: header, Subprotocols: []string{"v12.stomp"},
	})
	if resp != nil && resp.Body != nil {
		defer resp.Body.Close()
	}
	switch {
	case err == nil:
		t.Cleanup(func() { _ = ws.CloseNow() })
	case resp == nil:
		t.Fatal(err)
	}
	return ws, resp.StatusCode, resp.Header
}

// exchange sends a text and returns what comes back, to the end of the first message.
func exchange(t *testing.T, ws *websocket.Conn, text string) string {
	t.Helper()
	if err := ws.Write(t.Context(), websocket.MessageText, []byte(text)); err != nil {
		t.Fatal(err)
	}
	_, got, err := ws.Read(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return string(got)
}

const connectAs = "CONNECT\naccept-version:1.2\nhost:/\n%s\n\x00"

// [stomp WebSocket_10] The login of the request, at each port of WebSockets: it counts
// where CONNECT has none and stomp-ws-login is on.
func TestSTOMP_WebSocket_10_BasicLogin(t *testing.T) {
	const refused = "ERROR\nmessage:User name [%s] or password is invalid.\n"
	for _, tt := range []struct {
		name    string
		on      bool
		header  http.Header
		connect string
		want    string
	}{
		{"right", true, basic("alice:secret"), "", "CONNECTED\nversion:1.2\n"},
		{"the scheme in any case", true, http.Header{"Authorization": {"bAsIc YWxpY2U6c2VjcmV0"}}, "", "CONNECTED\nversion:1.2\n"},
		{"wrong", true, basic("alice:guess"), "", fmt.Sprintf(refused, "alice")},
		{"of a user who is not known", true, basic("mallory:secret"), "", fmt.Sprintf(refused, "mallory")},
		{"none", true, nil, "", "ERROR\nmessage:a login is required"},
		{"that of CONNECT comes first", true, basic("alice:guess"), "login:bob\npasscode:secret\n", "CONNECTED\nversion:1.2\n"},
		{"that of CONNECT is not mended", true, basic("alice:secret"), "login:bob\npasscode:guess\n", fmt.Sprintf(refused, "bob")},
		{"switched off", false, basic("alice:secret"), "", "ERROR\nmessage:a login is required"},
		{"switched off, and no login at all", false, http.Header{"Authorization": {"Bearer x"}}, "login:bob\npasscode:secret\n", "CONNECTED\nversion:1.2\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, addrs := newReal(t, func(c *config.Config) {
				c.STOMPWS, c.STOMPWSLogin.On = "127.0.0.1:0", tt.on
				c.Users = []auth.User{{Name: "alice", Password: hash}, {Name: "bob", Password: hash}}
			})
			for _, url := range []string{"ws://" + addrs["http"] + "/stomp", "ws://" + addrs["stomp-ws"] + "/any"} {
				ws, code, _ := socket(t, url, tt.header)
				if ws == nil {
					t.Fatalf("got %d, want a connection", code)
				}
				got := exchange(t, ws, fmt.Sprintf(connectAs, tt.connect))
				if !strings.HasPrefix(got, tt.want) {
					t.Errorf("got %q, want %q", got, tt.want)
				}
				if strings.HasPrefix(got, "CONNECTED") {
					continue
				}
				_, _, err := ws.Read(t.Context())
				if e, ok := errors.AsType[websocket.CloseError](err); !ok || e.Code != websocket.StatusNormalClosure {
					t.Errorf("behind the ERROR: got %v, want an orderly end", err)
				}
			}
		})
	}
}

// [stomp WebSocket_10] What is no login is told at once; the other protocol has a
// login of its own, and looks at none of these.
func TestSTOMP_WebSocket_10_WhatIsNoLogin(t *testing.T) {
	r, addrs := newReal(t, func(c *config.Config) {
		c.STOMPWSLogin.On = true
		c.Users = []auth.User{{Name: "alice", Password: hash}}
	})
	wrong := map[string]http.Header{
		"another scheme":       {"Authorization": {"Bearer YWxpY2U6c2VjcmV0"}},
		"no base64":            {"Authorization": {"Basic ???"}},
		"no colon":             basic("alice"),
		"no user":              basic(":secret"),
		"a NUL":                basic("alice\x00:secret"),
		"a line end":           basic("alice:secret\nx"),
		"twice":                {"Authorization": {"Basic YWxpY2U6c2VjcmV0", "Basic YWxpY2U6c2VjcmV0"}},
		"an empty header line": {"Authorization": {""}},
	}
	for name, header := range wrong {
		ws, code, answer := socket(t, "ws://"+addrs["http"]+"/stomp", header)
		if ws != nil || code != http.StatusUnauthorized || answer.Get("WWW-Authenticate") != challenge {
			t.Errorf("%s: got %d, %q, want 401 and how to log in", name, code, answer.Get("WWW-Authenticate"))
		}
	}
	if got, want := countOf(t, r.node.metrics.refused, "stomp", refusedHandshake), float64(len(wrong)); got != want {
		t.Errorf("got %v refusals counted, want %v", got, want)
	}
	nc, code := dialWeb(t, "ws://"+addrs["http"]+"/amqp", nil, wrong["another scheme"], "amqp")
	if code != http.StatusSwitchingProtocols {
		t.Fatalf("AMQP: got %d, want a connection", code)
	}
	nc.Close()
}

// [stomp WebSocket_10] A login of a request is bounded as one of CONNECT is: the
// connections of its user, and the checks that one address may wait for.
func TestSTOMP_WebSocket_10_IsBoundedAsOthersAre(t *testing.T) {
	r, addrs := newReal(t, func(c *config.Config) {
		c.STOMPWSLogin.On, c.MaxUserConnections, c.MaxLogins = true, 1, 1
		c.Users = []auth.User{{Name: "alice", Password: hash}}
	})
	url := "ws://" + addrs["http"] + "/stomp"
	first, _, _ := socket(t, url, basic("alice:secret"))
	if got := exchange(t, first, fmt.Sprintf(connectAs, "")); !strings.HasPrefix(got, "CONNECTED") {
		t.Fatalf("got %q, want CONNECTED", got)
	}
	second, _, _ := socket(t, url, basic("alice:secret"))
	if got, want := exchange(t, second, fmt.Sprintf(connectAs, "")), "max-connections-per-user"; !strings.Contains(got, want) {
		t.Errorf("the user's second connection: got %q, want %s in it", got, want)
	}
	var full atomic.Int64
	for round := 0; full.Load() == 0; round++ {
		var wg sync.WaitGroup
		for i := range 8 {
			ws, _, _ := socket(t, url, basic(fmt.Sprint("alice:guess", round, i)))
			wg.Go(func() {
				if err := ws.Write(t.Context(), websocket.MessageText, fmt.Appendf(nil, connectAs, "")); err != nil {
					t.Error(err)
				}
				if _, got, _ := ws.Read(t.Context()); strings.Contains(string(got), "too many logins from this address") {
					full.Add(1)
				}
			})
		}
		wg.Wait()
	}
	if got, want := countOf(t, r.node.metrics.refused, "any", refusedLogins), float64(full.Load()); got != want {
		t.Errorf("got %v logins counted as refused, want %v", got, want)
	}
}

// [stomp WebSocket_10] No log has the password, in any spelling.
func TestSTOMP_WebSocket_10_IsInNoLog(t *testing.T) {
	r, addrs := newReal(t, func(c *config.Config) {
		c.STOMPWSLogin.On, c.LogLevel = true, "trace"
		c.Users = []auth.User{{Name: "alice", Password: hash}}
	})
	for _, login := range []string{"alice:secret", "alice:guess", "al\x00ice:secret"} {
		ws, _, _ := socket(t, "ws://"+addrs["http"]+"/stomp", basic(login))
		if ws != nil {
			exchange(t, ws, fmt.Sprintf(connectAs, ""))
		}
		encoded := strings.TrimPrefix(basic(login).Get("Authorization"), "Basic ")
		_, password, _ := strings.Cut(login, ":")
		if got := r.log.String(); !strings.Contains(got, "stomp") || strings.Contains(got, encoded) || strings.Contains(got, password) {
			t.Errorf("%q: got %s, want neither the password nor what the request has", login, got)
		}
	}
}

// [stomp WebSocket_11] Compression is agreed on where both want it, and the frames are
// the same.
func TestSTOMP_WebSocket_11_Compression(t *testing.T) {
	for _, on := range []bool{true, false} {
		_, addrs := newReal(t, func(c *config.Config) { c.WSCompression.On = on })
		for _, asks := range []websocket.CompressionMode{websocket.CompressionNoContextTakeover, websocket.CompressionDisabled} {
			tr := &http.Transport{}
			t.Cleanup(tr.CloseIdleConnections)
			ws, resp, err := websocket.Dial(t.Context(), "ws://"+addrs["http"]+"/stomp", &websocket.DialOptions{
				HTTPClient: &http.Client{Transport: tr}, CompressionMode: asks, CompressionThreshold: 1,
			})
			if err != nil {
				t.Fatal(err)
			}
			if resp.Body != nil {
				defer resp.Body.Close()
			}
			defer func() { _ = ws.CloseNow() }()
			agreed := strings.Contains(resp.Header.Get("Sec-Websocket-Extensions"), "permessage-deflate")
			if want := on && asks != websocket.CompressionDisabled; agreed != want {
				t.Errorf("on = %v, the client asks for %v: got it agreed = %v, want %v", on, asks, agreed, want)
			}
			body := strings.Repeat("again and ", 1000)
			exchange(t, ws, fmt.Sprintf(connectAs, ""))
			if err := ws.Write(t.Context(), websocket.MessageText, []byte("SUBSCRIBE\nid:1\ndestination:/temp-queue/q\n\n\x00SEND\ndestination:/temp-queue/q\n\n"+body+"\x00")); err != nil {
				t.Fatal(err)
			}
			_, got, err := ws.Read(t.Context())
			if err != nil || !strings.HasPrefix(string(got), "MESSAGE\n") || !strings.Contains(string(got), "\n\n"+body+"\x00") {
				t.Errorf("on = %v: got %.200q, %v, want the message", on, got, err)
			}
		}
	}
}
