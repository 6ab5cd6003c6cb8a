package integration

import (
	"fmt"
	"slices"
	"strconv"
	"testing"

	"github.com/selvedge-mq/selvedge/integration/harness"
	"github.com/selvedge-mq/selvedge/integration/history"
	"github.com/selvedge-mq/selvedge/integration/interop"
)

// deadLetters is the queue of messages that failed too often.
const deadLetters = "ActiveMQ.DLQ"

// A message kills the node of everybody who gets it. Its attempts are counted
// over all those deaths, until it is out of the way; the messages behind it
// arrive.
func TestFaultPoisonMessage(t *testing.T) {
	beside(t)
	const most, good = 2, 20
	c := harness.StartCluster(t, 3, "--max-deliveries", "2")
	queue := ledBy(t, c.Nodes[0], "c", "poisoned")
	l, amqp := newLedger(), interop.GoAMQP{}
	poison := l.bodies("poison", 1)[0]
	for _, bodies := range [][]string{{poison}, l.bodies("good", good)} {
		if err := amqp.Send(bounded(t), at(c.Nodes[0], amqp, queue), bodies, l.confirm); err != nil {
			t.Fatal(err)
		}
	}
	for attempt := range most {
		victim := c.Nodes[attempt] // a, then b
		err := amqp.Consume(bounded(t), at(victim, amqp, queue), 1, func(m interop.Message) interop.Outcome {
			if m.Body != poison || m.Failed != attempt {
				t.Errorf("attempt %d: got %s, failed %d times, want %s, failed %d times", attempt+1, m.Body, m.Failed, poison, attempt)
			}
			victim.Kill()
			return interop.Drop
		})
		if err != nil {
			t.Fatalf("attempt %d: %v", attempt+1, err)
		}
		victim.Restart()
		c.AwaitHealthy()
	}
	// It is judged when it would be handed out once more.
	consume(bounded(t), t, l, good, amqp, at(c.Nodes[1], amqp, queue))()
	harness.AwaitDepth(t, c.Nodes[0].HTTP, queue, 0)
	buried(t, l, c.Nodes[1], poison)
	v := l.check(t, good+1, false)
	figure(t, fmt.Sprintf("a message kills the node of each of its consumers, max-deliveries %d", most), tallied(&v), "it became a dead letter", "")
}

// What a consumer has said about failed attempts is not forgotten when the
// leader dies.
func TestFaultKillLeaderKeepsCounts(t *testing.T) {
	beside(t)
	const failures = 3
	c := harness.StartCluster(t, 3)
	queue := ledBy(t, c.Nodes[0], "c", "counted")
	l, amqp, others := newLedger(), interop.GoAMQP{}, otherThan(c, "c")
	body := l.bodies("counted", 1)
	if err := amqp.Send(bounded(t), at(others[0], amqp, queue), body, l.confirm); err != nil {
		t.Fatal(err)
	}
	want := 0
	judge := func(m interop.Message) interop.Outcome {
		if m.Failed != want {
			t.Errorf("failed attempts: got %d, want %d", m.Failed, want)
		}
		want++
		switch {
		case want <= failures:
			return interop.Fail
		case c.Node("c").Running():
			c.Node("c").Kill() // what this consumer holds stays its own
			return interop.Fail
		default:
			l.take(m)
			return interop.Last
		}
	}
	if err := amqp.Consume(bounded(t), at(others[1], amqp, queue), 1, judge); err != nil {
		t.Fatal(err)
	}
	v := l.check(t, 1, false)
	figure(t, "kill -9 of the leader between failed attempts", tallied(&v), fmt.Sprintf("failed attempts kept: %d", failures+1), "")
	c.Node("c").Restart()
	c.AwaitHealthy()
	harness.AwaitDepth(t, others[0].HTTP, queue, 0)
}

