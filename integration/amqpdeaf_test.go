package integration

import (
	"bytes"
	"testing"

	"github.com/Azure/go-amqp"

	"github.com/selvedge-mq/selvedge/integration/harness"
)

// What a deaf receiver costs is bounded in octets, with a credit of ten thousand messages
// of any size, whether they come settled or not: what is beyond stays in its queue, and
// the receiver gets all of it when it reads on, each once and in order.
func TestADeafAMQPReceiverCostsABoundedMemory(t *testing.T) {
	const count, size = 600, 500 << 10 // what is larger waits in the log
	n := harness.Start(t, harness.Options{})
	gates, receivers := map[string]*gate{}, map[string]*amqp.Receiver{}
	for name, mode := range map[string]amqp.SenderSettleMode{"unsettled": amqp.SenderSettleModeUnsettled, "settled": amqp.SenderSettleModeSettled} {
		g, s := gated(t, n.AMQP, true, size)
		r, err := s.NewReceiver(shortly(t), name, &amqp.ReceiverOptions{Credit: 10_000, RequestedSenderSettleMode: &mode})
		ok(t, "receiver", err)
		gates[name], receivers[name] = g, r
		t.Cleanup(func() { g.Close() })
	}
	conn, err := amqp.Dial(shortly(t), "amqp://"+n.AMQP, nil)
	ok(t, "dial", err)
	defer conn.Close()
	s, err := conn.NewSession(shortly(t), nil)
	ok(t, "session", err)
	body := bytes.Repeat([]byte("."), size)
	for name := range receivers {
		out, err := s.NewSender(shortly(t), name, nil)
		ok(t, "sender", err)
		for i := range uint64(count) {
			m := amqp.NewMessage(body)
			m.Header = &amqp.MessageHeader{Durable: true}
			m.Properties = &amqp.MessageProperties{MessageID: i}
			ok(t, "send", out.Send(shortly(t), m, nil))
		}
	}
	inBounds(t, []*harness.Node{n})
	for name, r := range receivers {
		<-gates[name].reached
		close(gates[name].opened)
		for i := range uint64(count) {
			m, err := r.Receive(shortly(t), nil)
			ok(t, "receive", err)
			if m.Properties.MessageID != i || m.Header.DeliveryCount != 0 {
				t.Fatalf("%s: got the message %v, attempt %d, want %d for the first time", name, m.Properties.MessageID, m.Header.DeliveryCount, i)
			}
			ok(t, "accept", r.AcceptMessage(shortly(t), m))
		}
		harness.AwaitDepth(t, n.HTTP, name, 0)
	}
	inBounds(t, []*harness.Node{n})
}
