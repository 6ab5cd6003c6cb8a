package integration

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/selvedge-mq/selvedge/integration/harness"
)

// queueName is the name of queue i.
func queueName(prefix string, i int) string { return fmt.Sprintf("%s-%d", prefix, i) }

// fillQueues sends a persistent message with a receipt to each of so many queues,
// over one connection, and waits for all receipts. The body is the queue's name.
func fillQueues(t *testing.T, addr, prefix string, count int) {
	t.Helper()
	x := connectRaw(t, addr)
	defer x.nc.Close()
	if err := x.nc.SetDeadline(time.Now().Add(exchangeTimeout)); err != nil {
		t.Fatal(err)
	}
	sent := make(chan error, 1)
	go func() {
		out := bufio.NewWriterSize(x.nc, 64<<10)
		for i := range count {
			name := queueName(prefix, i)
			_, _ = fmt.Fprintf(out, "SEND\ndestination:/queue/%s\npersistent:true\nreceipt:%d\n\n%s\x00", name, i, name)
		}
		sent <- out.Flush()
	}()
	for i := range count {
		text, err := x.in.ReadString(0)
		if err != nil || !strings.HasPrefix(strings.TrimLeft(text, "\n"), "RECEIPT\n") {
			t.Fatalf("receipt %d of %d: got %q, error %v", i, count, text, err)
		}
	}
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
}

// listed waits until the list of queues of a node holds so many with a message, and
// returns how long the last answer took, all its pages together.
func listed(t *testing.T, n *harness.Node, count int) (took time.Duration) {
	t.Helper()
	harness.Until(t, fmt.Sprintf("%d queues with a message each", count), func() (string, bool) {
		begin := time.Now()
		all, err := harness.LookQueues(n.HTTP)
		took = time.Since(begin)
		found := 0
		for _, q := range all {
			found += min(q.Depth, 1)
		}
		return fmt.Sprintf("%d of %d queues, error %v", found, len(all), err), err == nil && found == count
	})
	return took
}

// recovered returns how many messages the shards of a node found in their logs when
// it led them first, after the offset of its log.
func recovered(t *testing.T, n *harness.Node, from int64) (messages int) {
	t.Helper()
	lines, _, err := n.Logged(from, "shard is led here")
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range lines {
		_, rest, _ := strings.Cut(line, `"messages":`)
		text, _, _ := strings.Cut(rest, ",")
		found, err := strconv.Atoi(text)
		if err != nil {
			t.Fatalf("messages of a shard: %v in %s", err, line)
		}
		messages += found
	}
	return messages
}

// Many queues with a message each are made as fast as messages are sent, and cost
// a node that has nothing to do next to nothing. They are there after a restart.
func TestScaleQueues(t *testing.T) {
	scaled(t)
	n, count := scaleNode(t), number(t, "SELVEDGE_QUEUES", 100_000)
	before, _ := resident(t, n)
	begin := time.Now()
	fillQueues(t, n.STOMP, "many", count)
	filled := time.Since(begin)
	answered := listed(t, n, count)
	idle := idling(t, n)
	now, highest := resident(t, n)
	measured(t, "%d queues with a message each: made and filled in %v, memory %d MiB (highest %d, %d without a queue), idle %.2f %% of a core, listed in %v",
		count, rounded(filled), now>>20, highest>>20, before>>20, idle*100, rounded(answered))
	if filled > mostQueueFill {
		t.Errorf("made and filled: got %v, want at most %v", filled, mostQueueFill)
	}
	if highest > mostQueueMemory {
		t.Errorf("memory at its highest: got %d MiB, want at most %d", highest>>20, mostQueueMemory>>20)
	}
	if idle > mostIdle {
		t.Errorf("idle: got %.2f %% of a core, want at most %.0f", idle*100, mostIdle*100)
	}
	n.Kill()
	_, end, err := n.Logged(0, "ready")
	if err != nil {
		t.Fatal(err)
	}
	begin = time.Now()
	n.Restart()
	restarted := time.Since(begin)
	if got := recovered(t, n, end); got != count {
		t.Errorf("messages after a kill: got %d, want %d", got, count)
	}
	for i := 0; i < count; i += max(count/100, 1) {
		takeOne(t, n, queueName("many", i))
	}
	now, highest = resident(t, n)
	measured(t, "the same after a kill: serves after %v, memory %d MiB (highest %d)", rounded(restarted), now>>20, highest>>20)
}

// takeOne receives the one message of a queue.
func takeOne(t *testing.T, n *harness.Node, queue string) {
	t.Helper()
	x := subscribeRaw(t, n.STOMP, queue, "ack:auto")
	defer x.nc.Close()
	text, err := x.in.ReadString(0)
	if err != nil || !strings.HasSuffix(text, "\n\n"+queue+"\x00") {
		t.Errorf("the message of %s: got %q, error %v", queue, text, err)
	}
}

// stompHello connects by STOMP, and subscribes to a queue that nobody sends to if
// there is one.
func stompHello(nc net.Conn, queue string) error {
	text := "CONNECT\naccept-version:1.2\nhost:x\nheart-beat:0,0\n\n\x00"
	frames := 1
	if queue != "" {
		text += "SUBSCRIBE\nid:0\ndestination:" + queue + "\nack:client-individual\nreceipt:s\n\n\x00"
		frames++
	}
	if _, err := io.WriteString(nc, text); err != nil {
		return err
	}
	in := bufio.NewReaderSize(nc, 512)
	for range frames {
		text, err := in.ReadString(0)
		if err != nil {
			return err
		}
		if strings.HasPrefix(strings.TrimLeft(text, "\n"), "ERROR") {
			return fmt.Errorf("got %q", text)
		}
	}
	return nil
}
