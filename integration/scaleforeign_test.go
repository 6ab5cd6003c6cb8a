package integration

import (
	"net"
	"os/exec"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/Azure/go-amqp"
	"github.com/go-stomp/stomp/v3"

	"github.com/selvedge-mq/selvedge/integration/harness"
)

const (
	// mostCPU is the processor time that a node may use for a message of a client
	// that sends several in a packet, sent and confirmed or received and acknowledged.
	mostCPU = 12 * time.Microsecond
	// mostCPUApart is the same for one that writes each frame by itself.
	mostCPUApart = 25 * time.Microsecond
	// mostCPUAlone is the same for one that has a single message under way: it comes
	// in a packet of its own, and is answered by one.
	mostCPUAlone = 60 * time.Microsecond
	// foreignWindow is how many messages such a client has under way.
	foreignWindow = 1000
	// foreignClients is how many clients there are, where one has one message under way.
	foreignClients = 500
	// foreignSize is the size of a body.
	foreignSize = 256
)

// Clients that others wrote, as fast as they go. Their own speed bounds the rate, so
// what is held is the processor time of the node.
func TestScaleForeignClients(t *testing.T) {
	scaled(t)
	count := number(t, "SELVEDGE_FOREIGN", 200_000)
	t.Run("go-stomp", func(t *testing.T) { throughQueue(t, count, mostCPUAlone, mostCPUApart, sendGoSTOMP, receiveGoSTOMP) })
	t.Run("go-amqp", func(t *testing.T) { throughQueue(t, count, mostCPUApart, mostCPUApart, sendGoAMQP, receiveGoAMQP) })
	t.Run("Proton for C", func(t *testing.T) {
		dir := t.TempDir()
		throughQueue(t, count, mostCPU, mostCPU, program(protonExample(t, dir, "send.c")), program(protonExample(t, dir, "receive.c")))
	})
}

// throughQueue has a client fill a queue, and then empty it.
func throughQueue(t *testing.T, count int, mostSend, mostReceive time.Duration, send, receive func(*testing.T, *harness.Node, int)) {
	t.Helper()
	n := scaleNode(t)
	paced(t, n, count, mostSend, "sends, each confirmed", send)
	harness.AwaitDepth(t, n.HTTP, foreignQueue, count)
	paced(t, n, count, mostReceive, "receives, each acknowledged", receive)
	harness.AwaitDepth(t, n.HTTP, foreignQueue, 0)
}

const foreignQueue = "foreign"

// paced measures what a client does with a node.
func paced(t *testing.T, n *harness.Node, count int, most time.Duration, what string, do func(*testing.T, *harness.Node, int)) {
	t.Helper()
	before, err := n.CPU()
	if err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	do(t, n, count)
	took := time.Since(begin)
	after, err := n.CPU()
	if err != nil {
		t.Fatal(err)
	}
	each := (after - before) / time.Duration(count)
	measured(t, "%s: %d %s: %.0f a second, %v of the node's processor for each",
		t.Name(), count, what, float64(count)/took.Seconds(), each)
	if each > most {
		t.Errorf("%s: got %v of the node's processor for each, want at most %v", what, each, most)
	}
}

// sendGoSTOMP sends with a receipt for each message. This client has one under way,
// so there are many of them.
func sendGoSTOMP(t *testing.T, n *harness.Node, count int) {
	t.Helper()
	body := make([]byte, foreignSize)
	var wg sync.WaitGroup
	for i := range foreignClients {
		c, share := dialGoSTOMP(t, n.STOMP), (count+i)/foreignClients
		wg.Go(func() {
			for range share {
				err := c.Send("/queue/"+foreignQueue, "text/plain", body, stomp.SendOpt.Receipt, stomp.SendOpt.Header("persistent", "true"))
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}

func receiveGoSTOMP(t *testing.T, n *harness.Node, count int) {
	t.Helper()
	c := dialGoSTOMP(t, n.STOMP)
	sub, err := c.Subscribe("/queue/"+foreignQueue, stomp.AckClientIndividual, stomp.SubscribeOpt.Header("prefetch-count", strconv.Itoa(foreignWindow)))
	if err != nil {
		t.Fatal(err)
	}
	for range count {
		m, err := sub.Read()
		if err != nil {
			t.Fatal(err)
		}
		if m.Err != nil {
			t.Fatal(m.Err)
		}
		if err := c.Ack(m); err != nil {
			t.Fatal(err)
		}
	}
	// The receipt says that all of them were taken.
	if err := sub.Unsubscribe(); err != nil {
		t.Fatal(err)
	}
}

func sendGoAMQP(t *testing.T, n *harness.Node, count int) {
	t.Helper()
	ctx := bounded(t)
	sender, err := sessionGoAMQP(t, n).NewSender(ctx, foreignQueue, nil)
	if err != nil {
		t.Fatal(err)
	}
	window, body := make(chan amqp.SendReceipt, foreignWindow), make([]byte, foreignSize)
	go func() {
		defer close(window)
		for range count {
			m := &amqp.Message{Header: &amqp.MessageHeader{Durable: true}, Data: [][]byte{body}}
			receipt, err := sender.SendWithReceipt(ctx, m, nil)
			if err != nil {
				t.Error(err)
				return
			}
			window <- receipt
		}
	}()
	for receipt := range window {
		if _, err := receipt.Wait(ctx); err != nil {
			t.Fatal(err)
		}
	}
}

func receiveGoAMQP(t *testing.T, n *harness.Node, count int) {
	t.Helper()
	ctx := bounded(t)
	receiver, err := sessionGoAMQP(t, n).NewReceiver(ctx, foreignQueue, &amqp.ReceiverOptions{Credit: foreignWindow})
	if err != nil {
		t.Fatal(err)
	}
	for range count {
		m, err := receiver.Receive(ctx, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := receiver.AcceptMessage(ctx, m); err != nil {
			t.Fatal(err)
		}
	}
	if err := receiver.Close(ctx); err != nil {
		t.Fatal(err)
	}
}

func sessionGoAMQP(t *testing.T, n *harness.Node) *amqp.Session {
	t.Helper()
	c, err := amqp.Dial(bounded(t), "amqp://"+n.AMQP, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	s, err := c.NewSession(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// program runs an example of Proton, which sends small maps; its start is part of
// the time.
func program(path string) func(t *testing.T, n *harness.Node, count int) {
	return func(t *testing.T, n *harness.Node, count int) {
		t.Helper()
		host, port, err := net.SplitHostPort(n.AMQP)
		if err != nil {
			t.Fatal(err)
		}
		out, err := exec.CommandContext(bounded(t), path, host, port, foreignQueue, strconv.Itoa(count)).Output()
		if err != nil || len(out) == 0 {
			t.Fatalf("%s: got %q, %v", path, out, err)
		}
	}
}
