package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/alecthomas/kong"

	"github.com/selvedge-mq/selvedge/gateway/config"
)

// parseServe returns the settings that a command line makes, with an environment.
func parseServe(t *testing.T, env map[string]string, args ...string) (*config.Config, error) {
	t.Helper()
	var g struct {
		Serve ServeCmd `cmd:""`
	}
	k, err := kong.New(&g)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := k.Parse(append([]string{"serve"}, args...)); err != nil {
		return nil, err
	}
	return config.Load(config.Source{
		File: g.Serve.ConfigFile, Flags: &g.Serve.Config, Passed: g.Serve.passed,
		Env: func(name string) (string, bool) { v, ok := env[name]; return v, ok },
	})
}

func TestServeFlagsBeatTheEnvironment(t *testing.T) {
	env := map[string]string{"SELVEDGE_NODE": "env", "SELVEDGE_PREFETCH": "5", "SELVEDGE_AMQP": ""}
	c, err := parseServe(t, env,
		"--node", "flag", "--stomp", "", "--storage", "true", "--sync=50ms", "--message-size", "1MiB", "--log-level", "info",
		"--cluster", ":6222", "--secret", "abcdefgh", "--seeds", "static:(tcp://a:1,tcp://b:1),c:1")
	if err != nil {
		t.Fatal(err)
	}
	got := []string{c.Node, c.STOMP, c.AMQP, c.HTTP, c.Sync.String(), c.MessageSize.String(), strings.Join(c.Seeds, " | ")}
	want := []string{"flag", "", "", "127.0.0.1:8161", "50ms", "1MiB", "static:(tcp://a:1,tcp://b:1) | c:1"}
	if g, w := strings.Join(got, "; "), strings.Join(want, "; "); g != w || c.Prefetch != 5 {
		t.Errorf("got %s, prefetch %d, want %s, prefetch 5", g, c.Prefetch, w)
	}
}

func TestServeRefusesWrongFlags(t *testing.T) {
	for _, tt := range []struct {
		name string
		args []string
		want string
	}{
		{"a word for a number", []string{"--replicas", "three"}, "--replicas"},
		{"a word for a switch", []string{"--storage", "off"}, `--storage: "off" is neither true nor false`},
		{"a number out of range", []string{"--replicas", "9"}, "--replicas: 9 is not in 1 to 5"},
		{"an unknown flag", []string{"--replica", "3"}, "unknown flag --replica"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := parseServe(t, nil, tt.args...)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %s", err, tt.want)
			}
		})
	}
}

func TestServeHelpShowsEverySetting(t *testing.T) {
	var g struct {
		Serve ServeCmd `cmd:""`
	}
	var out bytes.Buffer
	k, err := kong.New(&g, kong.Writers(&out, &out), kong.Exit(func(int) {}))
	if err != nil {
		t.Fatal(err)
	}
	_, _ = k.Parse([]string{"serve", "--help"}) // prints, and goes on since Exit returns
	for _, s := range config.Settings() {
		if !strings.Contains(out.String(), s.Flag()+"=") {
			t.Errorf("got a help without %s, want it", s.Flag())
		}
	}
	for _, want := range []string{"--config=FILE", "--storage=true", "SELVEDGE_SEND_TIMEOUT=15s"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("got a help without %s, want it:\n%s", want, out.String())
		}
	}
}
