package amqp

import (
	"context"
	"net"
	"sync"
	"testing"
	"time"

	goamqp "github.com/Azure/go-amqp"
	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"github.com/selvedge-mq/selvedge/protocols"
	"github.com/selvedge-mq/selvedge/protocols/prototest"
	"github.com/selvedge-mq/selvedge/routing"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// node is a front-end on a loopback port, over a broker.
type node struct {
	broker routing.Broker
	url    string
	stop   context.CancelCauseFunc
}

// serve starts a front-end on loopback; it ends with the test.
func serve(tb testing.TB, broker routing.Broker, users prototest.Users) *node {
	tb.Helper()
	f, err := New(Options{Env: protocols.Env{
		Broker: broker, Auth: users, Log: zerolog.Nop(), Node: "n1", Version: "0.1.0",
		Codecs: routing.Codecs{routing.EncodingSTOMP: lines{}, routing.EncodingAMQP: Codec{}},
	}})
	if err != nil {
		tb.Fatal(err)
	}
	ln, err := new(net.ListenConfig).Listen(tb.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { _ = f.Serve(ctx, nc) })
		}
	})
	tb.Cleanup(func() {
		ln.Close()
		cancel(context.Canceled)
		wg.Wait()
	})
	return &node{broker: broker, url: "amqp://" + ln.Addr().String(), stop: cancel}
}

func memory(tb testing.TB) *prototest.Broker {
	tb.Helper()
	b := prototest.New()
	tb.Cleanup(b.Close)
	return b
}

func deadline(tb testing.TB) context.Context {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	tb.Cleanup(cancel)
	return ctx
}

func dial(t *testing.T, n *node, o *goamqp.ConnOptions) *goamqp.Session {
	t.Helper()
	ctx := deadline(t)
	conn, err := goamqp.Dial(ctx, n.url, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	s, err := conn.NewSession(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestGoAMQP_SendsAndReceives(t *testing.T) {
	for _, c := range []struct {
		name  string
		users prototest.Users
		o     *goamqp.ConnOptions
	}{
		{"without SASL", nil, nil},
		{"anonymous", nil, &goamqp.ConnOptions{SASLType: goamqp.SASLTypeAnonymous()}},
		{"with a login", prototest.Users{"ann": "secret"}, &goamqp.ConnOptions{SASLType: goamqp.SASLTypePlain("ann", "secret")}},
	} {
		t.Run(c.name, func(t *testing.T) {
			ctx := deadline(t)
			n := serve(t, memory(t), c.users)
			s := dial(t, n, c.o)
			sender, err := s.NewSender(ctx, "q", nil)
			if err != nil {
				t.Fatal(err)
			}
			receiver, err := s.NewReceiver(ctx, "q", &goamqp.ReceiverOptions{Credit: 10})
			if err != nil {
				t.Fatal(err)
			}
			for _, body := range []string{"a", "b", "c"} {
				if err := sender.Send(ctx, goamqp.NewMessage([]byte(body)), nil); err != nil {
					t.Fatal(err)
				}
			}
			for _, want := range []string{"a", "b", "c"} {
				m, err := receiver.Receive(ctx, nil)
				if err != nil {
					t.Fatal(err)
				}
				if got := string(m.GetData()); got != want {
					t.Errorf("got %q, want %q", got, want)
				}
				if err := receiver.AcceptMessage(ctx, m); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}
