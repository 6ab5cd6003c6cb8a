package integration

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/selvedge-mq/selvedge/integration/harness"
	"github.com/selvedge-mq/selvedge/integration/history"
	"github.com/selvedge-mq/selvedge/integration/interop"
)

// mostMemory is what a node may hold in resident memory while it is flooded: its
// windows and caches, the embedded server's, and what waits to be collected.
const mostMemory = 768 << 20

// sendTimeout is the default of the setting.
const sendTimeout = 15 * time.Second

// inBounds holds nodes to the bound of their memory, and to keeping their own
// connections. It returns the most memory that one of them had.
func inBounds(t *testing.T, nodes []*harness.Node) (most string) {
	t.Helper()
	var words []string
	var top int64
	for _, n := range nodes {
		_, highest, err := n.Memory()
		if err != nil {
			t.Error(err)
			continue
		}
		words, top = append(words, fmt.Sprintf("%s %d MiB", n.Name, highest>>20)), max(top, highest)
		if highest > mostMemory {
			t.Errorf("memory of node %s: got %d MiB at its highest, want at most %d", n.Name, highest>>20, mostMemory>>20)
		}
		// A connection of the node with itself or with another one that did not
		// take what it was sent is closed by the embedded server.
		lines, _, err := n.Logged(0, "Slow Consumer", "slow consumer", "connection of the node itself")
		if err != nil {
			t.Error(err)
		}
		if len(lines) > 0 {
			t.Errorf("node %s: internal connections that were closed: got %d lines, the first %s", n.Name, len(lines), lines[0])
		}
	}
	measured(t, "%s: highest memory %s", t.Name(), strings.Join(words, ", "))
	return fmt.Sprintf("%d MiB", top>>20)
}

// withinBounds puts what became of a flood into the table.
func withinBounds(t *testing.T, what string, v *history.Verdict, nodes []*harness.Node) {
	t.Helper()
	limit := sendTimeout + answerSlack
	if v.Slowest > limit {
		t.Errorf("slowest answer: got %v, want at most %v", v.Slowest, limit)
	}
	most := inBounds(t, nodes)
	figure(t, what, tallied(v), fmt.Sprintf("slowest answer %v, most memory of a node %s", rounded(v.Slowest), most), fmt.Sprintf("%v, %d MiB", limit, mostMemory>>20))
}

// filledWindows says how often a node found the window of a lane to others full.
func filledWindows(t *testing.T, n *harness.Node, lane string) float64 {
	t.Helper()
	return metric(t, n, "selvedge_peers_window_full_total", fmt.Sprintf("lane=%q", lane))
}

// awaitFull waits until a node has found the window of a lane full: what a test of the
// windows shows when none of them fills is not about them.
func awaitFull(t *testing.T, n *harness.Node, lane string) {
	t.Helper()
	harness.Until(t, fmt.Sprintf("a full window of node %s, lane %s", n.Name, lane), func() (string, bool) {
		times := filledWindows(t, n, lane)
		return fmt.Sprintf("%v times full", times), times > 0
	})
	measured(t, "%s: window of node %s, lane %s: %v times full", t.Name(), n.Name, lane, filledWindows(t, n, lane))
}

// Two nodes flood each other: each sends to a queue that the other one leads,
// and consumes from it, so that the lanes with messages are full in both directions:
// sends and deliveries. Both get on, within their bounds.
func TestFaultTwoNodesFloodEachOther(t *testing.T) {
	c := harness.StartCluster(t, 3)
	crowd, count := newCrowd(t), messages(t)/10
	for _, pair := range [][2]string{{"a", "b"}, {"b", "a"}} {
		n, queue := c.Node(pair[0]), ledBy(t, c.Nodes[2], pair[1], "flood-"+pair[1])
		for i := range 2 {
			crowd.send(sender{
				name: fmt.Sprintf("%s-%d", n.Name, i), client: interop.GoAMQP{}, nodes: []*harness.Node{n}, queue: queue,
				window: 500, size: 32 << 10,
			})
		}
		crowd.take(taker{name: n.Name, client: interop.GoAMQP{}, nodes: []*harness.Node{n}, queue: queue, credit: 1500})
	}
	crowd.afterConfirmed(count)
	for _, name := range []string{"a", "b"} {
		for _, lane := range []string{"send", "deliver"} {
			awaitFull(t, c.Node(name), lane)
		}
	}
	v := crowd.finish()
	complain(t, &v)
	measured(t, "two nodes flood each other, 32 KiB: %s", &v)
	withinBounds(t, "two nodes flood each other", &v, c.Nodes)
}

