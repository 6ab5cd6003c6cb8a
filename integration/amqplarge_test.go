package integration

import (
	"context"
	"crypto/sha256"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/Azure/go-amqp"

	"github.com/selvedge-mq/selvedge/integration/harness"
)

// largeTime bounds a test of large messages: its bytes are written three times.
const largeTime = 4 * time.Minute

// gate is a connection that stops when so many bytes went through it one way, until
// it is opened: what happens meanwhile happens in the middle of a message.
type gate struct {
	net.Conn
	mu      sync.Mutex
	read    bool // the bytes that come are counted, otherwise those that go
	left    int
	reached chan struct{} // closed when the gate stops
	opened  chan struct{} // closed by the test
}

func (g *gate) pass(n int) {
	g.mu.Lock()
	stops := g.left > 0 && g.left <= n
	g.left -= n
	g.mu.Unlock()
	if stops {
		close(g.reached)
		<-g.opened
	}
}

// Read reads, and waits at the gate.
func (g *gate) Read(b []byte) (int, error) {
	n, err := g.Conn.Read(b)
	if g.read {
		g.pass(n)
	}
	return n, err
}

// Write writes, and waits at the gate.
func (g *gate) Write(b []byte) (int, error) {
	n, err := g.Conn.Write(b)
	if !g.read {
		g.pass(n)
	}
	return n, err
}

// gated opens a session behind a gate.
func gated(t *testing.T, addr string, read bool, bytes int) (*gate, *amqp.Session) {
	t.Helper()
	nc, err := new(net.Dialer).DialContext(shortly(t), "tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	g := &gate{Conn: nc, read: read, left: bytes, reached: make(chan struct{}), opened: make(chan struct{})}
	c, err := amqp.NewConn(shortly(t), g, &amqp.ConnOptions{SASLType: amqp.SASLTypeAnonymous(), HostName: "large"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	s, err := c.NewSession(shortly(t), nil)
	if err != nil {
		t.Fatal(err)
	}
	return g, s
}

// varied returns bytes of which no two pieces are the same.
func varied(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i) ^ byte(i>>8) ^ byte(i>>16)*7
	}
	return b
}

// A large message goes from a client of one node to a client of another, by the leader
// on a third, and no node holds it. The leader dies in the middle of the upload, and
// again in the middle of the read: nobody notices.
func TestFaultLargeMessagesOfAMQP(t *testing.T) {
	beside(t)
	size := number(t, "SELVEDGE_LARGE", sized(16<<20, 100<<20))
	c := harness.StartCluster(t, 3, "--message-size", fmt.Sprintf("%dMiB", max(100, size>>20)))
	queue := ledBy(t, c.Nodes[0], "c", "large")
	want := varied(size)
	before := highest(t, c)
	ctx, cancel := context.WithTimeout(t.Context(), largeTime)
	defer cancel()

	in, s := gated(t, c.Node("a").AMQP, false, size/2)
	sender := goSender(t, s, queue, nil)
	sent := make(chan error, 1)
	go func() { sent <- sender.Send(ctx, amqp.NewMessage(want), nil) }()
	select {
	case <-in.reached:
	case err := <-sent:
		t.Fatalf("send, before half of it went: %v", err)
	}
	c.Node("c").Kill()
	close(in.opened)
	if err := <-sent; err != nil {
		t.Fatalf("send: %v", err)
	}
	c.Node("c").Launch()
	c.Node("c").AwaitReady()
	c.AwaitHealthy()

	leader := harness.Leader(t, c.Node("c").HTTP, queue)
	consumer := otherThan(c, leader)[0]
	out, s := gated(t, consumer.AMQP, true, size/2)
	receiver := goReceiver(t, s, queue, nil)
	type result struct {
		m   *amqp.Message
		err error
	}
	received := make(chan result, 1)
	go func() {
		m, err := receiver.Receive(ctx, nil)
		received <- result{m, err}
	}()
	select {
	case <-out.reached:
	case got := <-received:
		t.Fatalf("receive, before half of it came: %v", got.err)
	}
	c.Node(leader).Kill()
	close(out.opened)
	got := <-received
	if got.err != nil {
		t.Fatalf("receive: %v", got.err)
	}
	if sha256.Sum256(got.m.GetData()) != sha256.Sum256(want) {
		breached(t, "got %d bytes, want the %d that were sent", len(got.m.GetData()), size)
	}
	if err := receiver.AcceptMessage(ctx, got.m); err != nil {
		t.Fatal(err)
	}
	for name, now := range highest(t, c) {
		if size >= 256<<20 && now-before[name] >= int64(size) { // a small one is lost in what a busy node takes
			t.Errorf("node %s has grown by %d MiB, want less than the %d of the message", name, (now-before[name])>>20, size>>20)
		}
		t.Logf("memory of node %s: %d MiB before, %d MiB at its highest", name, before[name]>>20, now>>20)
	}
}

// highest returns the most memory that each node of a cluster had, those that run.
func highest(t *testing.T, c *harness.Cluster) map[string]int64 {
	t.Helper()
	all := make(map[string]int64)
	for _, n := range c.Nodes {
		if !n.Running() {
			continue
		}
		_, most, err := n.Memory()
		if err != nil {
			t.Fatal(err)
		}
		all[n.Name] = most
	}
	return all
}
