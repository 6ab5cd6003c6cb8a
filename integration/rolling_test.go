package integration

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/selvedge-mq/selvedge/integration/harness"
	"github.com/selvedge-mq/selvedge/integration/history"
	"github.com/selvedge-mq/selvedge/integration/interop"
)

// orderly are what a client may be told by a node that stops: its farewell, or
// what a closed connection looks like.
var orderly = []string{
	"shutting down", "the node stops", "connection:forced", "EOF", "connection refused",
	"connection reset", "broken pipe", "closed", "connection ended",
}

// All nodes are stopped and started again, one after the other, under load.
// Clients of the node that stops connect elsewhere; nobody sees another error, nor more
// than a short pause.
func TestFaultRollingRestart(t *testing.T) {
	beside(t)
	c := harness.StartCluster(t, 3)
	crowd := newCrowd(t)
	for i, n := range c.Nodes {
		queue := ledBy(t, c.Nodes[0], n.Name, "rolled-"+n.Name)
		nodes := []*harness.Node{n, c.Nodes[(i+1)%3]}
		for _, client := range interop.Streamers() {
			name := n.Name + "-" + string(client.Protocol())
			crowd.send(sender{name: name, client: client, nodes: nodes, queue: queue, every: 2 * time.Millisecond, window: 100})
			crowd.take(taker{name: name, client: client, nodes: nodes, queue: queue, credit: 100})
		}
	}
	var steady, moved []time.Duration
	times := rounds(t, 3)
	for i := range times {
		for _, n := range c.Nodes {
			crowd.afterConfirmed(500)
			from := crowd.harm("SIGTERM to " + n.Name)
			n.Stop()
			crowd.afterConfirmed(500)
			s, m := pauses(crowd.between(from, crowd.harm("start of "+n.Name)))
			steady, moved = append(steady, s), append(moved, m)
			progress(t, "rolling restart, round %d of %d, node %s: longest pause of a producer that stayed %v", i+1, times, n.Name, s)
			n.Restart()
			c.AwaitHealthy()
		}
	}
	v := crowd.finish()
	complain(t, &v)
	for _, e := range crowd.history.Events() {
		if e.Kind == history.Disconnected && !slices.ContainsFunc(orderly, func(s string) bool { return strings.Contains(e.Reason, s) }) {
			t.Errorf("%s at %v: got %q, want no error but the end of its connection", e.Client, rounded(e.At), e.Reason)
		}
	}
	measured(t, "rolling restart: %s", &v)
	measured(t, "rolling restart: longest pause of a producer that stayed: %v, that had to connect again: %v", steady, moved)
	pausedEach(t, fmt.Sprintf("rolling restart of all three, %d times", times), tallied(&v), slices.Concat(steady, moved),
		span(t, "SELVEDGE_STOP_PAUSE", sized(busyPause, fullStopPause)))
}

// pauses returns the longest pause of a producer that kept its connection, and
// of one that did not.
func pauses(events []history.Event) (steady, moved time.Duration) {
	var away []string
	for _, e := range events {
		if e.Kind == history.Disconnected {
			away = append(away, e.Client)
		}
	}
	v := history.Check(events, history.Options{Unfinished: true})
	for producer, p := range v.Pauses {
		if slices.Contains(away, producer) {
			moved = max(moved, rounded(p.Length))
		} else {
			steady = max(steady, rounded(p.Length))
		}
	}
	return steady, moved
}
