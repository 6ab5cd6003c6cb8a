package gateway

import (
	"bufio"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/coder/websocket"
)

// A client-id is counted over all listeners of the node: the port of STOMP and that
// of HTTP here. [stomp Connect_22]
func TestAClientIDIsOfTheNode(t *testing.T) {
	_, addrs := newReal(t, nil)
	const connect = "CONNECT\naccept-version:1.2\nclient-id:c\n\n\x00"
	nc, err := net.Dial("tcp", addrs["stomp"]) //nolint:noctx // on loopback
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	page := websocket.NetConn(t.Context(), dialSocket(t, "ws://"+addrs["http"]+"/stomp", "v12.stomp"), websocket.MessageText)
	for _, c := range []struct {
		what, says string
		conn       net.Conn
		want       string
	}{
		{"the first", connect, nc, "CONNECTED\n"},
		{"the second", connect, page, "CONNECTED\n"},
		{"the first, behind that", "", nc, "ERROR\nmessage:another connection has taken over the client-id\n"},
	} {
		if _, err := io.WriteString(c.conn, c.says); err != nil {
			t.Fatal(err)
		}
		got, err := bufio.NewReader(c.conn).ReadString(0)
		if err != nil || !strings.HasPrefix(strings.TrimLeft(got, "\n"), c.want) {
			t.Errorf("%s: got %q and %v, want %q", c.what, got, err, c.want)
		}
	}
}
