package stompclient

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/selvedge-mq/selvedge/cmd/selvedge/internal/batch"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const connected = "CONNECTED\nversion:1.2\n\n\x00"

// script is a broker that answers one frame after the other with what stands
// in the script, and reports the frames it got.
func script(t *testing.T, answers ...string) (addr string, frames <-chan string) {
	t.Helper()
	var lc net.ListenConfig
	ln, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan string, len(answers)+1)
	var wg sync.WaitGroup
	wg.Go(func() {
		defer close(got)
		nc, err := ln.Accept()
		if err != nil {
			return
		}
		defer nc.Close()
		in := bufio.NewReader(nc)
		for _, answer := range answers {
			frame, err := in.ReadString(0)
			if err != nil {
				return
			}
			got <- strings.TrimLeft(strings.TrimSuffix(frame, "\x00"), "\n")
			if _, err := io.WriteString(nc, answer); err != nil {
				return
			}
		}
	})
	t.Cleanup(func() {
		_ = ln.Close()
		wg.Wait()
	})
	return ln.Addr().String(), got
}

type recorder struct {
	receipts []uint64
	messages []string
}

func (r *recorder) Receipt(n uint64) { r.receipts = append(r.receipts, n) }

func (r *recorder) Message(m Message) {
	text := string(m.Subscription) + " " + string(m.AckID) + " " + string(m.Body)
	if m.Redelivered {
		text += " again"
	}
	r.messages = append(r.messages, text)
}

func TestConversation(t *testing.T) {
	addr, frames := script(t, connected, "RECEIPT\nreceipt-id:1\n\n\x00",
		"MESSAGE\nsubscription:s\nack:x\\cy\nredelivered:true\n\nbody\x00", "", "RECEIPT\nreceipt-id:goodbye\n\n\x00")
	c, err := Dial(t.Context(), addr, Options{Login: "ann:a", Passcode: "secret"})
	if err != nil {
		t.Fatal(err)
	}
	var r recorder
	served := make(chan error, 1)
	go func() { served <- c.Serve(&r) }()
	for _, err := range []error{
		c.Send(NewTemplate("/queue/a", true), []byte("hello"), 1),
		c.Subscribe("s", "/queue/a", "client-individual", 10, Unconfirmed),
		c.Ack([]byte(`x\cy`)),
		c.Close(t.Context()),
		<-served,
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	for f := range frames {
		got = append(got, f)
	}
	want := []string{
		"CONNECT\naccept-version:1.2\nheart-beat:0,0\nhost:127.0.0.1\nlogin:ann:a\npasscode:secret\n\n",
		"SEND\ndestination:/queue/a\npersistent:true\ncontent-length:5\nreceipt:1\n\nhello",
		"SUBSCRIBE\nid:s\ndestination:/queue/a\nack:client-individual\nprefetch-count:10\nactivemq.prefetchSize:10\n\n",
		"ACK\nid:x\\cy\n\n",
		"DISCONNECT\nreceipt:goodbye\n\n",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("frames of the client (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(recorder{receipts: []uint64{1}, messages: []string{`s x\cy body again`}}, r, cmp.AllowUnexported(recorder{})); diff != "" {
		t.Errorf("what the client was told (-want +got):\n%s", diff)
	}
}

func TestErrorFrameEndsTheConnection(t *testing.T) {
	addr, _ := script(t, connected, "ERROR\nmessage:queue full\n\nthe limit is 10\x00")
	c, err := Dial(t.Context(), addr, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Send(NewTemplate("/queue/a", true), nil, Unconfirmed); err != nil {
		t.Fatal(err)
	}
	err = c.Serve(&recorder{})
	if got, want := err.Error(), "the broker says: queue full: the limit is 10"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if err := c.Send(NewTemplate("/queue/a", true), nil, Unconfirmed); err == nil {
		t.Error("got no error from Send on a failed connection")
	}
	c.Abort()
}

func TestDialTellsWhyItWasRefused(t *testing.T) {
	for name, c := range map[string]struct{ answer, want string }{
		"a wrong password":     {"ERROR\nmessage:Bad login\n\n\x00", "the broker says: Bad login"},
		"an old broker":        {"CONNECTED\nversion:1.0\n\n\x00", `the broker speaks STOMP "1.0", this client 1.2`},
		"something else there": {"HTTP/1.1 400 Bad Request\r\n\r\n\x00", `CONNECT was answered by "HTTP/1.1 400 Bad Request"`},
	} {
		t.Run(name, func(t *testing.T) {
			addr, _ := script(t, c.answer)
			_, err := Dial(t.Context(), addr, Options{})
			if err == nil || err.Error() != c.want {
				t.Errorf("got %v, want %s", err, c.want)
			}
		})
	}
}

func TestDialEndsWithItsContext(t *testing.T) {
	addr, frames := script(t, "", "")
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-frames // the broker has CONNECT and stays silent
		cancel()
	}()
	if _, err := Dial(ctx, addr, Options{}); err == nil {
		t.Error("got no error from Dial, want one")
	}
}

// BenchmarkSend measures encoding and writing of confirmed 256-byte messages
// into a socket that somebody empties.
func BenchmarkSend(b *testing.B) {
	var lc net.ListenConfig
	ln, err := lc.Listen(b.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer ln.Close()
	var wg sync.WaitGroup
	wg.Go(func() {
		nc, err := ln.Accept()
		if err == nil {
			_, _ = io.Copy(io.Discard, nc)
			_ = nc.Close()
		}
	})
	var d net.Dialer
	nc, err := d.DialContext(b.Context(), "tcp", ln.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	c := &Conn{nc: nc, out: batch.NewWriter(nc)}
	tpl, body := NewTemplate("/queue/bench", true), bytes.Repeat([]byte("x"), 256)
	b.SetBytes(int64(len(tpl.Encode(nil, body, 1000))))
	for i := 0; b.Loop(); i++ {
		if err := c.Send(tpl, body, uint64(i)); err != nil {
			b.Fatal(err)
		}
	}
	c.Abort()
	wg.Wait()
}

// BenchmarkRead measures parsing of 256-byte deliveries.
func BenchmarkRead(b *testing.B) {
	frame := "MESSAGE\nsubscription:0\nmessage-id:node-1-123456\nack:123456\ndestination:/queue/bench\ncontent-length:256\n\n" +
		strings.Repeat("x", 256) + "\x00\n"
	r := NewReader(&endless{chunk: []byte(strings.Repeat(frame, 1000))}, 0)
	b.SetBytes(int64(len(frame)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := r.Next(); err != nil {
			b.Fatal(err)
		}
	}
}

type endless struct {
	chunk []byte
	at    int
}

func (e *endless) Read(p []byte) (int, error) {
	n := copy(p, e.chunk[e.at:])
	e.at = (e.at + n) % len(e.chunk)
	return n, nil
}
