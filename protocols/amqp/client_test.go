package amqp

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"testing"

	goamqp "github.com/Azure/go-amqp"

	"github.com/selvedge-mq/selvedge/protocols"
	"github.com/selvedge-mq/selvedge/protocols/prototest"
	"github.com/selvedge-mq/selvedge/routing"
)

// [47] [127] In frames of the client's size.
func TestGoAMQP_LargeMessagesTravelInFrames(t *testing.T) {
	ctx := deadline(t)
	s := dial(t, serve(t, memory(t), nil), &goamqp.ConnOptions{MaxFrameSize: 512})
	sender, err := s.NewSender(ctx, "q", nil)
	if err != nil {
		t.Fatal(err)
	}
	receiver, err := s.NewReceiver(ctx, "q", nil)
	if err != nil {
		t.Fatal(err)
	}
	want := bytes.Repeat([]byte("0123456789"), 30_000)
	if err := sender.Send(ctx, goamqp.NewMessage(want), nil); err != nil {
		t.Fatal(err)
	}
	m, err := receiver.Receive(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(m.GetData(), want) {
		t.Errorf("got %d bytes, want the %d that were sent", len(m.GetData()), len(want))
	}
	if err := receiver.AcceptMessage(ctx, m); err != nil {
		t.Fatal(err)
	}
	if got, limit := sender.MaxMessageSize(), uint64(100<<20+routing.MaxHead); got != limit {
		t.Errorf("got a max-message-size of %d, want %d", got, limit)
	}
}

// [124] Any credit, small windows.
func TestGoAMQP_ManyMessagesWithWindowsAndCredit(t *testing.T) {
	const n = 6000 // beyond every window and credit
	ctx := deadline(t)
	node := serve(t, memory(t), nil)
	out, in := dial(t, node, nil), dial(t, node, nil)
	sender, err := out.NewSender(ctx, "q", nil)
	if err != nil {
		t.Fatal(err)
	}
	receiver, err := in.NewReceiver(ctx, "q", &goamqp.ReceiverOptions{Credit: 5000})
	if err != nil {
		t.Fatal(err)
	}
	sent := make(chan error, 1)
	go func() {
		var receipts []goamqp.SendReceipt
		for i := range n {
			r, err := sender.SendWithReceipt(ctx, goamqp.NewMessage(fmt.Append(nil, i)), nil)
			if err != nil {
				sent <- err
				return
			}
			receipts = append(receipts, r)
		}
		for _, r := range receipts {
			if _, err := r.Wait(ctx); err != nil {
				sent <- err
				return
			}
		}
		sent <- nil
	}()
	for i := range n {
		m, err := receiver.Receive(ctx, nil)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := string(m.GetData()), strconv.Itoa(i); got != want {
			t.Fatalf("got message %s, want %s", got, want)
		}
		if err := receiver.AcceptMessage(ctx, m); err != nil {
			t.Fatal(err)
		}
	}
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
}

func TestGoAMQP_DrainCredit(t *testing.T) {
	ctx := deadline(t)
	broker := memory(t)
	s := dial(t, serve(t, broker, nil), nil)
	receiver, err := s.NewReceiver(ctx, "q", &goamqp.ReceiverOptions{Credit: -1})
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err := receiver.IssueCredit(10); err != nil {
			t.Fatal(err)
		}
		if err := receiver.DrainCredit(ctx, nil); err != nil {
			t.Fatal(err)
		}
	}
}

