package amqpclient

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/selvedge-mq/selvedge/cmd/selvedge/internal/amqptest"
	"github.com/selvedge-mq/selvedge/protocols/prototest"
	"github.com/selvedge-mq/selvedge/routing"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// serve starts the front-end over a broker in memory.
func serve(t *testing.T, users prototest.Users) (*prototest.Broker, string) {
	t.Helper()
	s, err := amqptest.Open(users)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s.Broker, s.Addr
}

// events records what a connection was told.
type events struct {
	settled  chan string
	messages chan string
}

func (e *events) Settled(token uint64, err error) {
	text := "accepted"
	if err != nil {
		text = err.Error()
	}
	e.settled <- string(rune('0'+token)) + " " + text
}

func (e *events) Message(l *Receiver, body []byte, redelivered bool) {
	text := string(rune('0'+l.Tag)) + " " + string(body)
	if redelivered {
		text += " again"
	}
	e.messages <- text
}

// dial connects and serves; the connection is closed at the end of the test.
func dial(t *testing.T, addr string) (*Conn, *events) {
	t.Helper()
	c, err := Dial(t.Context(), addr, Options{})
	if err != nil {
		t.Fatal(err)
	}
	e := &events{settled: make(chan string, 100), messages: make(chan string, 100)}
	served := make(chan error, 1)
	go func() { served <- c.Serve(e) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := c.Close(ctx); err != nil && !errors.Is(err, ErrClosed) {
			t.Logf("close: %v", err)
		}
		if err := <-served; err != nil {
			t.Logf("served: %v", err)
		}
	})
	return c, e
}

func TestMessagesTravel(t *testing.T) {
	_, addr := serve(t, nil)
	c, e := dial(t, addr)
	s, err := c.AttachSender(t.Context(), "queue://a", "queue", NewTemplate(true), false)
	if err != nil {
		t.Fatal(err)
	}
	large := strings.Repeat("x", 3*maxFrame)
	for i, body := range []string{"hello", "", large} {
		if err := c.Send(t.Context(), s, []byte(body), uint64(i)); err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range []string{"0 accepted", "1 accepted", "2 accepted"} {
		if got := <-e.settled; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	if _, err := c.AttachReceiver(t.Context(), ReceiverOptions{Address: "queue://a", Kind: "queue", Credit: 1, AckEvery: 1, Tag: 7}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"7 hello", "7 ", "7 " + large} {
		if got := <-e.messages; got != want {
			t.Errorf("got %.20q of %d bytes, want %.20q of %d", got, len(got), want, len(want))
		}
	}
}

func TestDeliveriesAreSettledTogether(t *testing.T) {
	broker, addr := serve(t, nil)
	c, e := dial(t, addr)
	for _, name := range []string{"a", "b"} {
		s, err := c.AttachSender(t.Context(), "queue://"+name, "queue", NewTemplate(true), false)
		if err != nil {
			t.Fatal(err)
		}
		for i := range 5 {
			if err := c.Send(t.Context(), s, []byte(name), uint64(i)); err != nil {
				t.Fatal(err)
			}
			<-e.settled
		}
	}
	other, got := dial(t, addr)
	for i, name := range []string{"a", "b"} {
		if _, err := other.AttachReceiver(t.Context(), ReceiverOptions{Address: "queue://" + name, Kind: "queue", Credit: 8, AckEvery: 4, Tag: i}); err != nil {
			t.Fatal(err)
		}
	}
	for range 10 {
		<-got.messages
	}
	if err := other.Close(t.Context()); err != nil { // settles the rest
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if err := broker.Await(ctx, func(r prototest.Record) bool { return len(r.Settled) == 10 }); err != nil {
		t.Errorf("got %d settlements, want 10: %v", len(broker.Record().Settled), err)
	}
}

func TestRefusalsAreTold(t *testing.T) {
	broker, addr := serve(t, nil)
	broker.Fail("send", routing.Queue("a"), &routing.Error{Code: routing.CodeFull, Op: "send", Address: "queue://a"})
	c, e := dial(t, addr)
	s, err := c.AttachSender(t.Context(), "queue://a", "queue", NewTemplate(true), false)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Send(t.Context(), s, []byte("x"), 1); err != nil {
		t.Fatal(err)
	}
	if got := <-e.settled; !strings.HasPrefix(got, "1 the broker says: ") {
		t.Errorf("got %q, want the broker's reason", got)
	}
	if _, err := c.AttachSender(t.Context(), "$management", "queue", NewTemplate(true), false); err == nil || !strings.Contains(err.Error(), "amqp:not-found") {
		t.Errorf("got %v, want amqp:not-found", err)
	}
}

func TestLogin(t *testing.T) {
	_, addr := serve(t, prototest.Users{"ann": "secret"})
	if _, err := Dial(t.Context(), addr, Options{User: "ann", Password: "wrong"}); err == nil || !strings.Contains(err.Error(), "log in: ") {
		t.Errorf("got %v, want a refusal", err)
	}
	c, err := Dial(t.Context(), addr, Options{User: "ann", Password: "secret"})
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- c.Serve(&events{}) }()
	if diff := cmp.Diff([]error{nil, nil}, []error{c.Close(t.Context()), <-served}); diff != "" {
		t.Errorf("close (-want +got):\n%s", diff)
	}
}

// BenchmarkEncode measures what a confirmed transfer of 256 bytes costs before
// it is written.
func BenchmarkEncode(b *testing.B) {
	s := &Sender{template: NewTemplate(true)}
	body, buf := bytes.Repeat([]byte("x"), 256), make([]byte, 0, 1<<10)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		e := s.transfer(buf[:0], uint32(i), false)
		buf = s.template.encode(e.done(6), body)
	}
}
