package integration

import (
	"bufio"
	"bytes"
	"context"
	"os/exec"
	"strings"
	"testing"

	"github.com/selvedge-mq/selvedge/integration/harness"
)

// failoverMessages is how many messages a client sends over the death of its node.
const failoverMessages = "400"

// survives runs a client of the cluster's first node, kills that node when the
// client prints a line with mark in it, and waits until the client has ended well.
func survives(t *testing.T, c *harness.Cluster, mark, program string, args ...string) {
	t.Helper()
	ctx, cancel := context.WithCancel(bounded(t))
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	var words bytes.Buffer
	cmd.Stderr = &words
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines, killed, last := bufio.NewScanner(out), false, ""
	for lines.Scan() {
		if last = lines.Text(); !killed && strings.Contains(last, mark) {
			c.Nodes[0].Kill()
			killed = true
		}
	}
	if err := cmd.Wait(); err != nil || !killed {
		t.Errorf("%v, node killed %v, last line %q\n%s", err, killed, last, words.String())
	}
}

// Clients of several nodes go on when the one that they are connected to dies; what
// was not accepted they send again, and everything arrives.
func TestAMQP_ReconnectAfterANodesDeath(t *testing.T) {
	beside(t)
	for _, s := range []struct {
		name string
		run  func(t *testing.T, c *harness.Cluster)
	}{
		{"python3-qpid-proton reactor", func(t *testing.T, c *harness.Cluster) {
			t.Helper()
			needProton(t)
			urls := strings.Join([]string{c.Nodes[0].AMQP, c.Nodes[1].AMQP, c.Nodes[2].AMQP}, ",")
			survives(t, c, "half", python, "testdata/protonfailover.py", "reactor", urls, "failover.reactor", failoverMessages)
		}},
		{"python3-qpid-proton blocking, by the failover-server-list", func(t *testing.T, c *harness.Cluster) {
			t.Helper()
			needProton(t)
			survives(t, c, "half", python, "testdata/protonfailover.py", "blocking", c.Nodes[0].AMQP, "failover.blocking", failoverMessages)
		}},
		{"Proton C++ with failover urls", func(t *testing.T, c *harness.Cluster) {
			t.Helper()
			client := protonExample(t, t.TempDir(), "reconnect_client.cpp")
			survives(t, c, "Sending: 100", client, "//"+c.Nodes[0].AMQP, "failover.cpp", failoverMessages, "//"+c.Nodes[1].AMQP, "//"+c.Nodes[2].AMQP)
		}},
	} {
		t.Run(s.name, func(t *testing.T) { s.run(t, harness.StartCluster(t, 3)) })
	}
}