func TestGoAMQP_SecondModeWaitsForTheEngine(t *testing.T) {
	ctx := deadline(t)
	broker := memory(t)
	s := dial(t, serve(t, broker, nil), nil)
	sender, err := s.NewSender(ctx, "q", &goamqp.SenderOptions{RequestedReceiverSettleMode: goamqp.ReceiverSettleModeSecond.Ptr()})
	if err != nil {
		t.Fatal(err)
	}
	receiver, err := s.NewReceiver(ctx, "q", &goamqp.ReceiverOptions{SettlementMode: goamqp.ReceiverSettleModeSecond.Ptr(), Credit: 5})
	if err != nil {
		t.Fatal(err)
	}
	for range 4 {
		if err := sender.Send(ctx, goamqp.NewMessage([]byte("x")), nil); err != nil {
			t.Fatal(err)
		}
	}
	for i, settle := range []func(*goamqp.Message) error{
		func(m *goamqp.Message) error { return receiver.AcceptMessage(ctx, m) },
		func(m *goamqp.Message) error { return receiver.RejectMessage(ctx, m, nil) },
		func(m *goamqp.Message) error { return receiver.AcceptMessage(ctx, m) },
		func(m *goamqp.Message) error {
			return receiver.ModifyMessage(ctx, m, &goamqp.ModifyMessageOptions{DeliveryFailed: true})
		},
	} {
		m, err := receiver.Receive(ctx, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := settle(m); err != nil {
			t.Fatalf("outcome %d: %v", i, err)
		}
	}
	if err := broker.Await(ctx, func(r prototest.Record) bool { return len(r.Settled) >= 4 }); err != nil {
		t.Fatal(err)
	}
	m, err := receiver.Receive(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	if m.Header == nil || m.Header.DeliveryCount != 1 {
		t.Errorf("got header %v, want a delivery-count of 1", m.Header)
	}
}

func TestGoAMQP_ErrorsReachTheClient(t *testing.T) {
	ctx := deadline(t)
	broker := memory(t)
	s := dial(t, serve(t, broker, nil), nil)
	sender, err := s.NewSender(ctx, "q", nil)
	if err != nil {
		t.Fatal(err)
	}
	broker.Fail("send", routing.Queue("q"), &routing.Error{Code: routing.CodeFull, Op: "send", Reason: "the queue is full"})
	var remote *goamqp.Error
	if err := sender.Send(ctx, goamqp.NewMessage([]byte("x")), nil); !errors.As(err, &remote) ||
		remote.Condition != goamqp.ErrCondResourceLimitExceeded || remote.Description != "the queue is full" {
		t.Errorf("got %v, want resource-limit-exceeded", err)
	}
	_, err = s.NewReceiver(ctx, "q", &goamqp.ReceiverOptions{Filters: []goamqp.LinkFilter{goamqp.NewSelectorFilter("a = 1")}})
	var detached *goamqp.LinkError
	if !errors.As(err, &detached) && !errors.As(err, &remote) {
		t.Errorf("got %v, want a refusal", err)
	}
	if err := sender.Close(ctx); err != nil {
		t.Error(err)
	}
	if err := s.Close(ctx); err != nil {
		t.Error(err)
	}
}

func TestGoAMQP_DrainingNodeClosesForced(t *testing.T) {
	ctx := deadline(t)
	n := serve(t, memory(t), nil)
	s := dial(t, n, nil)
	receiver, err := s.NewReceiver(ctx, "q", nil)
	if err != nil {
		t.Fatal(err)
	}
	n.stop(protocols.ErrDraining)
	_, err = receiver.Receive(ctx, nil)
	var closed *goamqp.ConnError
	if !errors.As(err, &closed) || closed.RemoteErr == nil || closed.RemoteErr.Condition != goamqp.ErrCondConnectionForced {
		t.Errorf("got %v, want amqp:connection:forced", err)
	}
}

func TestGoAMQP_WrongPassword(t *testing.T) {
	n := serve(t, memory(t), prototest.Users{"ann": "secret"})
	c, err := goamqp.Dial(deadline(t), n.url, &goamqp.ConnOptions{SASLType: goamqp.SASLTypePlain("ann", "guess")})
	if err == nil {
		c.Close()
		t.Fatal("a wrong password was accepted")
	}
}

func TestGoAMQP_TopicsFanOut(t *testing.T) {
	ctx := deadline(t)
	s := dial(t, serve(t, memory(t), nil), nil)
	var receivers []*goamqp.Receiver
	for _, o := range []*goamqp.ReceiverOptions{nil, {SettlementMode: goamqp.ReceiverSettleModeFirst.Ptr(), RequestedSenderSettleMode: goamqp.SenderSettleModeSettled.Ptr()}} {
		r, err := s.NewReceiver(ctx, "topic://t", o)
		if err != nil {
			t.Fatal(err)
		}
		receivers = append(receivers, r)
	}
	sender, err := s.NewSender(ctx, "t", &goamqp.SenderOptions{TargetCapabilities: []string{"topic"}, SettlementMode: goamqp.SenderSettleModeSettled.Ptr()})
	if err != nil {
		t.Fatal(err)
	}
	if err := sender.Send(ctx, goamqp.NewMessage([]byte("x")), nil); err != nil {
		t.Fatal(err)
	}
	for i, r := range receivers {
		m, err := r.Receive(ctx, nil)
		if err != nil {
			t.Fatalf("receiver %d: %v", i, err)
		}
		if string(m.GetData()) != "x" {
			t.Errorf("receiver %d: got %q, want %q", i, m.GetData(), "x")
		}
	}
}
