package integration

import (
	"errors"
	"fmt"
	"net"
	"testing"

	"github.com/selvedge-mq/selvedge/integration/harness"
	"github.com/selvedge-mq/selvedge/integration/interop"
)

// fewMessages is what each pair of clients exchanges.
const fewMessages = 50

// exchange sends with one client and receives with another.
func exchange(t *testing.T, queue string, s, r interop.Client, via, from *harness.Node) {
	t.Helper()
	for _, c := range []interop.Client{s, r} {
		if why := c.Missing(); why != "" {
			t.Skip(why)
		}
	}
	ctx, l := bounded(t), newLedger()
	if err := s.Send(ctx, at(via, s, queue), l.bodies(s.Name(), fewMessages), l.confirm); err != nil {
		t.Fatal(err)
	}
	err := r.Receive(ctx, at(from, r, queue), fewMessages, func(m interop.Message) bool {
		l.take(m)
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
	l.check(t, fewMessages, true)
	harness.AwaitDepth(t, via.HTTP, queue, 0)
}

// Every client sends, every client receives, on one node.
func TestClientsOnOneNode(t *testing.T) {
	beside(t)
	n := harness.Start(t, harness.Options{})
	for _, s := range interop.Clients() {
		for _, r := range interop.Clients() {
			t.Run(s.Name()+" to "+r.Name(), func(t *testing.T) {
				exchange(t, "one."+s.Name()+"."+r.Name(), s, r, n, n)
			})
		}
	}
}

// Every client sends by way of one node, every client receives from another.
func TestClientsAcrossNodes(t *testing.T) {
	beside(t)
	c := harness.StartCluster(t, 3)
	for i, s := range interop.Clients() {
		for j, r := range interop.Clients() {
			via, from := c.Nodes[(i+j)%3], c.Nodes[(i+j+1)%3]
			t.Run(fmt.Sprintf("%s on %s to %s on %s", s.Name(), via.Name, r.Name(), from.Name), func(t *testing.T) {
				exchange(t, "across."+s.Name()+"."+r.Name(), s, r, via, from)
			})
		}
	}
}

// A producer on A, a consumer on B, the queue's shard led by C: every message is
// confirmed, arrives exactly once, in order for each producer.
func TestManyMessagesAcrossNodes(t *testing.T) {
	beside(t)
	c := harness.StartCluster(t, 3)
	count := messages(t)
	a, b := c.Nodes[0], c.Nodes[1]
	var all tally
	for _, way := range []struct {
		name      string
		from, to  interop.Client
		producers int
	}{
		// go-stomp waits for each receipt: it takes many to keep the log busy.
		{"STOMP to AMQP", interop.GoSTOMP{}, interop.GoAMQP{}, 64},
		{"AMQP to STOMP", interop.GoAMQP{}, interop.GoSTOMP{}, 4},
	} {
		t.Run(way.name, func(t *testing.T) {
			queue := ledBy(t, c.Nodes[0], "c", "many."+string(way.from.Protocol()))
			ctx, l := bounded(t), newLedger()
			received := consume(ctx, t, l, count, way.to, at(b, way.to, queue))
			produce(ctx, t, l, count, several(way.producers, way.from, at(a, way.from, queue)))()
			received()
			v := l.check(t, count, true)
			all.add(&v)
			harness.AwaitDepth(t, a.HTTP, queue, 0)
		})
	}
	figure(t, "nothing: in at A, led by C, out at B, both protocols", &all, "once each, in order", "")
}

// Garbage on a listener ends that connection and no other.
func TestGarbageLeavesOthersAlone(t *testing.T) {
	n := harness.Start(t, harness.Options{})
	ctx, l := bounded(t), newLedger()
	stomp, amqp := interop.GoSTOMP{}, interop.GoAMQP{}
	received := consume(ctx, t, l, 2*fewMessages, amqp, at(n, amqp, "clean"))
	half := fewMessages
	produce(ctx, t, l, half, []producer{{stomp, at(n, stomp, "clean")}})()
	for _, addr := range []string{n.STOMP, n.AMQP} {
		for _, garbage := range []string{
			"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
			"\x00\xff\xfe garbage \x01\x02\x03",
			"CONNECT\naccept-version:1.2\nhost:x\n\n\x00SEND\ncontent-length:99999999999999999999\n\n",
			"AMQP\x00\x01\x00\x00\xff\xff\xff\xff\x02\x00\x00\x00",
			"AMQP\x03\x01\x00\x00\x00\x00\x00\x03\x02\x01\x00\x00",
		} {
			feed(t, addr, garbage)
		}
	}
	wait := produce(ctx, t, l, half, []producer{{amqp, at(n, amqp, "clean")}})
	wait()
	received()
	l.check(t, 2*fewMessages, true)
}

// feed writes bytes to a listener and closes its own side; the broker ends the
// connection, whatever it thinks of the bytes.
func feed(t *testing.T, addr, garbage string) {
	t.Helper()
	ctx := bounded(t)
	var d net.Dialer
	nc, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		t.Fatalf("the listener %s does not accept any more: %v", addr, err)
	}
	defer nc.Close()
	deadline, _ := ctx.Deadline()
	if err := nc.SetDeadline(deadline); err != nil {
		t.Fatal(err)
	}
	// The broker may have closed already: an error is an answer, too.
	_, _ = nc.Write([]byte(garbage))
	_ = nc.(*net.TCPConn).CloseWrite()
	buf := make([]byte, 1024)
	for {
		if _, err := nc.Read(buf); err != nil {
			if ne, ok := errors.AsType[net.Error](err); ok && ne.Timeout() {
				t.Errorf("%s: the connection still lives after garbage %q", addr, garbage)
			}
			return
		}
	}
}
