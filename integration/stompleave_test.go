package integration

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/selvedge-mq/selvedge/integration/harness"
)

// What a client sent before it went is processed, however it went. Where it goes
// by a reset, that is what the node's kernel had, which keeps it to be read: the test
// waits until it has all.
func TestSTOMPSendsAreProcessedThoughTheClientGoes(t *testing.T) {
	const count = 10_000
	n := harness.Start(t, harness.Options{})
	for i, c := range []struct {
		name     string
		receipts bool // are asked for, and not read
		leave    func(t *testing.T, nc *net.TCPConn) error
	}{
		{"closes", false, func(_ *testing.T, nc *net.TCPConn) error { return nc.Close() }},
		{"closes its half", true, func(_ *testing.T, nc *net.TCPConn) error { return nc.CloseWrite() }},
		{"closes with receipts unread, which is a reset", true, func(t *testing.T, nc *net.TCPConn) error {
			t.Helper()
			awaitHandedOver(t, nc)
			return nc.Close()
		}},
		{"resets the connection", false, func(t *testing.T, nc *net.TCPConn) error {
			t.Helper()
			awaitHandedOver(t, nc)
			if err := nc.SetLinger(0); err != nil {
				return err
			}
			return nc.Close()
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			queue := fmt.Sprint("gone.", i)
			nc := connectRaw(t, n.STOMP).nc.(*net.TCPConn)
			ok(t, "deadline", nc.SetDeadline(time.Now().Add(harness.Patience)))
			out := bufio.NewWriterSize(nc, 1<<20)
			for i := range count {
				receipt := ""
				if c.receipts {
					receipt = fmt.Sprintf("receipt:%d\n", i)
				}
				_, err := fmt.Fprintf(out, "SEND\ndestination:/queue/%s\npersistent:true\n%s\n%d\x00", queue, receipt, i)
				ok(t, "send", err)
			}
			ok(t, "send", out.Flush())
			ok(t, "leave", c.leave(t, nc))
			harness.AwaitDepth(t, n.HTTP, queue, count)
		})
	}
}

// awaitHandedOver waits until the other end's kernel has all that was written.
func awaitHandedOver(t *testing.T, nc *net.TCPConn) {
	t.Helper()
	// Both addresses: a connection to elsewhere may have had the same local one, and
	// stays in the table for a minute. Then come the state, and the octets that are not
	// acknowledged. [proc(5)]
	local, remote := tableAddr(nc.LocalAddr()), tableAddr(nc.RemoteAddr())
	harness.Until(t, "octets that are acknowledged", func() (string, bool) {
		table, err := os.ReadFile("/proc/net/tcp")
		if err != nil {
			return err.Error(), false
		}
		for line := range strings.Lines(string(table)) {
			if f := strings.Fields(line); len(f) > 4 && f[1] == local && f[2] == remote {
				return line, strings.HasPrefix(f[4], "00000000:")
			}
		}
		return "no line of " + local + " " + remote, false
	})
}

// tableAddr is a loopback address as the kernel's table has it.
func tableAddr(a net.Addr) string { return fmt.Sprintf("0100007F:%04X", a.(*net.TCPAddr).Port) }