// A message kills each of its consumers together with the leader of its queue, on the
// same node: nobody is left who saw an attempt fail. They are counted by the next
// leader, all but the first, of which there is no evidence. What the consumers had
// beside it is not counted.
func TestFaultPoisonMessageKillsItsLeader(t *testing.T) {
	beside(t)
	limit := []string{"--max-deliveries", strconv.Itoa(mostPoison)}
	const fault = "a message kills its leader with each of its consumers, max-deliveries %d, %s"
	t.Run("on a node alone", func(t *testing.T) {
		n := harness.Start(t, harness.Options{Args: limit})
		v := killLeadersByMessage(t, []*harness.Node{n})
		figure(t, fmt.Sprintf(fault, mostPoison, "a node alone"), tallied(&v), "it became a dead letter", "")
	})
	t.Run("on three nodes", func(t *testing.T) {
		v := killLeadersByMessage(t, harness.StartCluster(t, 3, limit...).Nodes)
		figure(t, fmt.Sprintf(fault, mostPoison, "three nodes"), tallied(&v), "it became a dead letter", "")
	})
}

// mostPoison is how many attempts a message that kills leaders has.
const mostPoison = 3

func killLeadersByMessage(t *testing.T, nodes []*harness.Node) history.Verdict {
	t.Helper()
	const good = 20
	first := nodes[0]
	queue := made(t, first, "poisoned")
	l, amqp := newLedger(), interop.GoAMQP{}
	poison := l.bodies("poison", 1)[0]
	for _, bodies := range [][]string{{poison}, l.bodies("good", good)} {
		if err := amqp.Send(bounded(t), at(first, amqp, queue), bodies, l.confirm); err != nil {
			t.Fatal(err)
		}
	}
	for death := range mostPoison + 1 {
		leader := harness.Leader(t, first.HTTP, queue)
		victim := nodes[slices.IndexFunc(nodes, func(n *harness.Node) bool { return n.Name == leader })]
		err := amqp.Consume(bounded(t), at(victim, amqp, queue), 5, func(m interop.Message) interop.Outcome {
			want := max(death-1, min(death, 1)) // AMQP has no other mark than one failed attempt
			if m.Body != poison || m.Failed != want {
				t.Errorf("after %d deaths: got %s, failed %d times, want %s, failed %d times", death, m.Body, m.Failed, poison, want)
			}
			victim.Kill()
			return interop.Drop
		})
		if err != nil {
			t.Fatalf("after %d deaths: %v", death, err)
		}
		victim.Restart()
		harness.AwaitHealthy(t, first.HTTP, len(nodes))
	}
	survivors(t, l, first, queue, good)
	buried(t, l, first, poison)
	return l.check(t, good+1, false)
}

// buried receives the one dead letter, and checks that it is the poison.
func buried(t *testing.T, l *ledger, n *harness.Node, poison string) {
	t.Helper()
	amqp := interop.GoAMQP{}
	err := amqp.Receive(bounded(t), at(n, amqp, deadLetters), 1, func(m interop.Message) bool {
		l.history.Add(history.Event{Kind: history.Received, Queue: deadLetters, Message: m.Body})
		if m.Body != poison {
			t.Errorf("dead letter: got %s, want %s", m.Body, poison)
		}
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
}

// survivors receives the messages that a poison message had beside it: they are marked,
// and no attempt was counted.
func survivors(t *testing.T, l *ledger, n *harness.Node, queue string, count int) {
	t.Helper()
	amqp := interop.GoAMQP{}
	err := amqp.Consume(bounded(t), at(n, amqp, queue), count, func(m interop.Message) interop.Outcome {
		if m.Failed > 1 {
			t.Errorf("%s: got %d failed attempts, want the mark alone", m.Body, m.Failed)
		}
		l.take(m)
		if l.distinct() == count {
			return interop.Last
		}
		return interop.Accept
	})
	if err != nil {
		t.Fatal(err)
	}
	harness.AwaitDepth(t, n.HTTP, queue, 0)
}
