package integration

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/selvedge-mq/selvedge/integration/harness"
	"github.com/selvedge-mq/selvedge/integration/history"
	"github.com/selvedge-mq/selvedge/integration/interop"
)

// shortTimeout is the send-timeout of the tests that wait for it.
const shortTimeout = 2 * time.Second

// pinned starts a producer of each protocol on the node, and one consumer, which
// stay with it. The producers' names begin with that of the node.
func pinned(c *crowd, n *harness.Node, queue string) {
	here := []*harness.Node{n}
	for _, client := range interop.Streamers() {
		c.send(sender{
			name: n.Name + "-" + string(client.Protocol()) + "-" + queue, client: client, nodes: here, queue: queue,
			every: 5 * time.Millisecond, window: 20,
		})
	}
	c.take(taker{name: "taker-" + n.Name + "-" + queue, client: interop.GoAMQP{}, nodes: here, queue: queue, credit: 50})
}

// of returns the events of a node's pinned producers.
func of(events []history.Event, node string, kind history.Kind) []history.Event {
	var out []history.Event
	for _, e := range events {
		if e.Kind == kind && strings.HasPrefix(e.Client, node+"-") {
			out = append(out, e)
		}
	}
	return out
}

// noMajority is what a node says of a send that it could not confirm because its peers
// are gone, cut off or silent.
var noMajority = regexp.MustCompile(`the outcome is unknown; a majority of the (?:nodes that store the queue|cluster) (is out of reach|has not answered)`)

// saysWhy fails the test if a send failed, after the lease of whoever led, without the
// reason that the broker has no majority.
func saysWhy(t *testing.T, failures []history.Event) {
	t.Helper()
	if len(failures) == 0 {
		t.Error("failed sends: got none, want some")
	}
	for _, e := range failures {
		if !noMajority.MatchString(e.Reason) {
			t.Errorf("reason of a send of %s that failed: got %q, want the majority that is missing", e.Client, e.Reason)
			return
		}
	}
}

// Two nodes of three die: sends fail with a reason within the send timeout, no
// client hangs, and all goes on when one of them is back.
func TestFaultTwoOfThreeDead(t *testing.T) {
	beside(t)
	c := harness.StartCluster(t, 3, "--send-timeout", shortTimeout.String())
	crowd, a := newCrowd(t), c.Node("a")
	for _, leader := range []string{"a", "c"} {
		pinned(crowd, a, ledBy(t, a, leader, "led-by-"+leader))
	}
	crowd.afterConfirmed(200)
	from := crowd.harm("b and c are killed")
	c.Node("b").Kill()
	c.Node("c").Kill()
	harness.Until(t, "producers of each protocol that were told three times", func() (string, bool) {
		since := crowd.between(from, crowd.history.Since())
		return strings.Join(crowd.told(), "\n"),
			len(of(since, "a-stomp", history.Disconnected)) >= 6 && len(of(since, "a-amqp", history.Disconnected)) >= 6
	})
	leavesInTime(t, a)
	until := crowd.harm("b is back")
	dead := crowd.between(from+afterLease, until)
	saysWhy(t, of(dead, "a", history.Failed))
	if n := len(of(dead, "a", history.Confirmed)); n > 0 {
		breached(t, "confirmed without a majority: got %d, want none", n)
	}
	c.Node("b").Launch()
	crowd.afterConfirmed(200)
	c.Node("c").Restart()
	c.AwaitHealthy()
	crowd.afterConfirmed(200)
	v := crowd.finish()
	complain(t, &v)
	failedInTime(t, &v, shortTimeout)
	measured(t, "two of three dead: %s", &v)
	figure(t, fmt.Sprintf("two of three dead, send-timeout %v", shortTimeout), tallied(&v),
		fmt.Sprintf("slowest answer %v, no hang", rounded(v.Slowest)), (shortTimeout + answerSlack).String())
}

// leavesInTime has the verb receive look for a message at a node that has no majority, for
// a second: it ends soon after it.
func leavesInTime(t *testing.T, n *harness.Node) {
	t.Helper()
	const leave = 2 * time.Second
	for _, client := range interop.Streamers() {
		protocol, began := string(client.Protocol()), time.Now()
		code, out := verb(t, "receive", "led-by-nobody", "--count", "1", "--timeout", "1s", "--protocol", protocol, "--server", at(n, client, "").Addr)
		if took := time.Since(began); code != 1 || took > time.Second+leave+answerSlack {
			t.Errorf("receive by %s without a majority: got exit code %d, %q after %v, want 1 after a second, and two at most to leave", protocol, code, out, rounded(took))
		}
	}
}

// A node is cut off the other two, without a word. It confirms nothing and says
// why; the others go on; when the cable is back, nothing is lost or doubled.
func TestFaultCutMinority(t *testing.T) {
	beside(t)
	w := harness.NewNetwork(t, 3)
	c := harness.NewClusterOn(t, w.Hosts, "--send-timeout", shortTimeout.String())
	c.StartAll()
	crowd := newCrowd(t)
	for _, leader := range []string{"a", "c"} {
		queue := ledBy(t, c.Nodes[0], leader, "led-by-"+leader)
		for _, n := range c.Nodes {
			pinned(crowd, n, queue)
		}
	}
	crowd.afterConfirmed(500)
	from := crowd.harm("c is cut off")
	w.Isolate(w.Host("c"))
	harness.Until(t, "no quorum at c", func() (string, bool) {
		view, err := harness.LookNodes(c.Node("c").HTTP)
		return "quorum", err == nil && !view.Quorum
	})
	crowd.afterConfirmed(500) // by the majority, as is looked at below
	harness.Until(t, "producers at c that were told twice", func() (string, bool) {
		return strings.Join(crowd.told(), "\n"), len(of(crowd.between(from, crowd.history.Since()), "c", history.Disconnected)) >= 4
	})
	until := crowd.harm("c is back")
	during := crowd.between(from+afterLease, until)
	if n := len(of(during, "c", history.Confirmed)); n > 0 {
		breached(t, "confirmed by the minority: got %d, want none", n)
	}
	saysWhy(t, of(during, "c", history.Failed))
	for _, n := range []string{"a", "b"} {
		if len(of(during, n, history.Confirmed)) == 0 {
			t.Errorf("confirmed by node %s of the majority: got none, want some", n)
		}
	}
	w.Heal()
	c.AwaitHealthy()
	healed := crowd.harm("healthy")
	harness.Until(t, "confirmations at c", func() (string, bool) {
		return strings.Join(crowd.told(), "\n"), len(of(crowd.between(healed, crowd.history.Since()), "c", history.Confirmed)) > 100
	})
	v := crowd.finish()
	complain(t, &v)
	failedInTime(t, &v, shortTimeout)
	majority := rounded(pauseOf(crowd.between(from, until), "a", "b"))
	measured(t, "minority cut off: majority's pause %v; all: %s", majority, &v)
	figure(t, "a minority cut off", tallied(&v), fmt.Sprintf("longest pause of a producer of the majority %v; the minority confirmed nothing and said why", majority), "")
}

// pauseOf returns the longest pause of a producer on one of those nodes.
func pauseOf(events []history.Event, nodes ...string) time.Duration {
	var mine []history.Event
	for _, n := range nodes {
		mine = append(mine, of(events, n, history.Confirmed)...)
	}
	v := history.Check(mine, history.Options{Unfinished: true})
	return v.LongestPause()
}
