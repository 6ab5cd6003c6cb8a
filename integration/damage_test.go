package integration

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/selvedge-mq/selvedge/integration/harness"
)

// logFiles returns the files of a node's logs that hold records: there are some.
func logFiles(t *testing.T, n *harness.Node) []string {
	t.Helper()
	list := recordFiles(t, n)
	if len(list) == 0 {
		t.Fatalf("no log of node %s holds records", n.Name)
	}
	return list
}

// recordFiles returns the files of a node's logs that hold more than a few records.
func recordFiles(t *testing.T, n *harness.Node) []string {
	t.Helper()
	all, err := filepath.Glob(filepath.Join(n.Data(), "fabric", "jetstream", "SELVEDGE", "streams", "*", "msgs", "*.blk"))
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, path := range all {
		if fi, err := os.Stat(path); err == nil && fi.Size() > 4096 {
			list = append(list, path)
		}
	}
	return list
}

// flipIn flips a bit in the first half of each file: behind it are whole records.
func flipIn(t *testing.T, paths []string) {
	t.Helper()
	for _, path := range paths {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		at := rand.IntN(len(b) / 2)
		b[at] ^= 1 << rand.IntN(8)
		t.Logf("flipped a bit at %d of %s", at, path)
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// setAside returns how many replicas a node has set aside.
func setAside(n *harness.Node) int {
	list, err := filepath.Glob(filepath.Join(n.Data(), "damaged", "*"))
	if err != nil {
		return 0
	}
	return len(list)
}

// A node is killed, and its disk flips a bit in each of its logs. It waits for
// its repair while the third node is away, says so, and comes back whole when
// that one is back: alone with it, it has everything.
func TestFault_FlippedBitsAreRepairedFromTheOthers(t *testing.T) {
	beside(t)
	c, count := harness.StartCluster(t, 3), messages(t)/4
	l := fill(t, c.Nodes[0], "flipped", count)
	victim, away := c.Node("c"), c.Node("b")
	victim.Kill()
	away.Stop()
	damaged := logFiles(t, victim)
	flipIn(t, damaged)
	victim.Launch()
	for _, asked := range []*harness.Node{c.Node("a"), victim} {
		harness.Until(t, "the state of the node that waits for its repair, asked at "+asked.Name, func() (string, bool) {
			view, err := harness.LookNodes(asked.HTTP)
			seen := fmt.Sprintf("%+v, error %v", view, err)
			return seen, strings.Contains(seen, "Name:c State:repairing")
		})
	}
	if got := setAside(victim); got != 0 {
		t.Errorf("got %d replicas set aside while another node is away, want none", got)
	}
	begin := time.Now()
	away.Restart()
	victim.AwaitReady()
	c.AwaitHealthy()
	took := rounded(time.Since(begin))
	measured(t, "%d damaged logs repaired and the cluster healthy %v after the start of the third node", len(damaged), took)
	if got := setAside(victim); got != len(damaged) {
		t.Errorf("got %d replicas set aside, want %d", got, len(damaged))
	}
	c.Node("a").Stop()
	v := empty(t, l, victim, "flipped", count)
	figure(t, fmt.Sprintf("a flipped bit in %d logs of a node, another one away", len(damaged)), tallied(&v), fmt.Sprintf("healthy %v after that one is back", took), "")
}

// A bit flips while a node is stopped in good order, so that nobody looks for it.
// When that node leads the log it reads its own files: it stops, begins again by
// itself, and asks for its repair, which waits for the third node. It leads at the
// latest once its only companion has a shorter log. Then it comes back whole: alone
// with a node that was away meanwhile it has everything.
func TestFault_FlippedBitIsFoundByServing(t *testing.T) {
	beside(t)
	c, count := harness.StartCluster(t, 3), messages(t)/4
	l := fill(t, c.Nodes[0], "rotten", count)
	victim := c.Node(harness.Leader(t, c.Nodes[0].HTTP, "rotten"))
	others := otherThan(c, victim.Name)
	first, late := others[0], others[1]
	c.StopAll()
	flipIn(t, logFiles(t, victim))
	victim.Launch()
	first.Launch()
	harness.Until(t, "an epoch that the third node does not know, or a repair", func() (string, bool) {
		q, err := harness.Look(first.HTTP, "rotten")
		return fmt.Sprintf("%+v, error %v", q, err), err == nil && q.Depth == count || repairs(victim, victim, first)
	})
	if repairs(victim, victim, first) {
		late.Launch()
	} else {
		first.Kill() // neither hands over nor answers for its replica any more
		late.Launch()
		harness.Until(t, "the repair of the node that leads", func() (string, bool) {
			return "no repair", repairs(victim, victim, late)
		})
		first.Launch()
	}
	begin := time.Now()
	harness.Until(t, "a replica that is set aside", func() (string, bool) { return "none", setAside(victim) > 0 })
	c.AwaitHealthy()
	took := rounded(time.Since(begin))
	if lines, _, err := victim.Logged(0, "damaged replica is whole again"); err != nil || len(lines) == 0 {
		t.Errorf("got the lines %q, error %v, want the end of the repair told", lines, err)
	}
	for _, n := range others {
		if got := setAside(n); got != 0 {
			t.Errorf("node %s, whose files are whole: got %d replicas set aside, want none", n.Name, got)
		}
	}
	first.Stop()
	v := empty(t, l, victim, "rotten", count)
	figure(t, "a flipped bit, found while serving", tallied(&v), fmt.Sprintf("healthy %v after all nodes are back", took), "")
}

// repairs says whether the node is seen to be repaired, at any of those asked.
func repairs(victim *harness.Node, asked ...*harness.Node) bool {
	for _, n := range asked {
		view, err := harness.LookNodes(n.HTTP)
		if err == nil && strings.Contains(fmt.Sprintf("%+v", view), "Name:"+victim.Name+" State:repairing") {
			return true
		}
	}
	return false
}

// A node that runs alone has nobody to repair its logs from: it does not start,
// and says why, and what can be done.
func TestFault_DamageAloneIsRefused(t *testing.T) {
	beside(t)
	n := harness.Start(t, harness.Options{})
	fill(t, n, "alone", 2000)
	n.Kill()
	flipIn(t, logFiles(t, n)[:1])
	n.Launch()
	if err := n.Ready(harness.Patience); err == nil {
		t.Fatal("the node serves a damaged log")
	}
	harness.Until(t, "the end of the process", func() (string, bool) { return "running", !n.Running() })
	lines, _, err := n.Logged(0, "accept-loss")
	if err != nil || len(lines) == 0 || !strings.Contains(strings.Join(lines, "\n"), "the log is damaged") {
		t.Errorf("got the lines %q, error %v, want the damage and accept-loss", lines, err)
	}
}
