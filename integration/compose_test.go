package integration

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/selvedge-mq/selvedge/integration/harness"
	"github.com/selvedge-mq/selvedge/integration/interop"
)

// composeCount is how many messages each part of the composed test sends.
const composeCount = 4000

// composeProject keeps the containers, volumes and networks of the test apart
// from those of a user.
const composeProject = "selvedgetest"

// buildTimeout bounds the build of the image from nothing.
const buildTimeout = 10 * time.Minute

// composition is the cluster of compose.yaml, under way.
type composition struct {
	t       *testing.T
	command []string // docker compose, or docker-compose
	builder string   // image with Go
}

// compose finds the tools, or skips the test with the reason.
func compose(t *testing.T) *composition {
	t.Helper()
	if os.Getenv("SELVEDGE_COMPOSE") == "" {
		t.Skip("the composed cluster is tested by `make compose` (SELVEDGE_COMPOSE=1)")
	}
	c := &composition{t: t, builder: os.Getenv("BUILDER")}
	if _, err := c.try("docker", "info"); err != nil {
		t.Skip("no Docker engine runs here")
	}
	for _, command := range [][]string{{"docker", "compose"}, {"docker-compose"}} {
		if _, err := c.try(append(command, "version")...); err == nil {
			c.command = command
			break
		}
	}
	if c.command == nil {
		t.Skip("neither docker compose nor docker-compose is installed")
	}
	if c.builder == "" {
		c.builder = strings.TrimSpace(c.run("../deploy/local-base"))
	}
	return c
}

// try runs a command at the root of the repository and returns its output.
func (c *composition) try(args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), buildTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Env = append(os.Environ(), "BUILDER="+c.builder)
	var words strings.Builder
	cmd.Stderr = &words
	out, err := cmd.Output()
	if err != nil {
		return words.String(), err
	}
	return string(out), nil
}

