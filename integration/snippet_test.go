package integration

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/selvedge-mq/selvedge/integration/harness"
)

// The example of docs/stomp.md does what it says, as it stands there but for the port.
func TestStompPyExampleOfTheDocs(t *testing.T) {
	beside(t)
	if exec.CommandContext(t.Context(), python, "-c", "import stomp").Run() != nil {
		t.Skip("python3-stomp is missing: apt-get install python3-stomp")
	}
	page, err := os.ReadFile("../docs/stomp.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(page), "```python\n")
	script, _, found := strings.Cut(rest, "```\n")
	if !found {
		t.Fatal("docs/stomp.md: got no example in Python")
	}
	n := harness.Start(t, harness.Options{})
	_, port, _ := strings.Cut(n.STOMP, ":")
	script = strings.Replace(script, "61613", port, 1)
	cmd := exec.CommandContext(bounded(t), python, "-c", script)
	said, err := cmd.CombinedOutput()
	if got := string(said); err != nil || got != "hello from Python\n" {
		t.Errorf("got %q (%v), want the message", got, err)
	}
	harness.AwaitDepth(t, n.HTTP, "orders", 0)
}
