package integration

import (
	"fmt"
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
	// slowestDrain is the share of the pace without a backlog that one is emptied at.
	slowestDrain = 0.8
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
	flow := bench(t, n, loaded("flow", max(count/5, 1), "--producers", "4", "--consumers", "4")...)
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

	drained := bench(t, n, loaded("backlog", 0, "--producers", "0", "--consumers", "4", "--patience", "3s")...)
	now, highest = resident(t, n)
	measured(t, "emptied at %.0f messages a second, without a backlog %.0f go through; memory %d MiB (highest %d)",
		drained.DeliveriesPerSecond, flow.DeliveriesPerSecond, now>>20, highest>>20)
	if drained.Received != uint64(count) {
		t.Errorf("received: got %d, want %d", drained.Received, count)
	}
	if drained.DeliveriesPerSecond < slowestDrain*flow.DeliveriesPerSecond {
		t.Errorf("emptied at %.0f messages a second, want at least %.0f %% of %.0f", drained.DeliveriesPerSecond, slowestDrain*100, flow.DeliveriesPerSecond)
	}
	awaitDisk(t, n, emptyDisk)
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
	fillQueues(t, n.STOMP, "old", oldQueues+1) // the bench counts from 1
	holder := connectRaw(t, n.STOMP)
	for i := range oldQueues + 1 {
		holder.write(t, fmt.Sprintf("SUBSCRIBE\nid:%d\ndestination:/queue/%s\nack:client-individual\nprefetch-count:1\n\n\x00", i, queueName("old", i)))
		if command, message := holder.frame(t); command != "MESSAGE" {
			t.Fatalf("the old message of queue %d: got %q %q", i, command, message)
		}
	}
	before := metric(t, n, "selvedge_log_append_bytes_total", "")
	flow := bench(t, n, "old", "--size", strconv.Itoa(backlogSize), "--count", strconv.Itoa(count), "--queues", strconv.Itoa(oldQueues),
		"--producers", "4", "--consumers", "4")
	written := metric(t, n, "selvedge_log_append_bytes_total", "") - before
	sent := float64(count) * backlogSize
	measured(t, "%d messages pass %d that stay, %.0f a second: %.2f B written to the logs for each byte sent; disk %d MiB",
		count, oldQueues, flow.DeliveriesPerSecond, written/sent, stored(t, n)>>20)
	if written > mostAmplification*sent {
		t.Errorf("written for each byte sent: got %.2f, want at most %.1f", written/sent, mostAmplification)
	}
	awaitDisk(t, n, emptyDisk)
	n.Kill() // with it goes the holder
	n.Restart()
	for i := range oldQueues + 1 {
		takeOne(t, n, queueName("old", i))
	}
}
