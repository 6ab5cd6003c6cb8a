package integration

import (
	"os/exec"
	"testing"

	"github.com/selvedge-mq/selvedge/integration/harness"
)

// python is Debian's interpreter: the one that its packages install clients for.
const python = "/usr/bin/python3"

// protonScenario runs a scenario of testdata/protonclient.py against a node.
func protonScenario(t *testing.T, n *harness.Node, name string) {
	t.Helper()
	out, err := exec.CommandContext(shortly(t), python, "testdata/protonclient.py", n.AMQP, name).CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

func needProton(t *testing.T) {
	t.Helper()
	if err := exec.CommandContext(t.Context(), python, "-c", "import proton").Run(); err != nil {
		t.Skip("python3-qpid-proton is missing: apt-get install python3-qpid-proton")
	}
}

// Proton for Python, its blocking API and its reactor.
func TestAMQP_Proton(t *testing.T) {
	beside(t)
	needProton(t)
	n := harness.Start(t, harness.Options{})
	for _, name := range []string{
		"blocking", "second", "credit", "outcomes", "types", "presettled", "refused", "selector", "hello", "drain",
		"transactions", "rollback", "rollback-unsettled", "dynamic",
	} {
		t.Run(name, func(t *testing.T) { protonScenario(t, n, name) })
	}
}
