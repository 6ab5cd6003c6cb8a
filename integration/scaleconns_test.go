package integration

import (
	"context"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/Azure/go-amqp"

	"github.com/selvedge-mq/selvedge/integration/harness"
)

// amqpHello connects by AMQP; with an address it receives from there, which takes a
// session and a link. [transport 2.4.1] An empty dynamic address is asked for by "*".
func amqpHello(ctx context.Context, nc net.Conn, address string) error {
	c, err := amqp.NewConn(ctx, nc, &amqp.ConnOptions{SASLType: amqp.SASLTypeAnonymous(), HostName: "broker", IdleTimeout: -1})
	if err != nil || address == "" {
		return err
	}
	s, err := c.NewSession(ctx, nil)
	if err != nil {
		return err
	}
	o := &amqp.ReceiverOptions{Credit: 1}
	if address == "*" {
		address, o.DynamicAddress = "", true
	}
	_, err = s.NewReceiver(ctx, address, o)
	return err
}

// descriptorsLeft keeps some of a process's descriptors for what is no connection.
const descriptorsLeft = 500

// affordable returns so many connections, or as many as the limit on descriptors
// allows a process, its own included.
func affordable(t *testing.T, count int) int {
	t.Helper()
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	if most := int(limit.Max) - descriptorsLeft; count > most {
		t.Skipf("%d connections: a process may open %d files here (ulimit -Hn)", count, limit.Max)
	}
	return count
}

// What a connection costs that is open and says nothing.
func TestScaleIdleConnections(t *testing.T) {
	scaled(t)
	count := affordable(t, number(t, "SELVEDGE_CONNECTIONS", 10_000))
	for _, c := range []struct {
		name  string
		held  bool // to mostIdleConnection
		addr  func(*harness.Node) string
		hello func(context.Context, net.Conn) error
	}{
		{"STOMP", true, stompAddr, func(_ context.Context, nc net.Conn) error { return stompHello(nc, "") }},
		{"AMQP", true, amqpAddr, func(ctx context.Context, nc net.Conn) error { return amqpHello(ctx, nc, "") }},
		{"STOMP with a subscription", false, stompAddr, func(_ context.Context, nc net.Conn) error { return stompHello(nc, "/queue/quiet") }},
		{"AMQP with a session and a link", false, amqpAddr, func(ctx context.Context, nc net.Conn) error { return amqpHello(ctx, nc, "quiet") }},
	} {
		t.Run(c.name, func(t *testing.T) {
			n := scaleNode(t, "--max-connections", fmt.Sprint(count+100))
			before, _ := resident(t, n)
			begin := time.Now()
			connect(t, c.addr(n), count, c.hello)
			opened := time.Since(begin)
			settling := idling(t, n) // they give their buffers back
			now, highest := resident(t, n)
			each := (now - before) / int64(count)
			idle := (settling + idling(t, n) + idling(t, n)) / 3
			measured(t, "%d idle connections, %s: %d B each after %v, %d at most (%d MiB in all), %.2f %% of a core until then, %.2f %% in %v, opened in %v",
				count, c.name, each, idleSpan, (highest-before)/int64(count), now>>20, settling*100, idle*100, 3*idleSpan, rounded(opened))
			if c.held {
				atRest(t, n, before, count)
			}
			if most := mostIdle + mostIdleEach*float64(count); idle > most {
				t.Errorf("idle: got %.2f %% of a core, want at most %.2f", idle*100, most*100)
			}
		})
	}
}

const (
	// mostIdleEach is the share of a core for each open connection: clients of AMQP
	// say twice in each half minute that they are there, and so does the node. [transport 2.4.5]
	mostIdleEach = 4e-6
	// collectedAfter is longer than the time in which the runtime collects garbage in
	// a process without work: then what opened the connections is gone, too.
	collectedAfter = 150 * time.Second
)

// atRest waits until connections that say nothing hold no more than they may.
func atRest(t *testing.T, n *harness.Node, before int64, count int) {
	t.Helper()
	begin, look := time.Now(), time.NewTicker(time.Second)
	defer look.Stop()
	for {
		now, _ := resident(t, n)
		each := (now - before) / int64(count)
		if took := time.Since(begin); each <= mostIdleConnection || took > collectedAfter {
			measured(t, "at rest: %d B for each connection after %v more", each, took.Round(time.Second))
			if each > mostIdleConnection {
				t.Errorf("memory of a connection: got %d B, want at most %d", each, mostIdleConnection)
			}
			return
		}
		<-look.C
	}
}

