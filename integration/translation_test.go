package integration

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/Azure/go-amqp"
	"github.com/go-stomp/stomp/v3"
	"github.com/go-stomp/stomp/v3/frame"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/selvedge-mq/selvedge/integration/harness"
)

// stompClient connects go-stomp; it ends with the test.
func stompClient(t *testing.T, addr string) *stomp.Conn {
	t.Helper()
	c, err := stomp.Dial("tcp", addr, stomp.ConnOpt.Host("/"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.MustDisconnect() })
	return c
}

func stompTake(t *testing.T, s *stomp.Subscription) *stomp.Message {
	t.Helper()
	select {
	case m := <-s.C:
		if m.Err != nil {
			t.Fatal(m.Err)
		}
		return m
	case <-time.After(20 * time.Second):
		t.Fatal("no message came")
	}
	return nil
}

// sentBack are the headers of a MESSAGE that belong to its delivery, not to the
// message: an application that sends a message on leaves them out.
var sentBack = []string{
	frame.Subscription, frame.MessageId, frame.Ack, frame.Destination, frame.ContentType, frame.ContentLength, "redelivered", "delivery-count",
}

// Every field, type and form of body of an AMQP message is there again when a
// STOMP application has taken the message and sent it on with its headers.
func TestAMQP_ThereAndBackBySTOMP(t *testing.T) { thereAndBack(t, translated()) }

// atOnce compares long bytes as a whole.
var atOnce = cmp.FilterValues(func(a, b []byte) bool { return min(len(a), len(b)) > 1<<10 }, cmp.Comparer(bytes.Equal))

// thereAndBack sends AMQP messages to a STOMP application, which sends them on.
func thereAndBack(t *testing.T, messages map[string]*amqp.Message) {
	t.Helper()
	n := harness.Start(t, harness.Options{})
	_, s := goSession(t, n.AMQP)
	c := stompClient(t, n.STOMP)
	sub, err := c.Subscribe("/queue/there", stomp.AckAuto)
	if err != nil {
		t.Fatal(err)
	}
	snd, back := goSender(t, s, "queue://there", nil), goReceiver(t, s, "queue://back", nil)
	for name, in := range messages {
		t.Run(name, func(t *testing.T) {
			if err := snd.Send(shortly(t), in, nil); err != nil {
				t.Fatal(err)
			}
			m := stompTake(t, sub)
			opts := []func(*frame.Frame) error{stomp.SendOpt.Receipt}
			for i := range m.Header.Len() {
				if key, value := m.Header.GetAt(i); !slices.Contains(sentBack, key) {
					opts = append(opts, stomp.SendOpt.Header(key, value))
				}
			}
			if err := c.Send("/queue/back", m.ContentType, m.Body, opts...); err != nil {
				t.Fatal(err)
			}
			got := goTake(t, back)
			if err := back.AcceptMessage(shortly(t), got); err != nil {
				t.Fatal(err)
			}
			delete(got.Annotations, "x-opt-jms-msg-type") // what STOMP says of the body
			delete(got.Annotations, "x-opt-jms-reply-to")
			if diff := cmp.Diff(in, got, cmpopts.IgnoreUnexported(amqp.Message{}), cmpopts.EquateEmpty(), atOnce,
				cmpopts.IgnoreFields(amqp.Message{}, "DeliveryTag"), cmpopts.IgnoreFields(amqp.MessageProperties{}, "To"),
				cmpopts.IgnoreFields(amqp.MessageHeader{}, "DeliveryCount")); diff != "" {
				t.Errorf("message (-sent +came back):\n%s", diff)
			}
		})
	}
}

