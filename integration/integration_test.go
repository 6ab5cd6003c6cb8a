package integration

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/selvedge-mq/selvedge/integration/harness"
	"github.com/selvedge-mq/selvedge/integration/interop"
)

// exchangeTimeout bounds one exchange of messages.
const exchangeTimeout = 3 * time.Minute

func TestMain(m *testing.M) {
	code := m.Run()
	harness.RemoveBinary()
	os.Exit(code)
}

// bounded returns a context that ends with the test, or after exchangeTimeout.
func bounded(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), exchangeTimeout)
	t.Cleanup(cancel)
	return ctx
}

// at returns a client's way to a queue by way of a node.
func at(n *harness.Node, c interop.Client, queue string) interop.Target {
	if c.Protocol() == interop.STOMP {
		return interop.Target{Addr: n.STOMP, Queue: queue}
	}
	return interop.Target{Addr: n.AMQP, Queue: queue}
}

// producer is a connection that sends.
type producer struct {
	client interop.Client
	target interop.Target
}

// produce sends count messages in all, split over the producers, and returns a
// function that waits for the end and reports what went wrong.
func produce(ctx context.Context, t *testing.T, l *ledger, count int, producers []producer) (wait func()) {
	t.Helper()
	errs := make(chan error, len(producers))
	for i, p := range producers {
		share := count / len(producers)
		if i < count%len(producers) {
			share++
		}
		name := fmt.Sprintf("%s-%d", p.client.Name(), i)
		mine := l.bodies(name, share)
		go func() { errs <- p.client.Send(ctx, p.target, mine, l.confirm) }()
	}
	return func() {
		t.Helper()
		for range producers {
			if err := <-errs; err != nil {
				t.Errorf("a producer saw an error: %v", err)
			}
		}
	}
}

// consume starts one consumer that ends when count different messages were
// received, and returns a function that waits for its end.
func consume(ctx context.Context, t *testing.T, l *ledger, count int, c interop.Client, from interop.Target) (wait func()) {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- c.Receive(ctx, from, 0, l.until(count)) }()
	return func() {
		t.Helper()
		if err := <-done; err != nil {
			t.Errorf("the consumer saw an error: %v", err)
		}
	}
}

// several returns n producers alike.
func several(n int, c interop.Client, to interop.Target) []producer {
	out := make([]producer, n)
	for i := range out {
		out[i] = producer{c, to}
	}
	return out
}

// made makes an empty queue by way of a node and returns its name.
func made(t *testing.T, via *harness.Node, queue string) string {
	t.Helper()
	ctx, client := bounded(t), interop.GoSTOMP{}
	to := at(via, client, queue)
	if err := client.Send(ctx, to, []string{"probe:0"}, func(string) {}); err != nil {
		t.Fatalf("make the queue %s: %v", queue, err)
	}
	if err := client.Receive(ctx, to, 1, func(interop.Message) bool { return false }); err != nil {
		t.Fatalf("empty the queue %s: %v", queue, err)
	}
	harness.AwaitDepth(t, via.HTTP, queue, 0)
	return queue
}

// ledBy returns the name of a new, empty queue whose shard is led by the node
// of that name. It makes queues, by way of another node, until there is one, once
// the leaders are spread over the nodes.
func ledBy(t *testing.T, via *harness.Node, leader, prefix string) string {
	t.Helper()
	harness.Until(t, "a shard led by each node", func() (string, bool) {
		view, err := harness.LookNodes(via.HTTP)
		idle := err != nil || len(view.Nodes) == 0
		for _, n := range view.Nodes {
			idle = idle || len(n.ShardsLed) == 0
		}
		return fmt.Sprintf("%+v, error %v", view, err), !idle
	})
	for i := range 64 {
		queue := made(t, via, fmt.Sprintf("%s-%d", prefix, i))
		if harness.Leader(t, via.HTTP, queue) == leader {
			return queue
		}
	}
	t.Fatalf("64 queues, and %s leads the shard of none", leader)
	return ""
}

// otherThan returns the nodes but one.
func otherThan(c *harness.Cluster, name string) []*harness.Node {
	var out []*harness.Node
	for _, n := range c.Nodes {
		if n.Name != name {
			out = append(out, n)
		}
	}
	return out
}
