package integration

import (
	"fmt"
	"testing"

	"github.com/Azure/go-amqp"
	"github.com/go-stomp/stomp/v3"

	"github.com/selvedge-mq/selvedge/integration/harness"
)

// Questions from one node are answered by way of another, on a temporary queue
// that goes with the client that asked.
func TestSTOMPRequestAndReplyAcrossNodes(t *testing.T) {
	cluster := harness.StartCluster(t, 3)
	asks, serves := dialGoSTOMP(t, cluster.Nodes[0].STOMP), dialGoSTOMP(t, cluster.Nodes[1].STOMP)
	questions, err := serves.Subscribe("/queue/service", stomp.AckAuto)
	ok(t, "subscribe", err)
	answers, err := asks.Subscribe("/temp-queue/answers", stomp.AckAuto)
	ok(t, "subscribe", err)
	var replyTo string
	for i := range 20 {
		body := fmt.Sprint(i)
		ok(t, "ask", asks.Send("/queue/service", "text/plain", []byte("question "+body), stomp.SendOpt.Receipt,
			stomp.SendOpt.Header("reply-to", "/temp-queue/answers"), stomp.SendOpt.Header("correlation-id", body)))
		q := <-questions.C
		ok(t, "receive", q.Err)
		replyTo = q.Header.Get("reply-to")
		ok(t, "answer", serves.Send(replyTo, "text/plain", []byte("answer "+body), stomp.SendOpt.Receipt,
			stomp.SendOpt.Header("correlation-id", q.Header.Get("correlation-id"))))
		a := <-answers.C
		ok(t, "receive", a.Err)
		if string(a.Body) != "answer "+body || a.Header.Get("correlation-id") != body || a.Destination != "/temp-queue/answers" {
			t.Fatalf("got %q, correlation %q, from %q, want answer %s", a.Body, a.Header.Get("correlation-id"), a.Destination, body)
		}
	}
	thief := dialGoSTOMP(t, cluster.Nodes[2].STOMP)
	stolen, err := thief.Subscribe(replyTo, stomp.AckAuto)
	ok(t, "subscribe", err)
	if m := <-stolen.C; m.Err == nil {
		t.Errorf("got %q from another's temporary queue, want an error", m.Body)
	}
}

// A question in one protocol is answered in the other, both ways.
func TestRequestAndReplyAcrossProtocols(t *testing.T) {
	n := harness.Start(t, harness.Options{})
	ctx := bounded(t)
	client, err := amqp.Dial(ctx, "amqp://"+n.AMQP, nil)
	ok(t, "dial", err)
	defer client.Close()
	session, err := client.NewSession(ctx, nil)
	ok(t, "begin", err)
	c := dialGoSTOMP(t, n.STOMP)

	t.Run("STOMP asks", func(t *testing.T) {
		answers, err := c.Subscribe("/temp-queue/answers", stomp.AckAuto)
		ok(t, "subscribe", err)
		ok(t, "ask", c.Send("/queue/served.by.amqp", "text/plain", []byte("question"), stomp.SendOpt.Receipt,
			stomp.SendOpt.Header("reply-to", "/temp-queue/answers")))
		questions, err := session.NewReceiver(ctx, "served.by.amqp", nil)
		ok(t, "attach", err)
		q, err := questions.Receive(ctx, nil)
		ok(t, "receive", err)
		if q.Properties == nil || q.Properties.ReplyTo == nil {
			t.Fatalf("got %+v, want a reply-to", q.Properties)
		}
		sender, err := session.NewSender(ctx, *q.Properties.ReplyTo, nil)
		ok(t, "attach", err)
		ok(t, "answer", sender.Send(ctx, amqp.NewMessage([]byte("answer")), nil))
		ok(t, "accept", questions.AcceptMessage(ctx, q))
		if a := <-answers.C; a.Err != nil || string(a.Body) != "answer" {
			t.Errorf("got %q, %v, want the answer", a.Body, a.Err)
		}
	})

	t.Run("AMQP asks", func(t *testing.T) {
		answers, err := session.NewReceiver(ctx, "", &amqp.ReceiverOptions{DynamicAddress: true})
		ok(t, "attach", err)
		replyTo := answers.Address()
		sender, err := session.NewSender(ctx, "served.by.stomp", nil)
		ok(t, "attach", err)
		question := amqp.NewMessage([]byte("question"))
		question.Properties = &amqp.MessageProperties{ReplyTo: &replyTo}
		ok(t, "ask", sender.Send(ctx, question, nil))
		questions, err := c.Subscribe("/queue/served.by.stomp", stomp.AckAuto)
		ok(t, "subscribe", err)
		q := <-questions.C
		ok(t, "receive", q.Err)
		ok(t, "answer", c.Send(q.Header.Get("reply-to"), "text/plain", []byte("answer"), stomp.SendOpt.Receipt))
		a, err := answers.Receive(ctx, nil)
		ok(t, "receive", err)
		if got := string(a.GetData()); got != "answer" {
			t.Errorf("got %q, want the answer", got)
		}
	})
}
