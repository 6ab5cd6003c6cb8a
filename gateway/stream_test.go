package gateway

import (
	"bytes"
	"io"
	"net"
	"testing"
)

// canned is a connection whose client has sent all that it ever will.
type canned struct {
	net.Conn // nil: nothing else is asked of it

	sent io.Reader
}

func (c canned) Read(p []byte) (int, error) { return c.sent.Read(p) }

func (canned) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1} }

// FuzzUnproxy: whatever a client sends, the bytes behind a header come through
// whole, and those of a client without one all of them.
func FuzzUnproxy(f *testing.F) {
	for _, seed := range []string{
		"", "C", "CONNECT\n\n\x00", "\r\nCONNECT\n", "PROXY TCP4 192.0.2.7 192.0.2.1 1 2\r\nCONNECT", "PROXY UNKNOWN\r\nC", "PROXY nonsense",
		"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\xc0\x00\x02\x07\xc0\x00\x02\x01\x12\x34\x56\x78C",
		"\r\n\r\n\x00\r\nQUIT\n\x20\x00\xff\xffC",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, sent []byte) {
		nc, err := unproxy(canned{sent: bytes.NewReader(sent)})
		if err != nil {
			return
		}
		first, nc, err := peek(nc)
		if err != nil {
			return // nothing came behind the header
		}
		got, err := io.ReadAll(nc)
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case got[0] != first || !bytes.HasSuffix(sent, got):
			t.Errorf("got %q of %q, want its end, whole", got, sent)
		case nc.RemoteAddr().String() == "127.0.0.1:1":
			if headed := bytes.HasPrefix(sent, []byte("PROXY")) || bytes.HasPrefix(sent, []byte("\r\n\r\n\x00\r\nQUIT\n")); !headed && !bytes.Equal(got, sent) {
				t.Errorf("got %q, want all of %q", got, sent)
			}
		}
	})
}

func TestProtocolOfTheFirstByte(t *testing.T) {
	for text, want := range map[string]string{
		"AMQP\x00\x01\x00\x00": "amqp", "CONNECT": "stomp", "STOMP": "stomp", "\nCONNECT": "stomp", "\r\nSTOMP": "stomp",
		"GET /": "http", "HEAD /": "http", "POST /": "http", "PUT /": "http", "DELETE /": "http", "OPTIONS *": "http",
		"\x10MQTT": "", "\x16\x03\x01": "", "SSH": "stomp", // which the protocol refuses
	} {
		if got := protocolOf(text[0]); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}