// run runs a command that must succeed.
func (c *composition) run(args ...string) string {
	c.t.Helper()
	out, err := c.try(args...)
	if err != nil {
		c.t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

// do runs a verb of compose.
func (c *composition) do(args ...string) string {
	c.t.Helper()
	return c.run(c.args(args...)...)
}

func (c *composition) args(args ...string) []string {
	out := append([]string{}, c.command...)
	return append(append(out, "--project-name", composeProject, "--file", "../compose.yaml"), args...)
}

// container returns the id of a service's container.
func (c *composition) container(service string) string {
	c.t.Helper()
	return strings.TrimSpace(c.do("ps", "-q", service))
}

// published are the nodes as the host reaches them.
func published() []*harness.Node {
	return []*harness.Node{
		{Name: "a", STOMP: "127.0.0.1:61613", AMQP: "127.0.0.1:5672", HTTP: "127.0.0.1:8161"},
		{Name: "b", STOMP: "127.0.0.1:61614", AMQP: "127.0.0.1:5673", HTTP: "127.0.0.1:8162"},
		{Name: "c", STOMP: "127.0.0.1:61615", AMQP: "127.0.0.1:5674", HTTP: "127.0.0.1:8163"},
	}
}

// The composed cluster, as a user starts it: messages across nodes, a container
// killed, and one cut off the network, in the middle of confirmed sends.
func TestCompose(t *testing.T) {
	c := compose(t)
	t.Cleanup(func() {
		if t.Failed() {
			out, _ := c.try(c.args("logs", "--no-color", "--tail", "40")...)
			t.Log(out)
		}
		_, _ = c.try(c.args("down", "--volumes", "--timeout", "10")...)
	})
	c.do("up", "--detach", "--build")
	nodes := published()
	healthy := func() {
		t.Helper()
		for _, n := range nodes {
			harness.AwaitHealthy(t, n.HTTP, len(nodes))
		}
	}
	healthy()
	network := composeProject + "_default"
	t.Run("across nodes", func(t *testing.T) {
		l, stomp, amqp := newLedger(), interop.GoSTOMP{}, interop.GoAMQP{}
		ctx := bounded(t)
		received := consume(ctx, t, l, composeCount, amqp, at(nodes[1], amqp, "plain"))
		produce(ctx, t, l, composeCount, several(16, stomp, at(nodes[0], stomp, "plain")))()
		received()
		v := l.check(t, composeCount, true)
		figure(t, "compose: nothing, in at a, out at b", tallied(&v), "once each, in order", "")
	})
	for _, f := range []struct {
		name               string
		harm, harmed, heal func(service string)
	}{
		{
			"a container is killed",
			func(s string) { c.do("kill", "-s", "SIGKILL", s) },
			func(string) {},
			func(s string) { c.do("up", "--detach", s) },
		},
		{
			"a container is cut off the network",
			func(s string) { c.run("docker", "network", "disconnect", network, c.container(s)) },
			c.cutOff,
			func(s string) { c.run("docker", "network", "connect", "--alias", s, network, c.container(s)) },
		},
	} {
		t.Run(f.name, func(t *testing.T) {
			queue := strings.ReplaceAll(f.name, " ", "-")
			queue = composed(t, nodes, queue, f.harm)
			leader := nodes[2].Name
			if q, err := harness.Look(nodes[0].HTTP, queue); err == nil && q.Leader == leader {
				t.Errorf("leader after the fault: got %s still", leader)
			}
			f.harmed(leader)
			f.heal(leader)
			healthy()
			harness.AwaitDepth(t, nodes[0].HTTP, queue, 0)
		})
	}
	t.Run("all containers are killed", func(t *testing.T) {
		l := fill(t, nodes[0], "kept", composeCount)
		c.do("kill", "-s", "SIGKILL", "a", "b", "c")
		c.do("up", "--detach")
		healthy()
		v := empty(t, l, nodes[1], "kept", composeCount)
		figure(t, "compose: all containers killed", tallied(&v), "everything there, once", "")
	})
}

// cutOff checks what a container without a network says to clients inside of it: it
// confirms nothing and says why, and its status is that of a node without a quorum.
func (c *composition) cutOff(service string) {
	c.t.Helper()
	inside := func(args ...string) (string, int) {
		out, err := c.try(append([]string{"docker", "exec", c.container(service), "/selvedge"}, args...)...)
		if e, ok := errors.AsType[*exec.ExitError](err); ok {
			return out, e.ExitCode()
		}
		return out, 0
	}
	const noQuorum = 2
	if out, code := inside("status"); code != noQuorum {
		c.t.Errorf("status inside of the container that is cut off: got exit code %d, want %d\n%s", code, noQuorum, out)
	}
	for _, protocol := range interop.Streamers() {
		out, code := inside("send", "--protocol", string(protocol.Protocol()), "refused", "hello")
		if code != 1 || !noMajority.MatchString(out) {
			c.t.Errorf("a send inside of the container that is cut off: got exit code %d, want 1 and the reason\n%s", code, out)
		}
	}
}

// composed harms node c, which leads a queue, in the middle of confirmed sends to it.
// The clients are on the other nodes, and see a pause, not an error. It returns the
// queue's name.
func composed(t *testing.T, nodes []*harness.Node, prefix string, harm func(service string)) (queue string) {
	t.Helper()
	queue = ledBy(t, nodes[0], nodes[2].Name, prefix)
	crowd := newCrowd(t)
	for _, n := range nodes[:2] {
		pinned(crowd, n, queue)
	}
	crowd.afterConfirmed(composeCount / 4)
	crowd.harm(prefix)
	harm(nodes[2].Name) // which takes its time
	crowd.afterConfirmed(composeCount / 4)
	v := crowd.finish()
	complain(t, &v)
	if told := crowd.told(); len(told) > 0 {
		t.Errorf("errors that clients of the other nodes saw: got %q, want none", told)
	}
	measured(t, "%s: %s", t.Name(), &v)
	figure(t, "compose: "+prefix, tallied(&v), fmt.Sprintf("longest pause of a producer %v", rounded(v.LongestPause())), "")
	return queue
}
