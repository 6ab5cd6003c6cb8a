package integration

import (
	"os/exec"
	"testing"

	"github.com/selvedge-mq/selvedge/integration/harness"
)

// A client that resumes its links learns what became of its messages, and has what
// it accepted taken from the queue.
func TestAMQP_ResumedLinks(t *testing.T) {
	n := harness.Start(t, harness.Options{})
	out, err := exec.CommandContext(shortly(t), python, "testdata/resumeclient.py", n.AMQP).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	harness.AwaitDepth(t, n.HTTP, "resumed", 0)
}
