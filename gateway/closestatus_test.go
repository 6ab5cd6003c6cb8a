package gateway

import (
	"errors"
	"strings"
	"testing"

	"github.com/coder/websocket"

	"github.com/selvedge-mq/selvedge/gateway/config"
)

// [stomp WebSocket_09] What a page is told when its connection ends, behind the ERROR.
func TestTheEndOfAWebSocketSaysWhy(t *testing.T) {
	r, addrs := newReal(t, func(c *config.Config) { c.HeaderSize = 2000 })
	const connect = "CONNECT\naccept-version:1.2\n\n\x00"
	for _, c := range []struct {
		name, text string
		stops      bool
		want       websocket.StatusCode
	}{
		{"DISCONNECT", connect + "DISCONNECT\n\n\x00", false, websocket.StatusNormalClosure},
		{"a request that is refused", connect + "SEND\n\nx\x00", false, websocket.StatusNormalClosure},
		{"a login that fails", "CONNECT\naccept-version:9.9\n\n\x00", false, websocket.StatusNormalClosure},
		{"a header that is none", connect + "SEND\nnonsense\n\nx\x00", false, websocket.StatusProtocolError},
		{"a header that is too long", connect + "SEND\na:" + strings.Repeat("x", 4000) + "\n\nx\x00", false, websocket.StatusMessageTooBig},
		{"no STOMP at all", "GET / HTTP/1.1\r\n\r\n", false, websocket.StatusProtocolError},
		{"the node stops", connect, true, websocket.StatusGoingAway},
	} {
		page := dialSocket(t, "ws://"+addrs["http"]+"/stomp", "v12.stomp")
		if err := page.Write(t.Context(), websocket.MessageText, []byte(c.text)); err != nil {
			t.Fatal(err)
		}
		var err error
		for first := true; err == nil; first = false {
			if _, _, err = page.Read(t.Context()); first && c.stops {
				r.stop()
			}
		}
		if e, ok := errors.AsType[websocket.CloseError](err); !ok || e.Code != c.want {
			t.Errorf("%s: got %v, want status %d", c.name, err, c.want)
		}
	}
}

// [stomp WebSocket_06] The kind of the answers is a setting; a page that began with
// text is answered in binary here.
func TestTheKindOfAnswersIsASetting(t *testing.T) {
	_, addrs := newReal(t, func(c *config.Config) { c.STOMPWSAnswers = "binary" })
	page := dialSocket(t, "ws://"+addrs["http"]+"/stomp", "v12.stomp")
	if err := page.Write(t.Context(), websocket.MessageText, []byte("CONNECT\naccept-version:1.2\n\n\x00")); err != nil {
		t.Fatal(err)
	}
	if kind, got, err := page.Read(t.Context()); kind != websocket.MessageBinary || err != nil {
		t.Errorf("got %v %q and %v, want binary", kind, got, err)
	}
}
