package amqp

import (
	"os/exec"
	"strings"
	"testing"
)

// TestProton_TransactionsAndDynamicNodes has Proton for Python commit and abort,
// and ask for answers to a dynamic address.
func TestProton_TransactionsAndDynamicNodes(t *testing.T) {
	const python = "/usr/bin/python3"
	if err := exec.CommandContext(t.Context(), python, "-c", "import proton").Run(); err != nil {
		t.Skip("python3-qpid-proton is missing: apt-get install python3-qpid-proton")
	}
	for _, name := range []string{"dynamic", "transactions", "rollback", "rollback-unsettled"} {
		t.Run(name, func(t *testing.T) {
			n := serve(t, memory(t), nil)
			addr := strings.TrimPrefix(n.url, "amqp://")
			out, err := exec.CommandContext(deadline(t), python, "../../integration/testdata/protonclient.py", addr, name).CombinedOutput()
			if err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}
