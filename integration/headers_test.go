package integration

import (
	"bytes"
	"encoding/json"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/Azure/go-amqp"
	"github.com/go-stomp/stomp/v3"
	"github.com/google/go-cmp/cmp"

	"github.com/selvedge-mq/selvedge/integration/harness"
)

// fields are what a message says, in words that both protocols have.
type fields map[string]string

func sample() fields {
	return fields{
		"body": "Grüße", "correlation": "c:1", "reply": "answers", "subject": "order", "priority": "7", "durable": "true", "own": "a:b\\c",
	}
}

// headersClient is a client that sends and receives one message.
type headersClient struct {
	name    string
	addr    func(n *harness.Node) string
	send    func(t *testing.T, addr, queue string, f fields)
	receive func(t *testing.T, addr, queue string) fields
}

// Every client of one protocol sends to every client of the other, and all that
// the message says arrives.
func TestAMQP_HeadersFromAndToSTOMP(t *testing.T) {
	beside(t)
	needProton(t)
	n := harness.Start(t, harness.Options{})
	byAMQP := func(n *harness.Node) string { return n.AMQP }
	bySTOMP := func(n *harness.Node) string { return n.STOMP }
	stomps := []headersClient{
		{"go-stomp", bySTOMP, goSTOMPSend, goSTOMPReceive},
		{"python3-stomp", bySTOMP, pythonSend("stomp"), pythonReceive("stomp")},
	}
	amqps := []headersClient{
		{"go-amqp", byAMQP, goAMQPSend, goAMQPReceive},
		{"python3-qpid-proton", byAMQP, pythonSend("amqp"), pythonReceive("amqp")},
	}
	exchange := func(from, to headersClient) {
		t.Run(from.name+" to "+to.name, func(t *testing.T) {
			queue := "headers." + from.name + "." + to.name
			from.send(t, from.addr(n), queue, sample())
			if diff := cmp.Diff(sample(), to.receive(t, to.addr(n), queue)); diff != "" {
				t.Errorf("message (-sent +received):\n%s", diff)
			}
		})
	}
	for _, s := range stomps {
		for _, a := range amqps {
			exchange(s, a)
			exchange(a, s)
		}
	}
}

func goSTOMPSend(t *testing.T, addr, queue string, f fields) {
	t.Helper()
	err := stompClient(t, addr).Send("/queue/"+queue, "", []byte(f["body"]), stomp.SendOpt.Receipt, stomp.SendOpt.NoContentLength,
		stomp.SendOpt.Header("correlation-id", f["correlation"]), stomp.SendOpt.Header("reply-to", "/queue/"+f["reply"]),
		stomp.SendOpt.Header("type", f["subject"]), stomp.SendOpt.Header("priority", f["priority"]),
		stomp.SendOpt.Header("persistent", f["durable"]), stomp.SendOpt.Header("own", f["own"]))
	if err != nil {
		t.Fatal(err)
	}
}

func goSTOMPReceive(t *testing.T, addr, queue string) fields {
	t.Helper()
	sub, err := stompClient(t, addr).Subscribe("/queue/"+queue, stomp.AckAuto)
	if err != nil {
		t.Fatal(err)
	}
	m := stompTake(t, sub)
	reply := m.Header.Get("reply-to")
	return fields{
		"body": string(m.Body), "correlation": m.Header.Get("correlation-id"), "reply": reply[strings.LastIndex(reply, "/")+1:],
		"subject": m.Header.Get("type"), "priority": m.Header.Get("priority"), "durable": m.Header.Get("persistent"), "own": m.Header.Get("own"),
	}
}

func goAMQPSend(t *testing.T, addr, queue string, f fields) {
	t.Helper()
	_, s := goSession(t, addr)
	priority, err := strconv.ParseUint(f["priority"], 10, 8)
	if err != nil {
		t.Fatal(err)
	}
	subject, reply := f["subject"], "queue://"+f["reply"]
	m := &amqp.Message{
		Header:     &amqp.MessageHeader{Durable: f["durable"] == "true", Priority: uint8(priority)},
		Properties: &amqp.MessageProperties{CorrelationID: f["correlation"], Subject: &subject, ReplyTo: &reply},
		Value:      f["body"], ApplicationProperties: map[string]any{"own": f["own"]},
	}
	if err := goSender(t, s, "queue://"+queue, nil).Send(shortly(t), m, nil); err != nil {
		t.Fatal(err)
	}
}

func goAMQPReceive(t *testing.T, addr, queue string) fields {
	t.Helper()
	_, s := goSession(t, addr)
	r := goReceiver(t, s, "queue://"+queue, nil)
	m := goTake(t, r)
	if err := r.AcceptMessage(shortly(t), m); err != nil {
		t.Fatal(err)
	}
	p := m.Properties
	if p == nil || p.ReplyTo == nil || p.Subject == nil || m.Header == nil {
		t.Fatalf("got %+v, want a header and properties", m)
	}
	text := func(v any) string {
		s, ok := v.(string)
		if !ok {
			t.Errorf("got %T, want a string", v)
		}
		return s
	}
	return fields{
		"body": text(m.Value), "correlation": text(p.CorrelationID), "reply": strings.TrimPrefix(*p.ReplyTo, "queue://"), "subject": *p.Subject,
		"priority": strconv.Itoa(int(m.Header.Priority)), "durable": strconv.FormatBool(m.Header.Durable), "own": text(m.ApplicationProperties["own"]),
	}
}

func pythonSend(protocol string) func(t *testing.T, addr, queue string, f fields) {
	return func(t *testing.T, addr, queue string, f fields) {
		t.Helper()
		b, err := json.Marshal(f)
		if err != nil {
			t.Fatal(err)
		}
		runHeaders(t, b, protocol, "send", addr, queue)
	}
}

func pythonReceive(protocol string) func(t *testing.T, addr, queue string) fields {
	return func(t *testing.T, addr, queue string) fields {
		t.Helper()
		var f fields
		if err := json.Unmarshal(runHeaders(t, nil, protocol, "receive", addr, queue), &f); err != nil {
			t.Fatal(err)
		}
		return f
	}
}

// runHeaders runs testdata/headersclient.py and returns what it printed.
func runHeaders(t *testing.T, stdin []byte, args ...string) []byte {
	t.Helper()
	cmd := exec.CommandContext(shortly(t), python, append([]string{"testdata/headersclient.py"}, args...)...)
	var words bytes.Buffer
	cmd.Stdin, cmd.Stderr = bytes.NewReader(stdin), &words
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, words.String())
	}
	return out
}