// A client floods a queue over the very connection that its consumer is on: its
// acknowledgments sit behind its own messages. It gets its receipts, or an error
// that says why not, unless it reads nothing at all; others get on meanwhile.
func TestFaultConsumerBehindBlockedProducer(t *testing.T) {
	c := harness.StartCluster(t, 3)
	queue := ledBy(t, c.Nodes[0], "c", "blocked")
	crowd := newCrowd(t)
	for _, n := range []string{"b", "c"} {
		pinned(crowd, c.Node(n), queue+"-beside")
	}
	subscribe := "SUBSCRIBE\nid:0\ndestination:/queue/" + queue + "\nack:client-individual\nprefetch-count:10\n\n\x00"

	deaf := connectRaw(t, c.Node("b").STOMP)
	deaf.write(t, subscribe)
	taken := deaf.flood(t, queue)
	crowd.afterConfirmed(500)
	deaf.nc.Close()
	harness.Until(t, "the end of the deaf client's subscription", func() (string, bool) {
		q, err := harness.Look(c.Nodes[0].HTTP, queue)
		return fmt.Sprintf("%+v, error %v", q, err), err == nil && q.Consumers == 0
	})

	x := connectRaw(t, c.Node("b").STOMP)
	x.write(t, subscribe)
	written := make(chan int, 1)
	go func() { written <- x.flood(t, queue) }()
	receipts, refusal := x.drain(t)
	sent := <-written
	if refusal == "" {
		t.Errorf("a queue that is full: got %d receipts of %d, want an error", receipts, sent)
	}
	measured(t, "consumer behind a blocked producer, 64 KiB: %d taken from one that reads nothing; %d, %d receipts and %q from one that reads",
		taken, sent, receipts, refusal)
	crowd.afterConfirmed(500)
	v := crowd.finish()
	complain(t, &v)
	withinBounds(t, "a consumer behind a blocked producer", &v, c.Nodes)
}

// raw is a STOMP connection that does what no client library would.
type raw struct {
	nc net.Conn
	in *bufio.Reader
}

// blockedAfter is how long a write may take until the connection counts as
// blocked.
const blockedAfter = 2 * time.Second

// floodMost bounds what is written to a node that never blocks.
const floodMost = 4096