func stompAddr(n *harness.Node) string { return n.STOMP }
func amqpAddr(n *harness.Node) string  { return n.AMQP }

// connectsPerSecond is how many clients come and go each second.
const connectsPerSecond = 1000

// possessions are what clients must not leave behind.
type possessions struct{ descriptors, goroutines, queues int }

func possessionsOf(t *testing.T, n *harness.Node) possessions {
	t.Helper()
	descriptors, err := n.Descriptors()
	if err != nil {
		t.Fatal(err)
	}
	queues, err := harness.LookQueues(n.HTTP)
	if err != nil {
		t.Fatal(err)
	}
	return possessions{descriptors, int(metric(t, n, "go_goroutines", "")), len(queues)}
}

// slack is what a node may have open or running at one look and not at another:
// requests of the test itself, and its own rounds.
const slack = 10

func (p possessions) within(limit possessions) bool {
	return p.descriptors <= limit.descriptors+slack && p.goroutines <= limit.goroutines+slack && p.queues <= limit.queues
}

// Clients come and go, each with a temporary queue, most of them without a word of
// farewell: nothing of them stays.
func TestScaleConnects(t *testing.T) {
	scaled(t)
	nothingStays(t, scaleNode(t), span(t, "SELVEDGE_CONNECT_TIME", time.Minute))
}

// nothingStays has clients come and go for that long, and looks for what is left of
// them.
func nothingStays(t *testing.T, n *harness.Node, span time.Duration) {
	t.Helper()
	before := possessionsOf(t, n)
	memory, _ := resident(t, n)
	served, failed := comeAndGo(t, n, span)
	var after possessions
	harness.Until(t, fmt.Sprintf("%+v, nothing left of the clients", before), func() (string, bool) {
		after = possessionsOf(t, n)
		return fmt.Sprintf("%+v", after), after.within(before)
	})
	now, highest := resident(t, n)
	measured(t, "%d connects in %v, %.0f a second: before %+v, after %+v; memory %d MiB, then %d (highest %d)",
		served, span, float64(served)/span.Seconds(), before, after, memory>>20, now>>20, highest>>20)
	if failed > 0 {
		t.Errorf("got %d clients that were not served, want none", failed)
	}
}

// comeAndGo has clients connect, make a temporary queue, and drop the connection,
// at connectsPerSecond or as fast as the machine can.
func comeAndGo(t *testing.T, n *harness.Node, span time.Duration) (served, failed int64) {
	t.Helper()
	const every = 10 * time.Millisecond
	ctx := bounded(t)
	turns := make(chan int, connectsPerSecond)
	var done, bad atomic.Int64
	var wg sync.WaitGroup
	for range dialers {
		wg.Go(func() {
			for i := range turns {
				if err := visit(ctx, n, i); err == nil {
					done.Add(1)
				} else if bad.Add(1) == 1 {
					t.Errorf("client %d: %v", i, err)
				}
			}
		})
	}
	pace, begin, turn := time.NewTicker(every), time.Now(), 0
	defer pace.Stop()
	for time.Since(begin) < span {
		<-pace.C
		for due := int(time.Since(begin).Seconds() * connectsPerSecond); turn < due; turn++ {
			turns <- turn
		}
	}
	close(turns)
	wg.Wait()
	return done.Load(), bad.Load()
}

// visit is client i: one of four speaks AMQP.
func visit(ctx context.Context, n *harness.Node, i int) error {
	addr, hello := n.STOMP, func(_ context.Context, nc net.Conn) error { return stompHello(nc, "/temp-queue/mine") }
	if i%4 == 0 {
		addr, hello = n.AMQP, func(ctx context.Context, nc net.Conn) error { return amqpHello(ctx, nc, "*") }
	}
	nc, err := knockAt(ctx, addr, i, hello)
	if err != nil {
		return err
	}
	return nc.Close()
}
