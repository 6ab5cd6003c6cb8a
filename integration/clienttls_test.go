package integration

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/selvedge-mq/selvedge/gateway/certs/certstest"
	"github.com/selvedge-mq/selvedge/integration/harness"
)

// The verbs send, receive and bench speak with a node that demands a certificate,
// in both protocols, over TLS and over WebSocket; with a node whose certificate
// nobody vouches for they do not, unless they are told to.
func TestTheClientVerbsSpeakTLS(t *testing.T) {
	a, dir := certstest.New(t), t.TempDir()
	cert, key, ca := a.Write(dir, a.Issue("node"))
	mine, mykey, _ := a.Write(t.TempDir(), a.Issue("ann"))
	stomp, amqp, web := harness.Addr(t), harness.Addr(t), harness.Addr(t)
	n := harness.Start(t, harness.Options{Args: []string{
		"--stomp-tls", stomp, "--amqp-tls", amqp, "--http-tls", web,
		"--tls-cert", cert, "--tls-key", key, "--tls-client-ca", ca, "--tls-client-auth", "required",
	}})
	selvedge := func(args ...string) (string, error) {
		out, err := exec.CommandContext(bounded(t), harness.Binary(t), args...).CombinedOutput()
		return string(out), err
	}
	identity := []string{"--cert", mine, "--key", mykey}
	trusting := append([]string{"--ca", ca}, identity...)
	for _, c := range []struct {
		name string
		args []string
		says string // empty: it works
	}{
		{"a STOMP URL", append([]string{"--server", "stomp+ssl://" + stomp}, trusting...), ""},
		{"an AMQP URL", append([]string{"--server", "amqps://" + amqp}, trusting...), ""},
		{"HOST:PORT and --tls", append([]string{"--server", amqp, "--protocol", "amqp", "--tls"}, trusting...), ""},
		{"STOMP by WebSocket and TLS", append([]string{"--server", "wss://" + web}, trusting...), ""},
		{"AMQP by WebSocket and TLS", append([]string{"--server", "wss://" + web, "--protocol", "amqp"}, trusting...), ""},
		{"STOMP by WebSocket", []string{"--server", "ws://" + n.HTTP}, ""},
		{"any certificate will do", append([]string{"--server", "stomp+ssl://" + stomp, "--insecure-skip-verify"}, identity...), ""},
		{"an issuer that nobody knows", append([]string{"--server", "stomp+ssl://" + stomp}, identity...), "certificate signed by unknown authority"},
		{"the same with AMQP", append([]string{"--server", "amqps://" + amqp}, identity...), "certificate signed by unknown authority"},
		{"no certificate of one's own", []string{"--server", "stomp+ssl://" + stomp, "--ca", ca}, "certificate required"},
		{"another protocol's port", append([]string{"--server", "stomp+ssl://" + n.STOMP}, trusting...), "connect to"},
	} {
		t.Run(c.name, func(t *testing.T) {
			out, err := selvedge(append([]string{"send", "secret", "hello"}, c.args...)...)
			if c.says != "" {
				if err == nil || !strings.Contains(out, c.says) {
					t.Errorf("got %q, %v, want it to say %q", out, err, c.says)
				}
				return
			}
			if err != nil {
				t.Fatalf("send: %v: %s", err, out)
			}
			out, err = selvedge(append([]string{"receive", "secret", "--count", "1"}, c.args...)...)
			if err != nil || out != "hello\n" {
				t.Errorf("receive: got %q, %v, want hello", out, err)
			}
		})
	}
	for _, c := range []struct{ protocol, server string }{{"stomp", "stomp+ssl://" + stomp}, {"amqp", "amqps://" + amqp}, {"stomp", "wss://" + web}} {
		t.Run("bench "+c.server[:5], func(t *testing.T) {
			args := append([]string{"bench", "--protocol", c.protocol, "--servers", c.server, "--count", "200", "--linger", "10ms", "-q"}, trusting...)
			if out, err := selvedge(args...); err != nil || !strings.Contains(out, "all checks passed") {
				t.Errorf("got %q, %v, want all checks passed", out, err)
			}
		})
	}
	if out, err := selvedge("bench", "--protocol", "stomp", "--servers", "amqps://"+amqp); err == nil || !strings.Contains(out, "the protocol of that side is stomp") {
		t.Errorf("got %q, %v, want the URL refused", out, err)
	}
}
