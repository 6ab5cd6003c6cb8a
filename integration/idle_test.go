package integration

import (
	"context"
	"fmt"
	"os/exec"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/selvedge-mq/selvedge/integration/harness"
)

// Elections of an idle cluster on a busy machine.
const (
	idleFor   = 10 * time.Second
	idleTick  = 25 * time.Millisecond
	idleStall = 100 * time.Millisecond // a fifth of an election: each step of a heartbeat may wait as long
	idleTries = 4
	// idleMost is what one disturbance may cost: each of the four shards gets another
	// leader. Elections that flap cost that every few seconds.
	idleMost = 4
)

// Three idle nodes beside as many busy processes as there are processors keep their leaders:
// elections that flap are no price of short ones. A time in which the machine did not let
// this test run either is no judgment of the nodes, and the next one is looked at.
func TestFaultIdleNodesKeepTheirLeaders(t *testing.T) {
	c := harness.StartCluster(t, 3)
	ledBy(t, c.Nodes[0], "a", "idle")
	busy(t, runtime.NumCPU())
	var seen []string
	for range idleTries {
		before := gains(t, c)
		stall := watched(idleFor)
		taken := gains(t, c) - before
		seen = append(seen, fmt.Sprintf("%d leaderships taken, longest stall of the test itself %v", taken, rounded(stall)))
		progress(t, "idle for %v: %s", idleFor, seen[len(seen)-1])
		if taken <= idleMost {
			measured(t, "idle nodes beside %d busy processes, %v: %s", runtime.NumCPU(), idleFor, seen[len(seen)-1])
			return
		}
		if stall < idleStall {
			t.Fatalf("got %s in %v, want %d at most", seen[len(seen)-1], idleFor, idleMost)
		}
	}
	t.Skipf("the machine has no time for the nodes, nor for this test: %q", seen)
}

// busy keeps so many processes running until the test ends.
func busy(t *testing.T, processes int) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	t.Cleanup(func() {
		cancel()
		wg.Wait()
	})
	for range processes {
		cmd := exec.CommandContext(ctx, "sh", "-c", `while kill -0 "$PPID"; do :; done`) // it does not outlive the tests
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		wg.Go(func() { _ = cmd.Wait() }) // it is killed
	}
}

// watched waits for a time, and returns by how much this process was late at the worst.
func watched(d time.Duration) (stall time.Duration) {
	tick := time.NewTicker(idleTick)
	defer tick.Stop()
	begin := time.Now()
	last := begin
	for time.Since(begin) < d {
		<-tick.C
		now := time.Now()
		stall = max(stall, now.Sub(last)-idleTick)
		last = now
	}
	return stall
}

// gains returns how often the leaders of shards have changed: a counter tells of those that
// a node took and of those that it gave up.
func gains(t *testing.T, c *harness.Cluster) int {
	t.Helper()
	sum := 0.0
	for _, n := range c.Nodes {
		harness.Until(t, "the count of leaderships of node "+n.Name, func() (string, bool) {
			v, err := harness.Metric(n.HTTP, "selvedge_shard_leader_changes_total", "")
			if err == nil {
				sum += v
			}
			return fmt.Sprint(err), err == nil
		})
	}
	return int(sum+1) / 2 // one node gave up what another one took
}
