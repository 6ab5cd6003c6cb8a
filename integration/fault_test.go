package integration

import (
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/selvedge-mq/selvedge/integration/harness"
	"github.com/selvedge-mq/selvedge/integration/history"
	"github.com/selvedge-mq/selvedge/integration/interop"
)

// mixed returns producers of both protocols on the nodes given.
func mixed(nodes []*harness.Node, queue string) []producer {
	stomp, amqp := interop.GoSTOMP{}, interop.GoAMQP{}
	var out []producer
	for _, n := range nodes {
		out = append(out, several(8, stomp, at(n, stomp, queue))...)
		out = append(out, several(1, amqp, at(n, amqp, queue))...)
	}
	return out
}

// disturb runs producers on two nodes and a consumer on one of them, and harms
// the leader of the queue, the third node, when a third of the messages is
// confirmed. Nothing that was confirmed may be lost, and no client may see more
// than a pause.
func disturb(t *testing.T, c *harness.Cluster, queue string, count int, harm func(leader *harness.Node)) history.Verdict {
	t.Helper()
	leader := c.Node(harness.Leader(t, c.Nodes[0].HTTP, queue))
	ctx, l, amqp, others := bounded(t), newLedger(), interop.GoAMQP{}, otherThan(c, leader.Name)
	third := l.afterConfirmed(count / 3)
	received := consume(ctx, t, l, count, amqp, at(others[1], amqp, queue))
	sent := produce(ctx, t, l, count, mixed(others, queue))
	select {
	case <-third:
		harm(leader)
	case <-ctx.Done():
		t.Error("the first third was not confirmed in time")
	}
	sent()
	received()
	v := l.check(t, count, false)
	measured(t, "%s: %d messages, longest pause of a producer %v, %d delivered again and marked",
		t.Name(), count, rounded(v.LongestPause()), v.Again)
	return v
}

// The leader is killed in the middle of confirmed sends, time and again.
func TestFaultKillLeader(t *testing.T) {
	beside(t)
	c, count, times := harness.StartCluster(t, 3), messages(t)/2, rounds(t, fullRounds)
	var pauses []time.Duration
	var all tally
	for i := range times {
		queue := made(t, c.Nodes[i%3], fmt.Sprintf("killed-%d", i))
		var victim *harness.Node
		v := disturb(t, c, queue, count, func(leader *harness.Node) {
			victim = leader
			leader.Kill()
		})
		if victim == nil || t.Failed() {
			t.FailNow()
		}
		pauses = append(pauses, v.LongestPause())
		all.add(&v)
		progress(t, "kill -9 of the leader, %d of %d: longest pause %v", i+1, times, rounded(v.LongestPause()))
		victim.Restart()
		c.AwaitHealthy()
		harness.AwaitDepth(t, c.Nodes[0].HTTP, queue, 0)
	}
	paused(t, fmt.Sprintf("kill -9 of the leader, %d times", times), &all, pauses, longestPause(t, fullPause))
}

func TestFaultStopLeader(t *testing.T) {
	beside(t)
	c := harness.StartCluster(t, 3)
	queue := ledBy(t, c.Nodes[0], "c", "stopped")
	v := disturb(t, c, queue, messages(t)/2, (*harness.Node).Stop)
	pausedEach(t, "graceful stop of the leader", tallied(&v), []time.Duration{v.LongestPause()},
		span(t, "SELVEDGE_STOP_PAUSE", sized(busyPause, fullStopPause)))
	c.Node("c").Restart()
	c.AwaitHealthy()
	harness.AwaitDepth(t, c.Nodes[0].HTTP, queue, 0)
}

// A leader that stands still keeps its connections: the others must find out,
// and what it does when it wakes up must not count: its appends come late, its
// deliveries are of a former epoch.
func TestFaultPauseLeader(t *testing.T) {
	c := harness.StartCluster(t, 3)
	queue := ledBy(t, c.Nodes[0], "c", "paused")
	v := disturb(t, c, queue, messages(t)/2, func(leader *harness.Node) {
		over := time.NewTimer(pauseTime(t))
		defer over.Stop()
		leader.Pause()
		via := otherThan(c, leader.Name)[0].HTTP
		harness.Until(t, "another leader", func() (string, bool) {
			q, err := harness.Look(via, queue)
			return q.Leader, err == nil && q.Leader != leader.Name && q.Leader != ""
		})
		<-over.C
		leader.Resume()
	})
	paused(t, fmt.Sprintf("SIGSTOP of the leader for %v", pauseTime(t)), tallied(&v), []time.Duration{v.LongestPause()}, longestPause(t, fullStill))
	c.AwaitHealthy()
	harness.AwaitDepth(t, c.Nodes[0].HTTP, queue, 0)
}

// A consumer on the leader's own node dies with it: what it held comes again to
// the next consumer, marked. So is what it never saw, as far as it was under way to it or
// reserved for it, and nothing else.
func TestFaultKillLeaderWithConsumer(t *testing.T) {
	beside(t)
	c := harness.StartCluster(t, 3)
	queue := ledBy(t, c.Nodes[0], "c", "orphaned")
	leader, others, count := c.Node("c"), otherThan(c, "c"), messages(t)/4
	l := fill(t, others[0], queue, count)
	ctx, stomp, amqp := bounded(t), interop.GoSTOMP{}, interop.GoAMQP{}
	const (
		credit = 50
		marked = credit + 2*credit // under way; and reserved ahead, twice the credit at once
	)
	err := stomp.Consume(ctx, at(leader, stomp, queue), credit, func(m interop.Message) interop.Outcome {
		l.take(m)
		if l.distinct() == count/2 {
			leader.Kill() // and so this one is never acknowledged
		}
		return interop.Accept
	})
	if err == nil {
		t.Fatal("the consumer on the killed node: got no error")
	}
	consume(ctx, t, l, count, amqp, at(others[1], amqp, queue))()
	v := l.check(t, count, false)
	if v.Again == 0 {
		t.Error("messages that came again: got none, want the last one at least, which was not acknowledged")
	}
	if v.Caution > marked {
		t.Errorf("first arrivals that were marked: got %d, want at most the %d that were under way or reserved", v.Caution, marked)
	}
	measured(t, "kill -9 of leader and consumer: %d of %d delivered again and marked, %d marked for the first time", v.Again, count, v.Caution)
	figure(t, "kill -9 of the leader with its consumer", tallied(&v), fmt.Sprintf("first arrivals that were marked: %d", v.Caution), strconv.Itoa(marked))
	leader.Restart()
	c.AwaitHealthy()
	harness.AwaitDepth(t, others[0].HTTP, queue, 0)
}
