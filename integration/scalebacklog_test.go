package integration

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/selvedge-mq/selvedge/integration/harness"
)

const (
	// backlogMemory is what a node may hold with a million messages waiting: 80 B
	// for each of them, beside what it holds in a flood (mostMemory).
	backlogMemory = 80
	// emptyDisk is what the data folder of a node without messages may hold: a
	// block of each shard's log that is written to still, and the checkpoints.
	emptyDisk = 128 << 20
	// slowestDrain is the share of the pace of a small backlog that a large one is
	// emptied at. The small one has a tenth of its messages, and its node was killed and
	// started before, too, so that both are read from the log; it is filled and emptied
	// smallDrains times.
	slowestDrain = 0.8
	smallDrains  = 3
	// backlogSize is the size of a body.
	backlogSize = 1024
)

// loaded are the arguments of the bench for messages of backlogSize in four queues.
func loaded(queue string, count int, more ...string) []string {
	return append([]string{queue, "--size", strconv.Itoa(backlogSize), "--count", strconv.Itoa(count), "--queues", "4"}, more...)
}

// firstOf waits until the first message of a queue comes by way of a node, and
// drops the connection without a word: the message stays.
func firstOf(t *testing.T, n *harness.Node, queue string) {
	t.Helper()
	x := subscribeRaw(t, n.STOMP, queue, "ack:client-individual\nprefetch-count:1")
	defer x.nc.Close()
	if command, message := x.frame(t); command != "MESSAGE" {
		t.Fatalf("the first message of %s: got %q %q", queue, command, message)
	}
}

// A million messages wait: in bounded memory, over a kill of the node, and without
// slowing those who empty the queues; then the disk is given back.
func TestScaleBacklog(t *testing.T) {
	scaled(t)
	n, count := scaleNode(t), number(t, "SELVEDGE_BACKLOG", 1_000_000)
	small, paces := smallBacklog(t, n, max(count/10, 1))
	filled := bench(t, n, loaded("backlog", count, "--producers", "4", "--consumers", "0")...)
	now, highest := resident(t, n)
	measured(t, "a backlog of %d messages of %d B: filled at %.0f a second, memory %d MiB (highest %d), disk %d MiB",
		count, backlogSize, filled.SendsPerSecond, now>>20, highest>>20, stored(t, n)>>20)
	limit := int64(mostMemory + backlogMemory*count)
	if highest > limit {
		t.Errorf("memory at its highest: got %d MiB, want at most %d", highest>>20, limit>>20)
	}

	n.Kill()
	begin := time.Now()
	n.Restart()
	served := time.Since(begin)
	for i := range 4 {
		firstOf(t, n, queueName("backlog", i+1))
	}
	first := time.Since(begin)
	now, highest = resident(t, n)
	took := slowestTakeover(t, n)
	measured(t, "after a kill: serves after %v, the slowest takeover took %v, the first message of each queue is there after %v, memory %d MiB (highest %d)",
		rounded(served), rounded(took), rounded(first), now>>20, highest>>20)
	if highest > limit {
		t.Errorf("memory of the next process at its highest: got %d MiB, want at most %d", highest>>20, limit>>20)
	}
	if took > mostTakeover {
		t.Errorf("takeover of a shard: got %v, want at most %v", took, mostTakeover)
	}

	drained := bench(t, n, loaded("backlog", count, "--producers", "0", "--consumers", "4")...)
	now, highest = resident(t, n)
	measured(t, "emptied at %.0f messages a second, a backlog of a tenth at %.0f (median of %.0f); memory %d MiB (highest %d)",
		drained.DeliveriesPerSecond, small, paces, now>>20, highest>>20)
	if drained.Received != uint64(count) {
		t.Errorf("received: got %d, want %d", drained.Received, count)
	}
	if drained.DeliveriesPerSecond < slowestDrain*small {
		t.Errorf("emptied at %.0f messages a second, want at least %.0f %% of %.0f", drained.DeliveriesPerSecond, slowestDrain*100, small)
	}
	awaitDisk(t, n, emptyDisk)
}

// smallBacklog fills and empties a small backlog some times, and returns the median
// of the messages a second at which it was emptied, and all of them: by a process that has
// none of it in memory, and nobody sends meanwhile, as when the large one is emptied.
func smallBacklog(t *testing.T, n *harness.Node, count int) (middle float64, paces []float64) {
	t.Helper()
	for range smallDrains {
		bench(t, n, loaded("small", count, "--producers", "4", "--consumers", "0")...)
		n.Kill()
		n.Restart()
		drained := bench(t, n, loaded("small", count, "--producers", "0", "--consumers", "4")...)
		paces = append(paces, drained.DeliveriesPerSecond)
	}
	slices.Sort(paces)
	return paces[len(paces)/2], paces
}

func stored(t *testing.T, n *harness.Node) int64 {
	t.Helper()
	size, err := n.Stored()
	if err != nil {
		t.Fatal(err)
	}
	return size
}

// awaitDisk waits until the data folder of a node is no larger than limit.
func awaitDisk(t *testing.T, n *harness.Node, limit int64) {
	t.Helper()
	begin := time.Now()
	var size int64
	harness.Until(t, fmt.Sprintf("at most %d MiB on disk", limit>>20), func() (string, bool) {
		size = stored(t, n)
		return fmt.Sprintf("%d MiB", size>>20), size <= limit
	})
	measured(t, "disk given back: %d MiB after %v", size>>20, rounded(time.Since(begin)))
}

