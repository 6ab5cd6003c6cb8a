package websock

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// serve hands each connection that is accepted to the test, and returns where to
// connect. The connections are closed at the end of the test.
func serve(t *testing.T, o Options) (url string, conns <-chan *Conn) {
	t.Helper()
	ch := make(chan *Conn, 1)
	at := &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 7}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := Accept(w, r, at, at, o)
		if err != nil {
			return
		}
		ch <- c
	}))
	t.Cleanup(func() {
		s.Close()
		select {
		case c := <-ch:
			_ = c.Cut()
		default:
		}
	})
	return "ws" + strings.TrimPrefix(s.URL, "http"), ch
}

// dial connects as a browser or program does.
func dial(t *testing.T, url string, o *websocket.DialOptions) (*websocket.Conn, error) {
	t.Helper()
	tr := &http.Transport{}
	t.Cleanup(tr.CloseIdleConnections)
	if o == nil {
		o = &websocket.DialOptions{}
	}
	o.HTTPClient = &http.Client{Transport: tr}
	ws, resp, err := websocket.Dial(t.Context(), url, o)
	if resp != nil && resp.Body != nil {
		defer resp.Body.Close()
	}
	if err == nil {
		t.Cleanup(func() { _ = ws.CloseNow() })
	}
	return ws, err
}

func pair(t *testing.T, o Options, d *websocket.DialOptions) (*Conn, *websocket.Conn) {
	t.Helper()
	url, conns := serve(t, o)
	ws, err := dial(t, url, d)
	if err != nil {
		t.Fatal(err)
	}
	c := <-conns
	t.Cleanup(func() { _ = c.Cut() })
	return c, ws
}

// [amqp 213] [stomp WebSocket_03] [stomp WebSocket_05] What the front-ends read.
func TestMessagesBecomeAStream(t *testing.T) {
	for _, compress := range []bool{false, true} {
		c, ws := pair(t, Options{Compress: compress}, &websocket.DialOptions{CompressionMode: websocket.CompressionContextTakeover})
		long := strings.Repeat("long ", 1000)
		sent := make(chan error, 1)
		go func() {
			var errs []error
			for _, m := range []struct {
				kind websocket.MessageType
				text string
			}{
				{websocket.MessageText, "CON"},
				{websocket.MessageBinary, ""},
				{websocket.MessageBinary, "NECT\n\n\x00SEND"},
				{websocket.MessageText, long},
			} {
				errs = append(errs, ws.Write(t.Context(), m.kind, []byte(m.text)))
			}
			sent <- errors.Join(errs...)
		}()
		want := "CONNECT\n\n\x00SEND" + long
		got := make([]byte, len(want))
		if _, err := io.ReadFull(c, got); err != nil || string(got) != want {
			t.Errorf("compressed %v: got %.20q, %v, want %.20q", compress, got, err, want)
		}
		if err := <-sent; err != nil {
			t.Error(err)
		}
	}
}

// [stomp WebSocket_06] What the clients read.
func TestAnswersTakeTheClientsType(t *testing.T) {
	for _, tt := range []struct {
		name  string
		kind  Answer
		first websocket.MessageType
		write string
		want  websocket.MessageType
	}{
		{"text is answered in text", AnswerMirror, websocket.MessageText, "grüße", websocket.MessageText},
		{"what is no UTF-8 is binary", AnswerMirror, websocket.MessageText, "\xff", websocket.MessageBinary},
		{"binary is answered in binary", AnswerMirror, websocket.MessageBinary, "a", websocket.MessageBinary},
		{"binary is answered in text where that is set", AnswerText, websocket.MessageBinary, "a", websocket.MessageText},
		{"but for what is no UTF-8", AnswerText, websocket.MessageText, "\xff", websocket.MessageBinary},
		{"text is answered in binary where that is set", AnswerBinary, websocket.MessageText, "a", websocket.MessageBinary},
		{"a protocol of bytes knows no text", "", websocket.MessageText, "a", websocket.MessageBinary},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, ws := pair(t, Options{Answer: tt.kind}, nil)
			if err := ws.Write(t.Context(), tt.first, []byte("x")); err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
				t.Fatal(err)
			}
			if _, err := io.WriteString(c, tt.write); err != nil {
				t.Fatal(err)
			}
			kind, got, err := ws.Read(t.Context())
			if err != nil || kind != tt.want || string(got) != tt.write {
				t.Errorf("got %v %q, %v, want %v %q", kind, got, err, tt.want, tt.write)
			}
		})
	}
}

