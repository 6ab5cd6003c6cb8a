package integration

import (
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/selvedge-mq/selvedge/integration/harness"
	"github.com/selvedge-mq/selvedge/integration/history"
	"github.com/selvedge-mq/selvedge/integration/interop"
)

// afterLease is when a leader without a majority must have fallen silent: the
// lease of 400 ms, and time for a busy machine to hand over what came before.
const afterLease = 1500 * time.Millisecond

// probeEvery is how often the tests of the lease try something new.
const probeEvery = 20 * time.Millisecond

// patient is an election that is so slow that a leader without its peers believes
// in itself for longer than this test looks at it: its lease alone stops it.
const patient = "4s"

// A leader that loses both peers serves nothing outside its lease, also what it
// could serve without its log: messages that are not logged, and those below a
// reservation, to consumers that are there and to new ones.
func TestFaultLeaderLosesPeers(t *testing.T) {
	c := harness.StartCluster(t, 3, "--send-timeout", shortTimeout.String(), "--max-deliveries", "1000", "--election", patient)
	backlog, loose := ledBy(t, c.Nodes[0], "c", "backlog"), ledBy(t, c.Nodes[0], "c", "loose")
	leader, here := c.Node("c"), []*harness.Node{c.Node("c")}
	amqp := interop.GoAMQP{}
	l := fill(t, leader, backlog, 500)
	volatile, late := newCrowd(t), newCrowd(t)
	for _, client := range interop.Streamers() {
		name := string(client.Protocol())
		volatile.send(sender{name: name, client: client, nodes: here, queue: loose, every: probeEvery, window: 1, loose: true})
		volatile.take(taker{name: name, client: client, nodes: here, queue: loose, credit: 100})
	}
	volatile.afterConfirmed(100)
	if newConsumers(late, leader, backlog, time.Second) == 0 {
		t.Error("new consumers with their peers there: got no message, want some")
	}
	lines, end, err := leader.Logged(0, "shard is led here")
	if err != nil || len(lines) == 0 {
		t.Fatalf("got the lines %q, error %v, want that node %s leads", lines, err, leader.Name)
	}
	cut, cutLate := volatile.harm("both peers stand still"), late.harm("both peers stand still")
	for _, p := range otherThan(c, "c") {
		p.Pause()
	}
	newConsumers(late, leader, backlog, shortTimeout)
	believes(t, leader, end)
	newConsumers(late, leader, backlog, pauseTime(t))
	silent(t, volatile, cut+afterLease)
	silent(t, late, cutLate+afterLease)
	for _, p := range otherThan(c, "c") {
		p.Resume()
	}
	late.end()
	c.AwaitHealthy()
	volatile.afterConfirmed(100)
	loss := volatile.end()
	failedInTime(t, &loss, shortTimeout)
	measured(t, "leader without its peers, nothing to log: %s", &loss)
	consume(bounded(t), t, l, 500, amqp, at(leader, amqp, backlog))()
	v := l.check(t, 500, false)
	figure(t, fmt.Sprintf("a leader loses both peers for %v, nothing to log", shortTimeout+pauseTime(t)), tallied(&v),
		fmt.Sprintf("slowest answer %v; confirmed or handed out after the lease: none", rounded(loss.Slowest)), (shortTimeout + answerSlack).String())
}

// believes checks that a node which nobody answers still takes itself for the leader of
// what it led when its log ended at from: a test that nothing comes from a leader without
// a lease shows nothing of one that has resigned. Whom the API names has a lease.
func believes(t *testing.T, n *harness.Node, from int64) {
	t.Helper()
	lines, _, err := n.Logged(from, "shard is not led here any more")
	if err != nil || len(lines) > 0 {
		t.Errorf("node %s, %v after its peers fell silent: got %q, error %v, want it to believe that it leads", n.Name, shortTimeout, lines, err)
	}
}

// The same with appends under way: they are not confirmed, fail with a reason,
// and are there once when the peers are back, if they are.
func TestFaultLeaderLosesPeersWithAppends(t *testing.T) {
	c := harness.StartCluster(t, 3, "--send-timeout", shortTimeout.String())
	queue := ledBy(t, c.Nodes[0], "c", "logged")
	crowd := newCrowd(t)
	pinned(crowd, c.Node("c"), queue)
	crowd.afterConfirmed(100)
	cut := crowd.harm("both peers stand still")
	for _, p := range otherThan(c, "c") {
		p.Pause()
	}
	wait := time.NewTimer(shortTimeout + pauseTime(t))
	defer wait.Stop()
	<-wait.C
	silent(t, crowd, cut+afterLease)
	saysWhy(t, of(crowd.between(cut+afterLease, crowd.history.Since()), "c", history.Failed))
	for _, p := range otherThan(c, "c") {
		p.Resume()
	}
	c.AwaitHealthy()
	crowd.afterConfirmed(100)
	v := crowd.finish()
	complain(t, &v)
	failedInTime(t, &v, shortTimeout)
	measured(t, "leader without its peers, appends under way: %s", &v)
	figure(t, fmt.Sprintf("a leader loses both peers for %v, appends under way", shortTimeout+pauseTime(t)), tallied(&v),
		fmt.Sprintf("slowest answer %v; confirmed after the lease: none", rounded(v.Slowest)), (shortTimeout + answerSlack).String())
}

