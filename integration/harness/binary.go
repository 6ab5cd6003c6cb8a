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

// built is the broker that the tests of this process run.
var built struct {
	once sync.Once
	dir  string // what RemoveBinary removes
	path string
	err  error
}

// build builds the broker, unless there is one already.
func build() {
	if built.path = os.Getenv("SELVEDGE_BINARY"); built.path != "" {
		return
	}
	if built.dir, built.err = os.MkdirTemp("", "selvedge-bin-"); built.err != nil {
		return
	}
	built.path = filepath.Join(built.dir, "selvedge")
	args := append([]string{"build", "-o", built.path}, strings.Fields(os.Getenv("SELVEDGE_BUILD_FLAGS"))...)
	args = append(args, "github.com/selvedge-mq/selvedge/cmd/selvedge")
	if out, err := exec.CommandContext(context.Background(), "go", args...).CombinedOutput(); err != nil {
		built.err = fmt.Errorf("build the broker: %w\n%s", err, out)
	}
}

// Binary returns the path of the broker: SELVEDGE_BINARY, or one that is built
// at the first call, with SELVEDGE_BUILD_FLAGS.
func Binary(t *testing.T) string {
	t.Helper()
	if built.once.Do(build); built.err != nil {
		t.Fatal(built.err)
	}
	return built.path
}

// RemoveBinary removes what Binary built, if it was called. TestMain calls it at the end.
func RemoveBinary() {
	if built.once.Do(func() {}); built.dir != "" {
		_ = os.RemoveAll(built.dir)
	}
}
