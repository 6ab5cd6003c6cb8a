package harness

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// Nodes went on for ever when the process of the tests was killed, or panicked as go
// test's time was over.
func TestNode_EndsWithTheTests(t *testing.T) {
	const child = "HARNESS_CHILD"
	if dir := os.Getenv(child); dir != "" {
		n := New(t, Options{Dir: dir})
		n.Launch()
		fmt.Fprintln(os.Stderr, n.PID())
		select {} // until it is killed
	}
	dir := t.TempDir()
	broker := filepath.Join(dir, "broker")
	if err := os.WriteFile(broker, []byte("#!/bin/sh\nexec sleep 1000\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	tests := exec.CommandContext(t.Context(), os.Args[0], "-test.run", "^"+t.Name()+"$")
	tests.Env = append(os.Environ(), child+"="+dir, "SELVEDGE_BINARY="+broker)
	out, err := tests.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := tests.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	_ = tests.Process.Kill()
	_ = tests.Wait()
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	})
	Until(t, "the end of the node", func() (string, bool) {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		return string(b), err != nil || strings.Contains(string(b), ") Z ")
	})
}
