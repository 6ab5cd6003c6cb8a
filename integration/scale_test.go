package integration

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"os"
	"os/exec"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/selvedge-mq/selvedge/integration/harness"
)

// The limits of scale, on two cores that the clients share with the node.
const (
	// mostQueueFill is how long making and filling all queues may take.
	mostQueueFill = 10 * time.Second
	// mostQueueMemory is what a node with 100,000 queues may hold.
	mostQueueMemory = 300 << 20
	// mostIdle is the share of a core that a node without work may use.
	mostIdle = 0.02
	// mostIdleConnection is the memory of a connection that says nothing.
	mostIdleConnection = 20_000
	// mostTakeover is how long a backlog may keep its next leader.
	mostTakeover = 3 * time.Second
	// mostAmplification is how much may be appended to the logs for each byte that is
	// sent, with what is rewritten there.
	mostAmplification = 2.0
)

// idleSpan is how long a node without work is watched.
const idleSpan = 10 * time.Second

// scaled skips a test that takes the machine for itself, unless it was asked for.
func scaled(t *testing.T) {
	t.Helper()
	if os.Getenv("SELVEDGE_SCALE") == "" {
		t.Skip("the limits of scale are measured by `make scale` (SELVEDGE_SCALE=1)")
	}
}

// scaleNode starts a node that logs as users have it log.
func scaleNode(t *testing.T, args ...string) *harness.Node {
	t.Helper()
	return harness.Start(t, harness.Options{Args: append([]string{"--log-level", "info"}, args...)})
}

// resident returns the resident memory of a node, now and at its highest.
func resident(t *testing.T, n *harness.Node) (now, highest int64) {
	t.Helper()
	now, highest, err := n.Memory()
	if err != nil {
		t.Fatal(err)
	}
	return now, highest
}

// idling watches a node for a while and returns the share of a core that it used.
func idling(t *testing.T, n *harness.Node) float64 {
	t.Helper()
	before, err := n.CPU()
	if err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	<-time.After(idleSpan)
	after, err := n.CPU()
	if err != nil {
		t.Fatal(err)
	}
	return (after - before).Seconds() / time.Since(begin).Seconds()
}

// metric returns a metric of a node, summed over its labels.
func metric(t *testing.T, n *harness.Node, name, label string) float64 {
	t.Helper()
	value, err := harness.Metric(n.HTTP, name, label)
	if err != nil {
		t.Fatal(err)
	}
	return value
}

// benchReport is what a test reads of the report of `selvedge bench`.
type benchReport struct {
	Seconds             float64  `json:"seconds"`
	Received            uint64   `json:"received"`
	SendsPerSecond      float64  `json:"sends_per_second"`
	DeliveriesPerSecond float64  `json:"deliveries_per_second"`
	Failed              []string `json:"failed"`
}

// benchTimeout bounds one run of the bench.
const benchTimeout = 5 * time.Minute

// bench runs `selvedge bench` against a node: it ends well, or the test does not.
func bench(t *testing.T, n *harness.Node, args ...string) benchReport {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), benchTimeout)
	defer cancel()
	args = append([]string{"bench", "--servers", n.STOMP, "--json", "--quiet", "--patience", "30s"}, args...)
	out, err := exec.CommandContext(ctx, harness.Binary(t), args...).Output()
	var r benchReport
	if bad := json.Unmarshal(out, &r); bad != nil || err != nil || len(r.Failed) > 0 {
		words := ""
		if e, ok := errors.AsType[*exec.ExitError](err); ok {
			words = string(e.Stderr)
		}
		t.Fatalf("selvedge %v: %v, %v\n%s\n%s", args, err, bad, out, words)
	}
	return r
}

// dialers is how many connections are opened at a time.
const dialers = 16

// connect opens count connections, some at a time, and returns those that came to
// be. The client's addresses are spread over loopback, so that its ports suffice.
func connect(t *testing.T, addr string, count int, hello func(context.Context, net.Conn) error) []net.Conn {
	t.Helper()
	ctx, conns := bounded(t), make([]net.Conn, count)
	var next, failed atomic.Int64
	var wg sync.WaitGroup
	for range dialers {
		wg.Go(func() {
			for i := next.Add(1) - 1; i < int64(count); i = next.Add(1) - 1 {
				nc, err := knockAt(ctx, addr, int(i), hello)
				if err == nil {
					conns[i] = nc
				} else if failed.Add(1) == 1 {
					t.Errorf("connection %d: %v", i, err)
				}
			}
		})
	}
	wg.Wait()
	t.Cleanup(func() { closeAll(conns) })
	if failed.Load() > 0 {
		t.Fatalf("%d of %d connections were not served", failed.Load(), count)
	}
	return conns
}

func closeAll(conns []net.Conn) {
	for _, nc := range conns {
		if nc != nil {
			_ = nc.Close()
		}
	}
}

// knockAt opens connection i and greets.
func knockAt(ctx context.Context, addr string, i int, hello func(context.Context, net.Conn) error) (net.Conn, error) {
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, byte(1+i%8))}}
	nc, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	deadline, _ := ctx.Deadline()
	if err := errors.Join(nc.SetDeadline(deadline), hello(ctx, nc)); err != nil {
		return nil, errors.Join(err, nc.Close())
	}
	return nc, nil
}
