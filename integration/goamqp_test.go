package integration

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/Azure/go-amqp"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/selvedge-mq/selvedge/integration/harness"
)

// shortly returns a context for one request of a client.
func shortly(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// goSession opens a session with go-amqp; it ends with the test.
func goSession(t *testing.T, addr string) (*amqp.Conn, *amqp.Session) {
	t.Helper()
	ctx := shortly(t)
	c, err := amqp.Dial(ctx, "amqp://"+addr, &amqp.ConnOptions{SASLType: amqp.SASLTypeAnonymous()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	s, err := c.NewSession(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	return c, s
}

// goReceiver attaches a receiver, goSender a sender.
func goReceiver(t *testing.T, s *amqp.Session, address string, o *amqp.ReceiverOptions) *amqp.Receiver {
	t.Helper()
	r, err := s.NewReceiver(shortly(t), address, o)
	if err != nil {
		t.Fatalf("attach a receiver to %s: %v", address, err)
	}
	return r
}

func goSender(t *testing.T, s *amqp.Session, address string, o *amqp.SenderOptions) *amqp.Sender {
	t.Helper()
	snd, err := s.NewSender(shortly(t), address, o)
	if err != nil {
		t.Fatalf("attach a sender to %s: %v", address, err)
	}
	return snd
}

func goSend(t *testing.T, s *amqp.Sender, bodies ...string) {
	t.Helper()
	for _, b := range bodies {
		if err := s.Send(shortly(t), amqp.NewMessage([]byte(b)), nil); err != nil {
			t.Fatalf("send %s: %v", b, err)
		}
	}
}

func goTake(t *testing.T, r *amqp.Receiver) *amqp.Message {
	t.Helper()
	m, err := r.Receive(shortly(t), nil)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestAMQP_GoAMQP(t *testing.T) {
	n := harness.Start(t, harness.Options{})
	for _, c := range []struct {
		name string
		test func(t *testing.T, s *amqp.Session)
	}{
		{"every field arrives as it was sent", goFields},
		{"outcomes do what they say", goOutcomes},
		{"settle modes are granted", goModes},
		{"credit of one, and by hand", goCredit},
		{"a drain ends when the queue is empty", goDrain},
		{"a large message comes whole", goLarge},
		{"what cannot be attached is refused, the session lives", goRefused},
		{"a message of the relay goes where it says", goRelay},
		{"an answer comes to a dynamic address", goDynamic},
		{"a selector is honored or refused", goSelector},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, s := goSession(t, n.AMQP)
			c.test(t, s)
		})
	}
}

func goFields(t *testing.T, s *amqp.Session) {
	t.Helper()
	text := func(v string) *string { return &v }
	now := time.UnixMilli(time.Now().UnixMilli()).UTC()
	group := uint32(7)
	in := &amqp.Message{
		Header:      &amqp.MessageHeader{Durable: true, Priority: 7},
		Annotations: amqp.Annotations{"x-opt-number": int32(5), "x-opt-list": []any{int64(1), "two"}},
		Properties: &amqp.MessageProperties{
			MessageID: amqp.UUID{1, 2, 3}, CorrelationID: uint64(9), UserID: []byte("ann"), To: text("go.fields"),
			Subject: text("subject"), ReplyTo: text("queue://answers"), ContentType: text("application/x-own"),
			ContentEncoding: text("gzip"), CreationTime: &now, GroupID: text("g"), GroupSequence: &group, ReplyToGroupID: text("h"),
		},
		ApplicationProperties: map[string]any{
			"bool": true, "byte": int8(-1), "ubyte": uint8(1), "short": int16(-2), "ushort": uint16(2), "int": int32(-3),
			"uint": uint32(3), "long": int64(-4), "ulong": uint64(4), "float": float32(1.5), "double": 2.5, "string": "é",
			"binary": []byte{0, 255}, "time": now, "uuid": amqp.UUID{9}, "null": nil,
		},
		Value:  map[any]any{"key": []any{int32(1), true, nil, "x"}, uint8(2): 3.5},
		Footer: amqp.Annotations{"x-sum": uint32(1)},
	}
	snd, r := goSender(t, s, "go.fields", nil), goReceiver(t, s, "go.fields", nil)
	if err := snd.Send(shortly(t), in, nil); err != nil {
		t.Fatal(err)
	}
	got := goTake(t, r)
	if diff := cmp.Diff(in, got, cmpopts.IgnoreUnexported(amqp.Message{}), cmpopts.IgnoreFields(amqp.Message{}, "DeliveryTag")); diff != "" {
		t.Errorf("message (-sent +received):\n%s", diff)
	}
	if err := r.AcceptMessage(shortly(t), got); err != nil {
		t.Fatal(err)
	}
}

func goOutcomes(t *testing.T, s *amqp.Session) {
	t.Helper()
	ctx := shortly(t)
	snd, r := goSender(t, s, "go.outcomes", nil), goReceiver(t, s, "go.outcomes", nil)
	dead := goReceiver(t, s, "ActiveMQ.DLQ", nil)
	goSend(t, snd, "rejected")
	if err := r.RejectMessage(ctx, goTake(t, r), &amqp.Error{Condition: "x:bad", Description: "no good"}); err != nil {
		t.Fatal(err)
	}
	goExpect(t, dead, "rejected", 0)
	goSend(t, snd, "released")
	if err := r.ReleaseMessage(ctx, goTake(t, r)); err != nil {
		t.Fatal(err)
	}
	goExpect(t, r, "released", 0)
	goSend(t, snd, "modified")
	if err := r.ModifyMessage(ctx, goTake(t, r), &amqp.ModifyMessageOptions{}); err != nil {
		t.Fatal(err)
	}
	goExpect(t, r, "modified", 0)
	goSend(t, snd, "failed")
	if err := r.ModifyMessage(ctx, goTake(t, r), &amqp.ModifyMessageOptions{DeliveryFailed: true}); err != nil {
		t.Fatal(err)
	}
	goExpect(t, r, "failed", 1)
}

// goExpect receives a message with that count of failed attempts, and accepts it.
func goExpect(t *testing.T, r *amqp.Receiver, body string, count uint32) {
	t.Helper()
	m := goTake(t, r)
	got := uint32(0)
	if m.Header != nil {
		got = m.Header.DeliveryCount
	}
	if string(m.GetData()) != body || got != count {
		t.Errorf("got %q with a delivery-count of %d, want %q with %d", m.GetData(), got, body, count)
	}
	if err := r.AcceptMessage(shortly(t), m); err != nil {
		t.Fatal(err)
	}
}

func goModes(t *testing.T, s *amqp.Session) {
	t.Helper()
	ctx := shortly(t)
	for _, snd := range []amqp.SenderSettleMode{amqp.SenderSettleModeUnsettled, amqp.SenderSettleModeSettled, amqp.SenderSettleModeMixed} {
		for _, rcv := range []amqp.ReceiverSettleMode{amqp.ReceiverSettleModeFirst, amqp.ReceiverSettleModeSecond} {
			queue := fmt.Sprintf("go.modes.%d.%d", snd, rcv)
			send := goSender(t, s, queue, &amqp.SenderOptions{SettlementMode: snd.Ptr()})
			r := goReceiver(t, s, queue, &amqp.ReceiverOptions{SettlementMode: rcv.Ptr()})
			goSend(t, send, "x")
			if err := r.AcceptMessage(ctx, goTake(t, r)); err != nil {
				t.Errorf("%s: accept: %v", queue, err)
			}
		}
	}
}

func goCredit(t *testing.T, s *amqp.Session) {
	t.Helper()
	ctx := shortly(t)
	snd := goSender(t, s, "go.credit", nil)
	one := goReceiver(t, s, "go.credit", &amqp.ReceiverOptions{Credit: 1})
	for i := range 20 {
		goSend(t, snd, fmt.Sprint(i))
		m := goTake(t, one)
		if got := string(m.GetData()); got != fmt.Sprint(i) {
			t.Fatalf("got %q, want %d", got, i)
		}
		if err := one.AcceptMessage(ctx, m); err != nil {
			t.Fatal(err)
		}
	}
	if err := one.Close(ctx); err != nil {
		t.Fatal(err)
	}
	manual := goReceiver(t, s, "go.credit", &amqp.ReceiverOptions{Credit: -1})
	goSend(t, snd, "a", "b", "c")
	if err := manual.IssueCredit(2); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"a", "b"} {
		m := goTake(t, manual)
		if got := string(m.GetData()); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
		if err := manual.AcceptMessage(ctx, m); err != nil {
			t.Fatal(err)
		}
	}
	if m := manual.Prefetched(); m != nil {
		t.Errorf("got %q beyond the credit", m.GetData())
	}
}

func goDrain(t *testing.T, s *amqp.Session) {
	t.Helper()
	ctx := shortly(t)
	snd := goSender(t, s, "go.drain", nil)
	r := goReceiver(t, s, "go.drain", &amqp.ReceiverOptions{Credit: -1})
	for round := range 3 {
		goSend(t, snd, "a", "b")
		if err := r.IssueCredit(10); err != nil {
			t.Fatal(err)
		}
		first := goTake(t, r) // the client may send a drain ahead of credit that it has not sent yet
		if err := r.DrainCredit(ctx, nil); err != nil {
			t.Fatalf("drain %d: %v", round, err)
		}
		second := r.Prefetched()
		if second == nil || string(first.GetData())+string(second.GetData()) != "ab" || r.Prefetched() != nil {
			t.Fatalf("round %d: got %v and %v, want a and b", round, first, second)
		}
		for _, m := range []*amqp.Message{first, second} {
			if err := r.AcceptMessage(ctx, m); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func goLarge(t *testing.T, s *amqp.Session) {
	t.Helper()
	snd, r := goSender(t, s, "go.large", nil), goReceiver(t, s, "go.large", nil)
	body := bytes.Repeat([]byte("0123456789abcdef"), 200_000) // 3.2 MB
	if err := snd.Send(shortly(t), amqp.NewMessage(body), nil); err != nil {
		t.Fatal(err)
	}
	m := goTake(t, r)
	if !bytes.Equal(m.GetData(), body) {
		t.Errorf("got %d bytes, want the %d that were sent", len(m.GetData()), len(body))
	}
	if err := r.AcceptMessage(shortly(t), m); err != nil {
		t.Fatal(err)
	}
	if got := snd.MaxMessageSize(); got == 0 {
		t.Error("the node tells no max-message-size")
	}
}

func goRefused(t *testing.T, s *amqp.Session) {
	t.Helper()
	ctx := shortly(t)
	_, err := s.NewReceiver(ctx, "go.refused", &amqp.ReceiverOptions{
		Filters: []amqp.LinkFilter{amqp.NewLinkFilter("odd:filter", 0x99, "x")},
	})
	condition(t, err, amqp.ErrCondNotImplemented)
	_, err = s.NewSender(ctx, "$management", nil)
	condition(t, err, amqp.ErrCondNotFound)
	goSend(t, goSender(t, s, "go.refused", nil), "still here")
}

// condition checks what a link was refused with.
func condition(t *testing.T, err error, want amqp.ErrCond) {
	t.Helper()
	var e *amqp.Error
	if !errors.As(err, &e) || e.Condition != want {
		t.Errorf("got %v, want a link refused with %s", err, want)
	}
}

func goRelay(t *testing.T, s *amqp.Session) {
	t.Helper()
	relay, r := goSender(t, s, "", nil), goReceiver(t, s, "go.relay", nil)
	to := "queue://go.relay"
	m := amqp.NewMessage([]byte("x"))
	m.Properties = &amqp.MessageProperties{To: &to}
	if err := relay.Send(shortly(t), m, nil); err != nil {
		t.Fatal(err)
	}
	got := goTake(t, r)
	if string(got.GetData()) != "x" {
		t.Errorf("got %q, want x", got.GetData())
	}
	if err := r.AcceptMessage(shortly(t), got); err != nil {
		t.Fatal(err)
	}
	m.Properties = nil
	var e *amqp.Error
	if err := relay.Send(shortly(t), m, nil); !errors.As(err, &e) || e.Condition != amqp.ErrCondPreconditionFailed {
		t.Errorf("got %v for a message without an address, want %s", err, amqp.ErrCondPreconditionFailed)
	}
}

func goDynamic(t *testing.T, s *amqp.Session) {
	t.Helper()
	answers, err := s.NewReceiver(shortly(t), "", &amqp.ReceiverOptions{DynamicAddress: true})
	if err != nil {
		t.Fatal(err)
	}
	reply := answers.Address()
	if reply == "" {
		t.Fatal("the dynamic source has no address")
	}
	ask, asked := goSender(t, s, "go.requests", nil), goReceiver(t, s, "go.requests", nil)
	question := amqp.NewMessage([]byte("?"))
	question.Properties = &amqp.MessageProperties{ReplyTo: &reply}
	if err := ask.Send(shortly(t), question, nil); err != nil {
		t.Fatal(err)
	}
	m := goTake(t, asked)
	if err := asked.AcceptMessage(shortly(t), m); err != nil {
		t.Fatal(err)
	}
	goSend(t, goSender(t, s, *m.Properties.ReplyTo, nil), "!")
	goExpect(t, answers, "!", 0)
}

func goSelector(t *testing.T, s *amqp.Session) {
	t.Helper()
	ctx := shortly(t)
	snd := goSender(t, s, "go.selector", nil)
	for _, color := range []string{"green", "red", "green"} {
		m := amqp.NewMessage([]byte(color))
		m.ApplicationProperties = map[string]any{"color": color}
		if err := snd.Send(ctx, m, nil); err != nil {
			t.Fatal(err)
		}
	}
	r, err := s.NewReceiver(ctx, "go.selector", &amqp.ReceiverOptions{
		Filters: []amqp.LinkFilter{amqp.NewSelectorFilter("color = 'red'")},
	})
	if err != nil {
		condition(t, err, amqp.ErrCondNotImplemented)
		return
	}
	goExpect(t, r, "red", 0)
}

// The open tells where else a client may connect; when its node dies it does,
// and finds what was accepted.
func TestAMQP_FailoverToAnotherNode(t *testing.T) {
	cluster := harness.StartCluster(t, 3)
	first := cluster.Nodes[0]
	conn, s := goSession(t, first.AMQP)
	snd := goSender(t, s, "go.failover", nil)
	for i := range 20 {
		m := amqp.NewMessage([]byte(fmt.Sprint(i)))
		m.Header = &amqp.MessageHeader{Durable: true}
		if err := snd.Send(shortly(t), m, nil); err != nil {
			t.Fatal(err)
		}
	}
	others := failoverList(t, conn)
	if len(others) != 2 {
		t.Fatalf("got the failover list %v, want the two other nodes", others)
	}
	first.Kill()
	_, s = goSession(t, others[0])
	r := goReceiver(t, s, "go.failover", &amqp.ReceiverOptions{Credit: 20})
	for i := range 20 {
		m := goTake(t, r)
		if got := string(m.GetData()); got != fmt.Sprint(i) {
			t.Fatalf("got %q after the failover, want %d", got, i)
		}
		if err := r.AcceptMessage(shortly(t), m); err != nil {
			t.Fatal(err)
		}
	}
}

// failoverList returns the addresses of other nodes that the open named.
func failoverList(t *testing.T, c *amqp.Conn) []string {
	t.Helper()
	list, _ := c.Properties()["failover-server-list"].([]any)
	var addrs []string
	for _, entry := range list {
		m, ok := entry.(map[any]any)
		if !ok {
			if own, isString := entry.(map[string]any); isString {
				addrs = append(addrs, fmt.Sprintf("%v:%v", own["network-host"], own["port"]))
				continue
			}
			t.Fatalf("got %#v in the failover list", entry)
		}
		addrs = append(addrs, fmt.Sprintf("%v:%v", m[amqp.Symbol("network-host")], m[amqp.Symbol("port")]))
	}
	for _, a := range addrs {
		if _, err := url.Parse("amqp://" + a); err != nil || strings.Contains(a, "<nil>") {
			t.Fatalf("got address %q in the failover list", a)
		}
	}
	return addrs
}

// The end of a session without close, as a crashed process leaves it, gives its
// deliveries back.
func TestAMQP_CrashedConsumer(t *testing.T) {
	n := harness.Start(t, harness.Options{})
	_, s := goSession(t, n.AMQP)
	goSend(t, goSender(t, s, "go.crash", nil), "a", "b")
	ctx, cancel := context.WithCancel(shortly(t))
	nc, err := dialTCP(ctx, n.AMQP)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := amqp.NewConn(ctx, nc, &amqp.ConnOptions{SASLType: amqp.SASLTypeAnonymous()})
	if err != nil {
		t.Fatal(err)
	}
	defer cancel()
	crash, err := conn.NewSession(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	r := goReceiver(t, crash, "go.crash", &amqp.ReceiverOptions{Credit: 2})
	goTake(t, r)
	goTake(t, r)
	_ = nc.Close()
	again := goReceiver(t, s, "go.crash", &amqp.ReceiverOptions{Credit: 2})
	for _, want := range []string{"a", "b"} {
		m := goTake(t, again)
		if got := string(m.GetData()); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
		if m.Header == nil || m.Header.DeliveryCount == 0 {
			t.Errorf("got %q without a count of attempts: nobody knows what became of it", want)
		}
	}
}

// dialTCP opens a connection that a test can break.
func dialTCP(ctx context.Context, addr string) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, "tcp", addr)
}