func translated() map[string]*amqp.Message {
	text := func(v string) *string { return &v }
	created := time.UnixMilli(1_700_000_000_123).UTC()
	sequence := uint32(7)
	header := func() *amqp.MessageHeader { return &amqp.MessageHeader{Durable: true, Priority: 7} }
	properties := func() *amqp.MessageProperties { return &amqp.MessageProperties{CreationTime: &created} }
	m := map[string]*amqp.Message{
		"properties": {
			Header: header(), Annotations: amqp.Annotations{"x-opt-n": int32(5), "x-opt-s": "v"},
			Properties: &amqp.MessageProperties{
				MessageID: amqp.UUID{1, 2, 3}, CorrelationID: uint64(9), Subject: text("s:1\n2"), ReplyTo: text("queue://answers"),
				ContentType: text("application/x-own"), ContentEncoding: text("gzip"), CreationTime: &created,
				GroupID: text("g"), GroupSequence: &sequence, ReplyToGroupID: text("h"),
			},
			ApplicationProperties: map[string]any{
				"bool": true, "byte": int8(-1), "ubyte": uint8(1), "short": int16(-2), "ushort": uint16(2), "int": int32(-3),
				"uint": uint32(3), "long": int64(-4), "ulong": uint64(4), "float": float32(1.5), "double": 2.5, "string": "é: \\ \n",
				"binary": []byte{0, 255}, "time": created, "uuid": amqp.UUID{9}, "destination": "mine", "id": "x", "a=b,c": int32(1),
			},
			Data: [][]byte{[]byte("body")},
		},
		"several data sections": {Header: header(), Properties: properties(), Data: [][]byte{[]byte("a"), []byte("bc"), {}}},
		"a footer":              {Header: header(), Properties: properties(), Data: [][]byte{[]byte("a")}, Footer: amqp.Annotations{"x-sum": uint32(1)}},
		"a sequence":            {Header: header(), Properties: properties(), Sequence: [][]any{{int32(1), "two"}}},
	}
	for i, v := range []any{
		nil, "text é",
		[]byte{0, 1, 255},
		true, int32(-1), uint64(1) << 63, float32(1.5),
		amqp.UUID{1},
		created,
		map[any]any{"k": []any{int64(1), nil}, uint8(1): "x"},
		[]any{"list", []byte("b")},
	} {
		m[fmt.Sprintf("value %d %T", i, v)] = &amqp.Message{Header: header(), Properties: properties(), Value: v}
	}
	return m
}

// What a STOMP application sends is what an AMQP application would: text as text,
// bytes as bytes, its headers as properties.
func TestAMQP_FromSTOMP(t *testing.T) {
	n := harness.Start(t, harness.Options{})
	_, s := goSession(t, n.AMQP)
	r := goReceiver(t, s, "queue://from.stomp", nil)
	c := stompClient(t, n.STOMP)
	err := c.Send("/queue/from.stomp", "application/json", []byte(`{"a":1}`), stomp.SendOpt.Receipt,
		stomp.SendOpt.Header("correlation-id", "AMQP_ULONG:9"), stomp.SendOpt.Header("reply-to", "/queue/answers"),
		stomp.SendOpt.Header("priority", "7"), stomp.SendOpt.Header("persistent", "true"),
		stomp.SendOpt.Header("type", "order"), stomp.SendOpt.Header("own", "a:b\\c\nd"))
	if err != nil {
		t.Fatal(err)
	}
	m := goTake(t, r)
	p := m.Properties
	if p == nil || p.ReplyTo == nil || p.Subject == nil || p.ContentType == nil || m.Header == nil {
		t.Fatalf("got %+v, want properties and a header", m)
	}
	got := []any{
		string(m.GetData()), p.CorrelationID, *p.ReplyTo, *p.Subject, *p.ContentType, m.Header.Priority, m.Header.Durable,
		m.ApplicationProperties["own"],
	}
	want := []any{`{"a":1}`, uint64(9), "queue://answers", "order", "application/json", uint8(7), true, "a:b\\c\nd"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("message (-want +got):\n%s", diff)
	}
	for key := range m.ApplicationProperties {
		if strings.HasPrefix(key, "amqp-") || key == "receipt" {
			t.Errorf("got the property %s, which no application sent", key)
		}
	}
	if err := r.AcceptMessage(shortly(t), m); err != nil {
		t.Fatal(err)
	}
}