// newConsumers opens a new consumer again and again for that time, each with a
// credit of one, which says nothing to what it gets and stays as long as the crowd. It
// returns how many messages they have got.
func newConsumers(c *crowd, n *harness.Node, queue string, lasting time.Duration) int {
	var got atomic.Int64
	amqp, tick, over := interop.GoAMQP{}, time.NewTicker(10*probeEvery), time.NewTimer(lasting)
	defer tick.Stop()
	defer over.Stop()
	for {
		select {
		case <-tick.C:
		case <-over.C:
			return int(got.Load())
		}
		c.takers.Go(func() {
			// That it does not get anything is what is hoped for.
			_ = amqp.Consume(c.ctx, at(n, amqp, queue), 1, func(m interop.Message) interop.Outcome {
				got.Add(1)
				c.history.Add(history.Event{Kind: history.Received, Client: "new", Queue: queue, Message: m.Body, Marked: m.Redelivered})
				return interop.Keep
			})
		})
	}
}

// silent fails the test if anything was confirmed or handed out after that time.
func silent(t *testing.T, c *crowd, after time.Duration) {
	t.Helper()
	for _, e := range c.between(after, c.history.Since()) {
		if e.Kind == history.Confirmed || e.Kind == history.Received {
			breached(t, "%v after its lease must have ended a leader went on: %+v", rounded(e.At-after), e)
			return
		}
	}
}

// answerSlack is how much longer than send-timeout an answer may take to reach
// its producer: the node looks four times a second, and the machine is busy.
const answerSlack = 3 * time.Second

// failedInTime fails the test if a producer waited for an answer for longer than
// the send timeout allows, or never got one.
func failedInTime(t *testing.T, v *history.Verdict, limit time.Duration) {
	t.Helper()
	if v.Failed == 0 {
		t.Error("failed sends: got none, want some")
	}
	if v.Unanswered > 0 {
		t.Errorf("sends without an answer: got %d, want none", v.Unanswered)
	}
	if v.Slowest > limit+answerSlack {
		t.Errorf("slowest answer: got %v, want at most %v and a little", v.Slowest, limit)
	}
}

// stalled returns the longest time between two others in which no producer got a
// confirmation.
func stalled(c *crowd, from, until time.Duration) time.Duration {
	var longest time.Duration
	last := from
	for _, e := range c.between(from, until) {
		if e.Kind == history.Confirmed {
			longest, last = max(longest, e.At-last), e.At
		}
	}
	return max(longest, until-last)
}

// failedAppends returns how many appends of a node were refused, because another leader's
// record stood there, or had no answer in time.
func failedAppends(t *testing.T, n *harness.Node) int {
	t.Helper()
	const appends = "selvedge_log_appends_total"
	return int(metric(t, n, appends, "") - metric(t, n, appends, `outcome="committed"`))
}

// A leader with clients of its own stands still for longer than its lease, with
// sends under way. What it had under way, or writes when it wakes, comes to nothing: it is
// refused, or void, and nothing of it is there beside what the next leader has. What it hands out is not taken for a first
// delivery.
func TestFaultPauseLeaderWithClients(t *testing.T) {
	c := harness.StartCluster(t, 3, "--max-deliveries", "1000")
	queue := ledBy(t, c.Nodes[0], "c", "frozen")
	crowd := newCrowd(t)
	for _, n := range c.Nodes {
		for _, client := range interop.Streamers() {
			name := n.Name + "-" + string(client.Protocol())
			crowd.send(sender{name: name, client: client, nodes: []*harness.Node{n}, queue: queue, every: 2 * time.Millisecond, window: 100})
			crowd.take(taker{name: name, client: client, nodes: []*harness.Node{n}, queue: queue, credit: 50})
		}
	}
	var away []time.Duration // how long nobody had a confirmation while the leader stood still
	failed, times := 0, rounds(t, 2)
	for i := range times {
		crowd.afterConfirmed(500)
		leader := c.Node(harness.Leader(t, c.Nodes[0].HTTP, queue))
		before := failedAppends(t, leader)
		over := time.NewTimer(pauseTime(t))
		from := crowd.harm("pause of " + leader.Name)
		leader.Pause()
		<-over.C
		until := crowd.harm("end of the pause")
		leader.Resume()
		away = append(away, rounded(stalled(crowd, from, until)))
		c.AwaitHealthy()
		failed += failedAppends(t, leader) - before
		progress(t, "SIGSTOP of a leader with clients, %d of %d: nobody had a confirmation for %v", i+1, times, away[i])
	}
	crowd.afterConfirmed(500)
	v := crowd.finish()
	complain(t, &v)
	if failed == 0 {
		t.Error("appends of leaders that stood still and were refused, or not answered: got none, want some")
	}
	// Who waits for the node that stands still is found where the test waits for long.
	longest, limit := slices.Max(away), longestPause(t, fullStill)
	if longest > limit {
		t.Errorf("longest time without a confirmation: got %v, want at most %v", longest, limit)
	}
	measured(t, "pause of a leader with clients: nobody confirmed anything for %v, %d of its appends refused or not answered; all: %s", away, failed, &v)
	figure(t, fmt.Sprintf("SIGSTOP of a leader with clients for %v, %d times", pauseTime(t), times), tallied(&v),
		fmt.Sprintf("no confirmation at all for %v; its appends refused or not answered: %d", longest, failed), limit.String())
}