func connectRaw(t *testing.T, addr string) *raw {
	t.Helper()
	var d net.Dialer
	nc, err := d.DialContext(bounded(t), "tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	x := &raw{nc: nc, in: bufio.NewReaderSize(nc, 1<<20)}
	x.write(t, "CONNECT\naccept-version:1.2\nhost:x\n\n\x00")
	if command, _ := x.frame(t); command != "CONNECTED" {
		t.Fatalf("CONNECT: got %q, want CONNECTED", command)
	}
	return x
}

// subscribeRaw connects and subscribes to a queue, with more headers. Reading has to be
// done in time.
func subscribeRaw(t *testing.T, addr, queue, headers string) *raw {
	t.Helper()
	x := connectRaw(t, addr)
	x.write(t, "SUBSCRIBE\nid:0\ndestination:/queue/"+queue+"\n"+headers+"\n\n\x00")
	if err := x.nc.SetReadDeadline(time.Now().Add(harness.Patience)); err != nil {
		t.Fatal(err)
	}
	return x
}

func (x *raw) write(t *testing.T, text string) {
	t.Helper()
	if err := x.nc.SetWriteDeadline(time.Now().Add(harness.Patience)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(x.nc, text); err != nil {
		t.Fatal(err)
	}
}

// flood sends non-persistent messages of 64 KiB, with receipts, until the node
// does not take any more or closes. It returns how many went.
func (x *raw) flood(t *testing.T, queue string) (whole int) {
	t.Helper()
	body := strings.Repeat(".", 64<<10)
	for n := range floodMost {
		if err := x.nc.SetWriteDeadline(time.Now().Add(blockedAfter)); err != nil {
			return n
		}
		_, err := fmt.Fprintf(x.nc, "SEND\ndestination:/queue/%s\nreceipt:%d\ncontent-length:%d\n\n%s\x00", queue, n, len(body), body)
		if err != nil {
			return n // blocked, or the node has closed and said why
		}
	}
	t.Errorf("flood: the node took %d messages that nobody acknowledges", floodMost)
	return floodMost
}

// drain reads until the node refuses or closes; it fails when nothing comes for
// longer than the send timeout allows.
func (x *raw) drain(t *testing.T) (receipts int, refusal string) {
	t.Helper()
	for {
		if err := x.nc.SetReadDeadline(time.Now().Add(sendTimeout + answerSlack)); err != nil {
			t.Fatal(err)
		}
		switch command, message := x.frame(t); command {
		case "RECEIPT":
			receipts++
		case "ERROR":
			return receipts, message
		case "":
			return receipts, ""
		}
	}
}

// frame reads a frame and returns its command and its header message; nothing
// when the connection ended.
func (x *raw) frame(t *testing.T) (command, message string) {
	t.Helper()
	text, err := x.in.ReadString(0)
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		t.Fatalf("neither a receipt nor an error within %v", sendTimeout+answerSlack)
	case err != nil:
		return "", ""
	}
	command, rest, _ := strings.Cut(strings.TrimLeft(text, "\n"), "\n")
	for line := range strings.Lines(rest) {
		if value, ok := strings.CutPrefix(line, "message:"); ok {
			return command, strings.TrimSpace(value)
		}
	}
	return command, ""
}

// A node at the end of a thin line takes what it is sent only slowly. Clients of
// the others get on, the memory of the others stays in its bounds, and when the
// line is as the others again, everything arrives.
func TestFaultSlowNode(t *testing.T) {
	w := harness.NewNetwork(t, 3)
	c := harness.NewClusterOn(t, w.Hosts)
	c.StartAll()
	crowd, count := newCrowd(t), messages(t)/10
	slow, fast := ledBy(t, c.Nodes[0], "c", "slow"), ledBy(t, c.Nodes[0], "c", "fast")
	a, b := c.Node("a"), c.Node("b")
	flow := func(name, queue string, size, credit int, from *harness.Node) {
		crowd.send(sender{
			name: name, client: interop.GoAMQP{}, nodes: []*harness.Node{a}, queue: queue,
			every: 2 * time.Millisecond, window: 500, size: size,
		})
		crowd.take(taker{name: name, client: interop.GoAMQP{}, nodes: []*harness.Node{from}, queue: queue, credit: credit})
	}
	flow("to-b", slow, 8<<10, 3000, b) // of more credit than the window has bytes
	flow("to-a", fast, 256, 500, a)
	crowd.afterConfirmed(200)
	from := crowd.harm("b has a thin line")
	w.Slow(w.Host("b"), "8mbit")
	crowd.afterConfirmed(count)
	awaitFull(t, c.Node("c"), "deliver")
	during := crowd.between(from, crowd.harm("b has its line back"))
	w.Fast(w.Host("b"))
	n := 0
	for _, e := range during {
		if e.Kind == history.Received && e.Queue == fast {
			n++
		}
	}
	if n < count/4 {
		t.Errorf("received from the queue of the others while a node is slow: got %d, want %d at least", n, count/4)
	}
	c.AwaitHealthy()
	v := crowd.finish()
	complain(t, &v)
	measured(t, "slow node: %s", &v)
	withinBounds(t, "a node that reads slowly", &v, c.Nodes)
}