// [amqp 214] What the front-ends read.
func TestOrderlyEndIsEOF(t *testing.T) {
	c, ws := pair(t, Options{}, nil)
	ended := make(chan error, 1)
	go func() { ended <- ws.Close(websocket.StatusNormalClosure, "") }()
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("got %v, want io.EOF", err)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestCloseFreesTheReader(t *testing.T) {
	c, ws := pair(t, Options{}, nil)
	ctx := ws.CloseRead(t.Context()) // the client answers the goodbye
	ended := make(chan error, 1)
	go func() {
		_, err := c.Read(make([]byte, 1))
		ended <- err
	}()
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if err := <-ended; err == nil {
		t.Error("got a Read that went well, want the end")
	}
	<-ctx.Done()
}

func TestDeadlines(t *testing.T) {
	t.Run("one that passes ends the read that waits", func(t *testing.T) {
		c, _ := pair(t, Options{}, nil)
		ended := make(chan error, 1)
		go func() {
			_, err := c.Read(make([]byte, 1))
			ended <- err
		}()
		if err := c.SetReadDeadline(time.Now().Add(time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		if err := <-ended; !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("got %v, want that the deadline passed", err)
		}
	})
	t.Run("one that passes while nobody writes leaves the connection whole", func(t *testing.T) {
		c, ws := pair(t, Options{}, nil)
		if err := c.SetWriteDeadline(time.Now().Add(-time.Second)); err != nil {
			t.Fatal(err)
		}
		for passed := false; !passed; {
			c.out.mu.Lock()
			passed = c.out.expired
			c.out.mu.Unlock()
		}
		if _, err := c.Write([]byte("a")); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("got %v, want that the deadline passed", err)
		}
		if err := c.SetDeadline(time.Time{}); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Write([]byte("b")); err != nil {
			t.Errorf("got %v, want the connection whole", err)
		}
		if _, got, err := ws.Read(t.Context()); err != nil || string(got) != "b" {
			t.Errorf("got %q, %v, want b", got, err)
		}
	})
}

// [amqp 212] [amqp 215] [stomp WebSocket_01] [stomp WebSocket_08] Sub-protocols and origins.
func TestHandshake(t *testing.T) {
	stomp := []string{"v12.stomp", "v11.stomp", "v10.stomp"}
	origin := func(o string) http.Header { return http.Header{"Origin": {o}} }
	for _, tt := range []struct {
		name  string
		o     Options
		dial  websocket.DialOptions
		spoke string
		fails bool
	}{
		{"the best sub-protocol is chosen", Options{Protocols: stomp}, websocket.DialOptions{Subprotocols: []string{"v10.stomp", "v12.stomp"}}, "v12.stomp", false},
		{"none is fine where none is required", Options{Protocols: stomp}, websocket.DialOptions{}, "", false},
		{"a required one", Options{Protocols: []string{"amqp"}, Require: true}, websocket.DialOptions{Subprotocols: []string{"binary", "amqp"}}, "amqp", false},
		{"a required one is missing", Options{Protocols: []string{"amqp"}, Require: true}, websocket.DialOptions{Subprotocols: []string{"binary"}}, "", true},
		{"a foreign page is refused", Options{}, websocket.DialOptions{HTTPHeader: origin("https://evil.example")}, "", true},
		{"an allowed page is not", Options{Origins: []string{"*.shop.example"}}, websocket.DialOptions{HTTPHeader: origin("https://www.shop.example")}, "", false},
		{"any page", Options{Origins: []string{"*"}}, websocket.DialOptions{HTTPHeader: origin("https://evil.example")}, "", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			url, conns := serve(t, tt.o)
			ws, err := dial(t, url, &tt.dial)
			if tt.fails {
				if err == nil {
					t.Error("got a connection, want it refused")
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			c := <-conns
			defer func() { _ = c.Cut() }()
			if got := ws.Subprotocol(); got != tt.spoke {
				t.Errorf("got sub-protocol %q, want %q", got, tt.spoke)
			}
			if got := c.RemoteAddr().String(); got != "192.0.2.1:7" {
				t.Errorf("got %s, want the address that was given", got)
			}
		})
	}
}

func TestCutEndsAtOnce(t *testing.T) {
	c, ws := pair(t, Options{}, nil)
	if err := c.Cut(); err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if _, _, err := ws.Read(ctx); err == nil || ctx.Err() != nil {
		t.Errorf("got %v, want the connection cut", err)
	}
}