// slowestTakeover reads from the log of a node how long the slowest of its shards
// took from leadership to service, as it is told there in milliseconds.
func slowestTakeover(t *testing.T, n *harness.Node) (slowest time.Duration) {
	t.Helper()
	lines, _, err := n.Logged(0, "shard is led here")
	if err != nil || len(lines) == 0 {
		t.Fatalf("takeovers in the log: got %d lines, error %v", len(lines), err)
	}
	for _, line := range lines {
		_, rest, _ := strings.Cut(line, `"took":`)
		text, _, _ := strings.Cut(rest, ",")
		ms, err := strconv.ParseFloat(text, 64)
		if err != nil {
			t.Fatalf("takeover: %v in %s", err, line)
		}
		slowest = max(slowest, time.Duration(ms*float64(time.Millisecond)))
	}
	return slowest
}

// The leader of a shard with a million messages dies: another node hands the first
// of them out soon.
func TestScaleTakeover(t *testing.T) {
	scaled(t)
	c, count := harness.StartCluster(t, 3, "--log-level", "info"), number(t, "SELVEDGE_BACKLOG", 1_000_000)
	queue := ledBy(t, c.Nodes[0], "c", "heavy")
	filled := bench(t, c.Nodes[0], queue, "--size", strconv.Itoa(backlogSize), "--count", strconv.Itoa(count), "--producers", "2", "--consumers", "0")
	harness.AwaitDepth(t, c.Nodes[0].HTTP, queue, count)
	now, highest := resident(t, c.Node("c"))
	begin := time.Now()
	c.Node("c").Kill()
	firstOf(t, c.Node("b"), queue)
	took := time.Since(begin)
	measured(t, "the leader of %d messages in one shard is killed: the first message after %v; filled at %.0f a second, memory of the leader %d MiB (highest %d)",
		count, rounded(took), filled.SendsPerSecond, now>>20, highest>>20)
	if took > mostTakeover {
		t.Errorf("takeover: got %v, want at most %v", took, mostTakeover)
	}
}

// oldQueues is how many queues keep a message for ever.
const oldQueues = 100

// One old message of each queue stays while others pass: the log is kept short by
// copying the old ones, and that costs no more than what is sent.
func TestScaleOldMessages(t *testing.T) {
	scaled(t)
	n, count := scaleNode(t), number(t, "SELVEDGE_BACKLOG", 1_000_000)/2
	passOld(t, []*harness.Node{n}, count)
	n.Kill() // with it goes the holder
	n.Restart()
	for i := range oldQueues + 1 {
		takeOne(t, n, queueName("old", i))
	}
}

// The same with three replicas, each of which writes the log of its raft too.
func TestScaleOldMessagesReplicated(t *testing.T) {
	scaled(t)
	c := harness.StartCluster(t, 3, "--log-level", "info")
	passOld(t, c.Nodes, number(t, "SELVEDGE_BACKLOG", 1_000_000)/4)
}

// passOld sends messages past the oldest of each queue, which is held, and looks at
// what that wrote. Two figures: the bytes of the records that the leaders appended to
// their logs, what was rewritten included, which has a limit; and what the nodes had
// their disks write, which has more to it: the blocks and the state of the logs, the
// log of the raft where there are replicas, and whole pages where less was changed.
func passOld(t *testing.T, nodes []*harness.Node, count int) {
	t.Helper()
	n := nodes[0]
	fillQueues(t, n.STOMP, "old", oldQueues+1) // the bench counts from 1
	holder := connectRaw(t, n.STOMP)
	for i := range oldQueues + 1 {
		holder.write(t, fmt.Sprintf("SUBSCRIBE\nid:%d\ndestination:/queue/%s\nack:client-individual\nprefetch-count:1\n\n\x00", i, queueName("old", i)))
		if command, message := holder.frame(t); command != "MESSAGE" {
			t.Fatalf("the old message of queue %d: got %q %q", i, command, message)
		}
	}
	appended, written := writes(t, nodes)
	flow := bench(t, n, "old", "--size", strconv.Itoa(backlogSize), "--count", strconv.Itoa(count), "--queues", strconv.Itoa(oldQueues),
		"--producers", "4", "--consumers", "4")
	appendedAfter, writtenAfter := writes(t, nodes)
	appended, written = appendedAfter-appended, writtenAfter-written
	sent := float64(count) * backlogSize
	measured(t, "%d messages pass %d that stay, %d nodes, %.0f a second: for each byte sent %.2f B appended to the logs, %.2f B written to the disk of each node; disk %d MiB",
		count, oldQueues, len(nodes), flow.DeliveriesPerSecond, appended/sent, written/sent/float64(len(nodes)), stored(t, n)>>20)
	if appended > mostAmplification*sent {
		t.Errorf("appended for each byte sent: got %.2f, want at most %.1f", appended/sent, mostAmplification)
	}
	if written == 0 {
		t.Log("measured: the kernel counts no writes on this file system")
	}
	for _, n := range nodes {
		awaitDisk(t, n, emptyDisk)
	}
}

// writes returns how many bytes nodes have appended to logs that they lead, and how
// many they have had their disks write.
func writes(t *testing.T, nodes []*harness.Node) (appended, written float64) {
	t.Helper()
	for _, n := range nodes {
		appended += metric(t, n, "selvedge_log_append_bytes_total", "")
		w, err := n.Written()
		if err != nil {
			t.Fatal(err)
		}
		written += float64(w)
	}
	return appended, written
}
