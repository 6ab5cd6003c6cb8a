package harness

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// readyTimeout bounds the time from the start of a process to its ready line.
const readyTimeout = 90 * time.Second

// stopTimeout bounds a graceful stop.
const stopTimeout = 30 * time.Second

// logTail is how many lines of a node's log a failed test shows.
const logTail = 30

// Options describe a node. Empty fields take what the harness chooses.
type Options struct {
	Name        string
	Dir         string   // of data and log; kept when the test fails
	Cluster     string   // own cluster address; empty runs alone
	ClusterName string   // name of the cluster
	Secret      string   // of the cluster
	Seeds       []string // cluster addresses of all nodes
	Args        []string // further arguments of serve
	Host        *Host    // where it runs; nil is loopback
	Before      []string // stands before the command line, as a tracer
}

// Node is one process of the broker. Its addresses stay the same over restarts.
type Node struct {
	Name              string
	STOMP, AMQP, HTTP string
	Options           Options
	t                 *testing.T
	cmd               *exec.Cmd
	ready             chan error    // one value: nil at the ready line, else why it will not come
	exited            chan struct{} // closed when the process has ended
}

// Start starts a node and waits until it serves.
func Start(t *testing.T, o Options) *Node {
	t.Helper()
	n := New(t, o)
	n.Launch()
	n.AwaitReady()
	return n
}

// New prepares a node without starting it. What is left of it is killed at the
// end of the test.
func New(t *testing.T, o Options) *Node {
	t.Helper()
	if o.Name == "" {
		o.Name = "a"
	}
	if o.Dir == "" {
		o.Dir = Dir(t)
	}
	n := &Node{Name: o.Name, Options: o, t: t}
	if o.Host != nil {
		n.STOMP, n.AMQP, n.HTTP = o.Host.Addr(61613), o.Host.Addr(5672), o.Host.Addr(8161)
	} else {
		n.STOMP, n.AMQP, n.HTTP = Addr(t), Addr(t), Addr(t)
	}
	t.Cleanup(func() {
		n.Kill()
		if t.Failed() {
			t.Logf("log of node %s (%s), the last lines:\n%s", n.Name, n.logFile(), n.tail())
		}
	})
	return n
}

// Dir makes a folder that is removed at the end of the test, unless it failed.
func Dir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "selvedge-it-") //nolint:usetesting // kept when the test fails
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if !t.Failed() {
			_ = os.RemoveAll(dir)
		}
	})
	return dir
}

// Data is the node's data folder.
func (n *Node) Data() string { return filepath.Join(n.Options.Dir, n.Name) }

func (n *Node) logFile() string { return n.Data() + ".log" }

// args is the command line.
func (n *Node) args() []string {
	o := n.Options
	args := slices.Clone(o.Before)
	if o.Host != nil {
		args = append(args, o.Host.inside()...)
	}
	args = append(args, Binary(n.t), "serve", "--data", n.Data(), "--node", n.Name,
		"--stomp", n.STOMP, "--amqp", n.AMQP, "--http", n.HTTP,
		"--log-format", "json", "--log-level", "debug")
	if o.Host != nil {
		args = append(args, "--anonymous", "any") // the tests are on another host
	}
	if o.Cluster != "" {
		args = append(args, "--cluster", o.Cluster, "--cluster-name", o.ClusterName,
			"--secret", o.Secret, "--seeds", strings.Join(o.Seeds, ","))
	}
	return append(args, o.Args...)
}

// Launch starts the process without waiting for it to serve.
func (n *Node) Launch() {
	n.t.Helper()
	if n.Running() {
		n.t.Fatalf("node %s runs already", n.Name)
	}
	logs, err := os.OpenFile(n.logFile(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		n.t.Fatal(err)
	}
	args := n.args()
	cmd := exec.Command(args[0], args[1:]...) //nolint:noctx // Kill and Stop end it, a context would end it unasked
	cmd.Env = slices.DeleteFunc(os.Environ(), func(kv string) bool { return strings.HasPrefix(kv, "SELVEDGE_") })
	cmd.Stderr = logs
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		n.t.Fatal(err)
	}
	endWithTests(cmd)
	started, ready, exited := make(chan error, 1), make(chan error, 1), make(chan struct{})
	n.cmd, n.ready, n.exited = cmd, ready, exited
	go func() {
		runtime.LockOSThread() // it is the end of this thread that ends the process
		defer runtime.UnlockOSThread()
		defer close(exited)
		defer func() { _ = logs.Close() }()
		err := cmd.Start()
		if started <- err; err != nil {
			return
		}
		ready <- awaitLine(stdout)
		_, _ = io.Copy(logs, stdout)
		_ = cmd.Wait()
	}()
	if err := <-started; err != nil {
		n.t.Fatal(err)
	}
}

