// Package harness starts the real binary as processes on loopback, one node or
// a cluster, and harms them: SIGKILL, SIGSTOP, restarts. It knows the command
// line and the admin API of a node, and no client protocol.
package harness

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// binary builds the broker once for all tests of a process.
var binary = sync.OnceValues(func() (string, error) {
	if path := os.Getenv("SELVEDGE_BINARY"); path != "" {
		return path, nil
	}
	dir, err := os.MkdirTemp("", "selvedge-bin-")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "selvedge")
	args := append([]string{"build", "-o", path}, strings.Fields(os.Getenv("SELVEDGE_BUILD_FLAGS"))...)
	out, err := exec.CommandContext(context.Background(), "go", append(args, "github.com/selvedge-mq/selvedge/cmd/selvedge")...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build the broker: %w\n%s", err, out)
	}
	return path, nil
})

// Binary returns the path of the broker: SELVEDGE_BINARY, or one that is built
// at the first call, with SELVEDGE_BUILD_FLAGS.
func Binary(t *testing.T) string {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// RemoveBinary removes what Binary built. TestMain calls it at the end.
func RemoveBinary() {
	if os.Getenv("SELVEDGE_BINARY") != "" {
		return
	}
	if path, err := binary(); err == nil {
		_ = os.RemoveAll(filepath.Dir(path))
	}
}
