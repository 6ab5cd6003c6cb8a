package integration

import (
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/selvedge-mq/selvedge/integration/harness"
)

// exitRetired is the exit code of a node that was retired.
const exitRetired = 4

// retired runs the verb retire at a node, and returns its exit code and what it
// wrote.
func retired(t *testing.T, at *harness.Node, args ...string) (code int, out string) {
	t.Helper()
	return verb(t, append([]string{"retire", "--http", at.HTTP}, args...)...)
}

// verb runs the product's command line, and returns its exit code and what it wrote.
func verb(t *testing.T, args ...string) (code int, out string) {
	t.Helper()
	b, err := exec.CommandContext(bounded(t), harness.Binary(t), args...).CombinedOutput()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return exit.ExitCode(), string(b)
	}
	if err != nil {
		t.Fatalf("%s: %v: %s", args[0], err, b)
	}
	return 0, string(b)
}

// awaitRetirement waits until a node that has just died may be retired: until the
// others have heard nothing of it for a while.
func awaitRetirement(t *testing.T, at *harness.Node, node string) {
	t.Helper()
	harness.Until(t, node+" is retired", func() (string, bool) {
		code, out := retired(t, at, node)
		if code != 0 && !strings.Contains(out, "it is alive") {
			t.Fatalf("retire %s: got exit code %d: %s", node, code, out)
		}
		return out, code == 0
	})
}

// A node of three dies for good and is retired: the cluster of two is healthy and
// has all messages. The dead one comes back with its old folder, and is refused;
// another one takes its place.
func TestFault_NodeIsRetired(t *testing.T) {
	beside(t)
	c, count := harness.StartCluster(t, 3), messages(t)/4
	a, b, dead := c.Node("a"), c.Node("b"), c.Node("c")
	l := fill(t, a, "retired", count)
	for _, refused := range []struct{ node, want string }{
		{"a", "the one that was asked"},
		{"b", "it is alive"},
		{"nobody", "is not known"},
	} {
		if code, out := retired(t, a, refused.node); code != 1 || !strings.Contains(out, refused.want) {
			t.Errorf("retire %s: got exit code %d: %s, want 1: %s", refused.node, code, out, refused.want)
		}
	}
	dead.Kill()
	harness.Until(t, "a degraded cluster", func() (string, bool) {
		code, out := verb(t, "status", "--http", a.HTTP)
		return out, code == 1 && strings.Contains(out, "node c: down, last seen ")
	})
	awaitRetirement(t, b, "c")
	for _, n := range []*harness.Node{a, b} {
		harness.AwaitHealthy(t, n.HTTP, 2)
	}
	if code, out := verb(t, "status", "--http", a.HTTP, "--retired"); code != 0 || !strings.Contains(out, "node c: retired, last seen ") {
		t.Errorf("status: got exit code %d: %s, want 0 and the retired node", code, out)
	}
	if code, out := retired(t, a, "c"); code != 0 {
		t.Errorf("retire again: got exit code %d: %s", code, out)
	}
	for range 2 { // by the others' word, then by its folder's
		dead.Launch()
		if code := dead.ExitCode(); code != exitRetired {
			t.Errorf("start of the retired node: got exit code %d, want %d", code, exitRetired)
		}
	}
	if lines, _, err := dead.Logged(0, "this node was retired"); err != nil || len(lines) == 0 {
		t.Errorf("got the lines %q, error %v, want the retirement", lines, err)
	}
	harness.AwaitHealthy(t, a.HTTP, 2)

	o := a.Options
	o.Name, o.Cluster = "d", harness.Addr(t)
	d := harness.Start(t, o)
	for _, n := range []*harness.Node{a, b, d} {
		harness.AwaitHealthy(t, n.HTTP, 3)
	}
	b.Stop()
	empty(t, l, d, "retired", count)
}

// Of four nodes one is retired: the fourth takes its replicas over. Who asked for it
// is killed meanwhile, and the retirement goes on where it was.
func TestFault_RetirementGoesOnWhereItWas(t *testing.T) {
	beside(t)
	c, count := harness.StartCluster(t, 4), messages(t)/4
	a, b, dead := c.Node("a"), c.Node("b"), c.Node("c")
	l := fill(t, a, "moved", count)
	dead.Kill()
	harness.Until(t, "a retirement that has begun", func() (string, bool) {
		view, err := harness.LookNodes(a.HTTP)
		if seen := fmt.Sprintf("%+v", view); err == nil && !strings.Contains(seen, "Name:c State:down") && !strings.Contains(seen, "Name:c State:up") {
			return seen, true // it is retiring, or was faster than the kill
		}
		cmd := exec.CommandContext(bounded(t), harness.Binary(t), "retire", "--http", b.HTTP, "c")
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		_, _ = out.Read(make([]byte, 1)) // its first step, or its end
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		return fmt.Sprintf("%+v, error %v", view, err), false
	})
	awaitRetirement(t, a, "c")
	for _, n := range []*harness.Node{a, b, c.Node("d")} {
		harness.AwaitHealthy(t, n.HTTP, 3)
	}
	for _, n := range []*harness.Node{a, b, c.Node("d")} {
		logs, err := filepath.Glob(filepath.Join(n.Data(), "fabric", "jetstream", "SELVEDGE", "streams", "S*"))
		if err != nil || len(logs) != 4 {
			t.Errorf("node %s: got the logs %q, error %v, want all four", n.Name, logs, err)
		}
	}
	empty(t, l, b, "moved", count)
}