// awaitLine reads standard output until the ready line.
func awaitLine(stdout io.Reader) error {
	in := bufio.NewScanner(stdout)
	for in.Scan() {
		var line struct{ Event string }
		if json.Unmarshal(in.Bytes(), &line) == nil && line.Event == "ready" {
			return nil
		}
	}
	return errors.Join(errors.New("the process ended before it was ready"), in.Err())
}

// AwaitReady waits for the ready line.
func (n *Node) AwaitReady() {
	n.t.Helper()
	if err := n.Ready(readyTimeout); err != nil {
		n.t.Fatalf("node %s: %v", n.Name, err)
	}
}

// Ready waits for the ready line, for a time, and returns why it did not come.
func (n *Node) Ready(within time.Duration) error {
	end := time.NewTimer(within)
	defer end.Stop()
	select {
	case err := <-n.ready:
		return err
	case <-end.C:
		return fmt.Errorf("no ready line after %v", within)
	}
}

// Running reports whether the process lives.
func (n *Node) Running() bool {
	if n.cmd == nil {
		return false
	}
	select {
	case <-n.exited:
		return false
	default:
		return true
	}
}

// Kill ends the process by SIGKILL and waits until it is gone.
func (n *Node) Kill() {
	if n.Running() {
		_ = n.cmd.Process.Signal(syscall.SIGKILL)
		<-n.exited
	}
}

// Terminate sends SIGTERM without waiting.
func (n *Node) Terminate() {
	if n.Running() {
		_ = n.cmd.Process.Signal(syscall.SIGTERM)
	}
}

// Stop ends the process gracefully, and checks that it says so.
func (n *Node) Stop() {
	n.t.Helper()
	n.Terminate()
	n.AwaitExit()
}

// AwaitExit waits for the end of a process that was told to stop: with code 0.
func (n *Node) AwaitExit() {
	n.t.Helper()
	if n.cmd == nil {
		return
	}
	end := time.NewTimer(stopTimeout)
	defer end.Stop()
	select {
	case <-n.exited:
	case <-end.C:
		n.Kill()
		n.t.Errorf("node %s: did not stop within %v of SIGTERM", n.Name, stopTimeout)
		return
	}
	if code := n.cmd.ProcessState.ExitCode(); code != 0 {
		n.t.Errorf("node %s: exit code of a graceful stop: got %d, want 0", n.Name, code)
	}
}

// ExitCode waits for the end of a process that ends by itself, and returns its code.
func (n *Node) ExitCode() int {
	n.t.Helper()
	end := time.NewTimer(Patience)
	defer end.Stop()
	select {
	case <-n.exited:
	case <-end.C:
		n.t.Fatalf("node %s: still runs after %v, want it to end", n.Name, Patience)
	}
	return n.cmd.ProcessState.ExitCode()
}

// Pause stops the process from running (SIGSTOP); it keeps its connections.
func (n *Node) Pause() { _ = n.cmd.Process.Signal(syscall.SIGSTOP) }

// Resume lets a paused process run on.
func (n *Node) Resume() { _ = n.cmd.Process.Signal(syscall.SIGCONT) }

// Restart starts the node again and waits until it serves.
func (n *Node) Restart() {
	n.t.Helper()
	n.Launch()
	n.AwaitReady()
}

// tail returns the last lines of the log, without the embedded server's own.
func (n *Node) tail() string {
	b, err := os.ReadFile(n.logFile())
	if err != nil {
		return err.Error()
	}
	lines := slices.DeleteFunc(strings.Split(strings.TrimSpace(string(b)), "\n"), func(line string) bool {
		return strings.Contains(line, `"level":"debug"`) && strings.Contains(line, `"part":"fabric"`)
	})
	if len(lines) > logTail {
		lines = append([]string{fmt.Sprintf("… %d lines before", len(lines)-logTail)}, lines[len(lines)-logTail:]...)
	}
	return strings.Join(lines, "\n")
}