// A client that subscribes and reads nothing costs its prefetch, and for a topic a
// bounded buffer: others get everything else, as fast as ever, and the rest when
// it goes.
func TestADeafSTOMPClientHoldsNobodyUp(t *testing.T) {
	const count, size, prefetch = 400, 32 << 10, 10
	n := harness.Start(t, harness.Options{})
	deaf := connectRaw(t, n.STOMP)
	subscribe(t, deaf, "/queue/deaf", prefetch)
	subscribe(t, deaf, "/topic/deaf", prefetch)
	hears := connectRaw(t, n.STOMP)
	subscribe(t, hears, "/queue/deaf", 100)
	subscribe(t, hears, "/topic/deaf", 100)
	x := connectRaw(t, n.STOMP)
	ok(t, "deadline", x.nc.SetDeadline(time.Now().Add(harness.Patience)))
	var sender sync.WaitGroup
	defer sender.Wait()
	sender.Go(func() {
		body := strings.Repeat(".", size)
		for range count {
			for _, kind := range []string{"queue", "topic"} {
				if _, err := fmt.Fprintf(x.nc, "SEND\ndestination:/%s/deaf\ncontent-length:%d\n\n%s\x00", kind, size, body); err != nil {
					t.Errorf("send: %v", err)
					return
				}
			}
		}
	})
	queue, topic := 0, 0
	for queue < count-prefetch || topic < count {
		f := message(t, hears)
		if strings.Contains(f, "\ndestination:/queue/deaf\n") {
			queue++
		} else {
			topic++
		}
		acknowledge(t, hears, f)
	}
	if queue > count-prefetch {
		t.Errorf("got %d messages of the queue, want the deaf client to hold %d of %d", queue, prefetch, count)
	}
	ok(t, "the deaf client goes", deaf.nc.Close())
	for range prefetch {
		f := message(t, hears)
		if !strings.Contains(f, "\nredelivered:true\n") {
			t.Errorf("got %.200q, want it marked as redelivered", f)
		}
		acknowledge(t, hears, f)
	}
	harness.AwaitDepth(t, n.HTTP, "deaf", 0)
	inBounds(t, []*harness.Node{n})
}

// What a deaf client costs is bounded in octets too, with a prefetch of a thousand
// messages of any size: others get everything meanwhile, and then what was kept for it.
func TestADeafSTOMPClientCostsABoundedMemory(t *testing.T) {
	const count, size = 300, 1 << 20
	n := harness.Start(t, harness.Options{})
	deaf := connectRaw(t, n.STOMP)
	for _, destination := range []string{"/queue/large", "/topic/large"} {
		deaf.write(t, fmt.Sprintf("SUBSCRIBE\nid:%s\ndestination:%s\nack:client-individual\nreceipt:r\n\n\x00", destination, destination))
		if command, text := deaf.frame(t); command != "RECEIPT" {
			t.Fatalf("SUBSCRIBE: got %s %s, want RECEIPT", command, text)
		}
	}
	hears := connectRaw(t, n.STOMP)
	subscribe(t, hears, "/topic/large", 10)
	x := connectRaw(t, n.STOMP)
	ok(t, "deadline", x.nc.SetDeadline(time.Now().Add(harness.Patience)))
	body := strings.Repeat(".", size)
	for i := range count { // hears takes one of the topic for each, so that none is dropped for it
		for _, kind := range []string{"queue", "topic"} {
			_, err := fmt.Fprintf(x.nc, "SEND\ndestination:/%s/large\npersistent:true\nn:%d\ncontent-length:%d\n\n%s\x00", kind, i, size, body)
			ok(t, "send", err)
		}
		acknowledge(t, hears, numbered(t, hears, i))
	}
	harness.AwaitDepth(t, n.HTTP, "large", count)
	inBounds(t, []*harness.Node{n})
	ok(t, "the deaf client goes", deaf.nc.Close())
	subscribe(t, hears, "/queue/large", 10)
	seen := make(map[string]bool)
	for range count {
		f := message(t, hears)
		_, rest, _ := strings.Cut(f, "\nn:")
		number, _, _ := strings.Cut(rest, "\n")
		seen[number] = true
		acknowledge(t, hears, f)
	}
	if len(seen) != count {
		t.Errorf("got %d different messages of %d", len(seen), count)
	}
	harness.AwaitDepth(t, n.HTTP, "large", 0)
}

// numbered reads the next MESSAGE, which has to have that number.
func numbered(t *testing.T, x *raw, i int) string {
	t.Helper()
	f := message(t, x)
	if !strings.Contains(f[:min(len(f), 500)], fmt.Sprintf("\nn:%d\n", i)) {
		t.Fatalf("got %.300q, want the message %d", f, i)
	}
	return f
}

