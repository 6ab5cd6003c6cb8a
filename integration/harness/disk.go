package harness

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// CanSlowDisk reports whether SlowDisk can be called here.
func CanSlowDisk() bool {
	_, err := exec.LookPath("strace")
	return err == nil
}

// SlowDisk delays every sync of the node's process until fast is called. It is
// done by strace, so it slows the whole process a little, too.
func (n *Node) SlowDisk(delay time.Duration) (fast func()) {
	n.t.Helper()
	attached := filepath.Join(n.Options.Dir, "attached")
	cmd := exec.CommandContext(context.Background(), "strace", "-f", "-o", attached,
		"-p", strconv.Itoa(n.PID()), "-e", "trace=fsync,fdatasync",
		"-e", "inject=fsync,fdatasync:delay_enter="+strconv.FormatInt(delay.Microseconds(), 10))
	var words strings.Builder
	cmd.Stderr = &words
	if err := cmd.Start(); err != nil {
		n.t.Fatal(err)
	}
	return func() {
		_ = cmd.Process.Signal(syscall.SIGTERM) // it lets go of the process
		_ = cmd.Wait()
		if strings.Contains(words.String(), "Operation not permitted") {
			n.t.Errorf("slow disk of node %s: %s", n.Name, words.String())
		}
		_ = os.Remove(attached)
	}
}
