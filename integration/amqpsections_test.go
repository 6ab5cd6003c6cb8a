package integration

import (
	"strings"
	"testing"
	"time"

	"github.com/Azure/go-amqp"
	"github.com/go-stomp/stomp/v3"

	"github.com/selvedge-mq/selvedge/integration/harness"
)

// Bodies that are not one run of bytes are converted for STOMP however large they are,
// as long as a node takes them as a whole: 512 KiB and more of them were dead letters.
func TestAMQP_LargeSectionsThereAndBackBySTOMP(t *testing.T) {
	body := noise(1<<20, 5)
	created := time.UnixMilli(1_700_000_000_123).UTC()
	with := func(m *amqp.Message) *amqp.Message {
		m.Header = &amqp.MessageHeader{Durable: true, Priority: 7}
		m.Properties = &amqp.MessageProperties{CreationTime: &created}
		return m
	}
	thereAndBack(t, map[string]*amqp.Message{
		"several data sections": with(&amqp.Message{Data: [][]byte{body[:700_000], body[700_000:], {}}}),
		"many data sections":    with(&amqp.Message{Data: [][]byte{body, body, body[:3]}}),
		"a footer":              with(&amqp.Message{Data: [][]byte{body}, Footer: amqp.Annotations{"x-sum": uint32(1)}}),
		"a sequence":            with(&amqp.Message{Sequence: [][]any{{int32(1), body}, {"two"}}}),
		"a list":                with(&amqp.Message{Value: []any{body, strings.Repeat("x", 1<<20)}}),
		"a map":                 with(&amqp.Message{Value: map[any]any{"k": body, uint8(1): "x"}}),
	})
}

// What a node does not take as a whole cannot be converted, and is a dead letter as
// before; AMQP clients have it as it is.
func TestAMQP_LargeSectionsBeyondAWhole(t *testing.T) {
	n := harness.Start(t, harness.Options{})
	_, s := goSession(t, n.AMQP)
	c := stompClient(t, n.STOMP)
	if _, err := c.Subscribe("/queue/beyond", stomp.AckAuto); err != nil {
		t.Fatal(err)
	}
	body := noise(5<<20, 6)
	in := amqp.Message{Data: [][]byte{body[:1<<20], body[1<<20:]}}
	if err := goSender(t, s, "queue://beyond", nil).Send(shortly(t), &in, nil); err != nil {
		t.Fatal(err)
	}
	r := goReceiver(t, s, "queue://ActiveMQ.DLQ", nil)
	got := goTake(t, r)
	if len(got.Data) != 2 || len(got.Data[0]) != 1<<20 || len(got.Data[1]) != 4<<20 {
		t.Errorf("got %d data sections, want the two that were sent", len(got.Data))
	}
	if err := r.AcceptMessage(shortly(t), got); err != nil {
		t.Fatal(err)
	}
}
