package integration

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-stomp/stomp/v3"

	"github.com/selvedge-mq/selvedge/integration/harness"
)

// largeSTOMPSize is the body of a large message in a test.
func largeSTOMPSize(t *testing.T) int {
	t.Helper()
	return number(t, "SELVEDGE_LARGE", sized(16<<20, 100<<20))
}

// noise returns octets of every kind, the same ones for a seed.
func noise(size int, seed byte) []byte {
	b := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{seed}).Read(b) // it never fails
	return b
}

// slowSTOMP is a connection on which a frame can be written and read in parts.
type slowSTOMP struct {
	nc net.Conn
	in *bufio.Reader
}

func dialSlow(t *testing.T, addr string) *slowSTOMP {
	t.Helper()
	nc, err := (&net.Dialer{}).DialContext(bounded(t), "tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = nc.Close() })
	_ = nc.SetDeadline(time.Now().Add(exchangeTimeout)) // what fails is seen then
	c := &slowSTOMP{nc: nc, in: bufio.NewReader(nc)}
	c.write(t, []byte("CONNECT\naccept-version:1.2\n\n\x00"))
	c.head(t, "CONNECTED")
	c.end(t)
	return c
}

func (c *slowSTOMP) write(t *testing.T, b []byte) {
	t.Helper()
	if _, err := c.nc.Write(b); err != nil {
		t.Fatal(err)
	}
}

// head reads the lines of the next frame, which must have that command.
func (c *slowSTOMP) head(t *testing.T, command string) string {
	t.Helper()
	var head strings.Builder
	for {
		line, err := c.in.ReadString('\n')
		if err != nil {
			t.Fatalf("got %q, then %v, want %s", head.String(), err, command)
		}
		switch {
		case line != "\n":
			head.WriteString(line)
		case head.Len() > 0:
			if !strings.HasPrefix(head.String(), command+"\n") {
				rest, _ := c.in.ReadString(0)
				t.Fatalf("got %q %q, want %s", head.String(), rest, command)
			}
			return head.String()
		}
	}
}

func (c *slowSTOMP) body(t *testing.T, size int) []byte {
	t.Helper()
	b := make([]byte, size)
	if n, err := io.ReadFull(c.in, b); err != nil {
		t.Fatalf("got %d of %d octets, then %v", n, size, err)
	}
	return b
}

// end reads the NUL.
func (c *slowSTOMP) end(t *testing.T) {
	t.Helper()
	if b := c.body(t, 1); b[0] != 0 {
		t.Fatalf("got %q at the end of a frame, want NUL", b)
	}
}

// upload sends a large message of which the second half follows when between has
// returned, and waits for its RECEIPT.
func (c *slowSTOMP) upload(t *testing.T, queue string, body []byte, between func()) {
	t.Helper()
	c.write(t, fmt.Appendf(nil, "SEND\ndestination:/queue/%s\nreceipt:1\npersistent:true\ncontent-length:%d\n\n", queue, len(body)))
	half := len(body) / 2
	c.write(t, body[:half])
	between()
	c.write(t, body[half:])
	c.write(t, []byte{0})
	c.head(t, "RECEIPT")
	c.end(t)
}

// download takes the large message of a queue, the second half when between has
// returned, and acknowledges it.
func (c *slowSTOMP) download(t *testing.T, queue string, size int, between func()) []byte {
	t.Helper()
	c.write(t, []byte("SUBSCRIBE\nid:1\nack:client-individual\ndestination:/queue/"+queue+"\n\n\x00"))
	head := c.head(t, "MESSAGE")
	if want := fmt.Sprintf("\ncontent-length:%d\n", size); !strings.Contains(head, want) {
		t.Fatalf("got %q, want %q in it", head, want)
	}
	half := c.body(t, size/2)
	between()
	body := bytes.Join([][]byte{half, c.body(t, size-size/2)}, nil)
	c.end(t)
	_, after, _ := strings.Cut(head, "\nack:")
	id, _, _ := strings.Cut(after, "\n")
	c.write(t, []byte("ACK\nid:"+id+"\nreceipt:2\n\n\x00"))
	c.head(t, "RECEIPT")
	c.end(t)
	return body
}

// goSTOMPSendLarge and goSTOMPReceiveLarge move one large message by go-stomp.
func goSTOMPSendLarge(_ context.Context, addr, queue, file string) error {
	body, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	c, err := stomp.Dial("tcp", addr)
	if err != nil {
		return err
	}
	defer func() { _ = c.Disconnect() }()
	return c.Send("/queue/"+queue, "", body, stomp.SendOpt.Receipt, stomp.SendOpt.Header("persistent", "true"))
}

func goSTOMPReceiveLarge(ctx context.Context, addr, queue, file string) error {
	c, err := stomp.Dial("tcp", addr)
	if err != nil {
		return err
	}
	defer func() { _ = c.Disconnect() }()
	s, err := c.Subscribe("/queue/"+queue, stomp.AckClientIndividual)
	if err != nil {
		return err
	}
	select {
	case m := <-s.C:
		if m.Err != nil {
			return m.Err
		}
		if err := os.WriteFile(file, m.Body, 0o600); err != nil {
			return err
		}
		return c.Ack(m) // Disconnect waits until it has arrived
	case <-ctx.Done():
		return ctx.Err()
	}
}

// carrier moves one large message between a file and a queue.
type carrier func(ctx context.Context, addr, queue, file string) error

// moveLarge has a message of that body sent in by one address and taken out by
// another, checks that it is the same, and returns the most memory that each node has
// had before and since.
func moveLarge(t *testing.T, c *harness.Cluster, from, to, queue string, body []byte, send, receive carrier) (before, since map[string]int64) {
	t.Helper()
	ctx, dir := bounded(t), t.TempDir()
	in, out := filepath.Join(dir, "in"), filepath.Join(dir, "out")
	if err := os.WriteFile(in, body, 0o600); err != nil {
		t.Fatal(err)
	}
	before = highest(t, c)
	if err := send(ctx, from, queue, in); err != nil {
		t.Fatal(err)
	}
	if err := receive(ctx, to, queue, out); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	if sha256.Sum256(got) != sha256.Sum256(body) {
		breached(t, "got %d octets that are not the %d that were sent", len(got), len(body))
	}
	since = highest(t, c)
	for name, now := range since {
		measured(t, "node %s: %d MiB at most, %d before", name, now>>20, before[name]>>20)
	}
	return before, since
}

// largeClient moves one large message between a file and a queue.
type largeClient struct {
	name          string
	missing       string
	send, receive carrier
}

func largeClients(t *testing.T) []largeClient {
	t.Helper()
	python := func(verb string) carrier {
		return func(ctx context.Context, addr, queue, file string) error {
			out, err := exec.CommandContext(ctx, "/usr/bin/python3", "testdata/largestomp.py", verb, addr, queue, file).CombinedOutput()
			if err != nil {
				return fmt.Errorf("python3-stomp: %s: %w\n%s", verb, err, out)
			}
			return nil
		}
	}
	missing := ""
	if exec.CommandContext(t.Context(), "/usr/bin/python3", "-c", "import stomp").Run() != nil {
		missing = "python3-stomp is missing: apt-get install python3-stomp"
	}
	return []largeClient{
		{name: "go-stomp", send: goSTOMPSendLarge, receive: goSTOMPReceiveLarge},
		{name: "python3-stomp", missing: missing, send: python("send"), receive: python("receive")},
	}
}

// Producer, consumer and leader are on three nodes; none of them holds the message.
func TestLargeMessagesOfSTOMPClients(t *testing.T) {
	beside(t)
	c := harness.StartCluster(t, 3)
	queue, size := ledBy(t, c.Nodes[0], "c", "large"), largeSTOMPSize(t)
	for i, client := range largeClients(t) {
		t.Run(client.name, func(t *testing.T) {
			if client.missing != "" {
				t.Skip(client.missing)
			}
			_, since := moveLarge(t, c, c.Nodes[0].STOMP, c.Nodes[1].STOMP, queue, noise(size, byte(i)), client.send, client.receive)
			for name, most := range since {
				if most > largeMemory {
					t.Errorf("node %s had %d MiB resident, want %d at most", name, most>>20, largeMemory>>20)
				}
			}
		})
	}
	harness.AwaitDepth(t, c.Nodes[0].HTTP, queue, 0)
}

// largeMemory is the most resident memory of a node that passes large messages on.
const largeMemory = 256 << 20

// The leader is killed in the middle of an upload, and in the middle of the reading:
// the clients on other nodes see a pause, and the message arrives once and whole.
func TestFaultLargeSTOMPKillLeader(t *testing.T) {
	beside(t)
	c := harness.StartCluster(t, 3)
	queue, size := ledBy(t, c.Nodes[0], "c", "large-killed"), largeSTOMPSize(t)
	body := noise(size, 7)
	kill := func() {
		leader := c.Node(harness.Leader(t, c.Nodes[0].HTTP, queue))
		if leader.Name != "c" {
			t.Fatalf("got the leader %s, want one that no client is at", leader.Name)
		}
		leader.Kill()
	}
	dialSlow(t, c.Nodes[0].STOMP).upload(t, queue, body, kill)
	c.Node("c").Restart()
	c.AwaitHealthy()
	harness.AwaitDepth(t, c.Nodes[0].HTTP, queue, 1)
	leader := harness.Leader(t, c.Nodes[0].HTTP, queue)
	got := dialSlow(t, otherThan(c, leader)[0].STOMP).download(t, queue, size, func() { c.Node(leader).Kill() })
	if !bytes.Equal(got, body) {
		breached(t, "the body is not what was sent")
	}
	c.Node(leader).Restart()
	c.AwaitHealthy()
	harness.AwaitDepth(t, c.Nodes[0].HTTP, queue, 0)
}