// A client that promised heart-beats and sends none is found out two intervals and
// a second later, not earlier: what it held goes to others, marked.
func TestSTOMPHeartBeatsThatStopGiveTheMessagesBack(t *testing.T) {
	const beat = 500 * time.Millisecond
	n := harness.Start(t, harness.Options{})
	silent := dialRaw(t, n.STOMP, fmt.Sprintf("heart-beat:%d,0\n", beat.Milliseconds()))
	subscribe(t, silent, "/queue/silent", 10)
	silent.write(t, "SEND\ndestination:/queue/silent\n\nx\x00")
	last := time.Now()
	message(t, silent)
	other := connectRaw(t, n.STOMP)
	subscribe(t, other, "/queue/silent", 10)
	if f := message(t, other); !strings.Contains(f, "\nredelivered:true\n") {
		t.Errorf("got %q, want it marked as redelivered", f)
	}
	took := time.Since(last)
	if least, most := 2*beat, 2*beat+time.Second+answerSlack; took < least || took > most {
		t.Errorf("the message came after %v, want it between %v and %v", took, least, most)
	}
	if _, err := io.Copy(io.Discard, silent.in); err != nil {
		t.Errorf("the silent client's connection: got %v, want its end", err)
	}
}

// shortConnects is how long clients come and go where the time is not set.
const shortConnects = 5 * time.Second

// The short form of TestScaleConnects, twice: what memory the first clients took
// is enough for the others.
func TestClientsThatComeAndGoLeaveNothing(t *testing.T) {
	n, each := scaleNode(t), span(t, "SELVEDGE_CONNECT_TIME", shortConnects)/2
	nothingStays(t, n, each)
	first, _ := resident(t, n)
	nothingStays(t, n, each)
	then, _ := resident(t, n)
	if grown := then - first; grown > mostGrown {
		t.Errorf("memory: got %d MiB after the first clients and %d MiB after as many more, want at most %d MiB more",
			first>>20, then>>20, mostGrown>>20)
	}
}

// mostGrown is how much more memory a node may have after as many clients again.
const mostGrown = 24 << 20

// dialRaw connects with more headers of CONNECT.
func dialRaw(t *testing.T, addr, headers string) *raw {
	t.Helper()
	nc, err := new(net.Dialer).DialContext(bounded(t), "tcp", addr)
	ok(t, "dial", err)
	t.Cleanup(func() { nc.Close() })
	x := &raw{nc: nc, in: bufio.NewReader(nc)}
	x.write(t, "CONNECT\naccept-version:1.2\nhost:/\n"+headers+"\n\x00")
	if command, text := x.frame(t); command != "CONNECTED" {
		t.Fatalf("CONNECT: got %s %s, want CONNECTED", command, text)
	}
	return x
}

// subscribe subscribes to a destination under its own name, and waits for the
// receipt.
func subscribe(t *testing.T, x *raw, destination string, prefetch int) {
	t.Helper()
	x.write(t, fmt.Sprintf("SUBSCRIBE\nid:%s\ndestination:%s\nack:client-individual\nprefetch-count:%d\nreceipt:r\n\n\x00", destination, destination, prefetch))
	if command, text := x.frame(t); command != "RECEIPT" {
		t.Fatalf("SUBSCRIBE: got %s %s, want RECEIPT", command, text)
	}
}

// message reads the next MESSAGE, whole.
func message(t *testing.T, x *raw) string {
	t.Helper()
	ok(t, "deadline", x.nc.SetReadDeadline(time.Now().Add(harness.Patience)))
	f, err := x.in.ReadString(0)
	f = strings.TrimLeft(f, "\n")
	if err != nil || !strings.HasPrefix(f, "MESSAGE\n") {
		t.Fatalf("got %.200q, %v, want a MESSAGE", f, err)
	}
	return f
}

func acknowledge(t *testing.T, x *raw, message string) {
	t.Helper()
	_, rest, _ := strings.Cut(message, "\nack:")
	id, _, _ := strings.Cut(rest, "\n")
	x.write(t, "ACK\nid:"+id+"\n\n\x00")
}
