package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"

	"github.com/selvedge-mq/selvedge/gateway"
	"github.com/selvedge-mq/selvedge/gateway/config"
)

// ServeCmd is the verb serve. Its flags are the settings of the configuration.
type ServeCmd struct {
	ConfigFile string `name:"config" placeholder:"FILE" help:"Configuration file in YAML. Also by SELVEDGE_CONFIG in the environment."`

	config.Config `embed:""`

	passed []string // names of the settings that stand on the command line
}

// Help is shown by --help.
func (*ServeCmd) Help() string {
	return `A node needs no configuration: it stores in ./selvedge-data, listens on this machine
only and admits the clients of this machine.

Each setting has three spellings. What stands later in this list wins:

    in the file        send-timeout: 15s
    in the environment SELVEDGE_SEND_TIMEOUT=15s
    as a flag          --send-timeout 15s

Users and rules on addresses stand in the file only: see docs/config.md.

Examples:

    selvedge serve
    selvedge serve --data /var/lib/selvedge --stomp :61613 --amqp :5672 --config selvedge.yaml
    SELVEDGE_SECRET=... selvedge serve --node a --cluster :6222 --seeds a:6222,b:6222,c:6222

When the node serves, one line of JSON with all addresses is written to the output; the
log goes to standard error. SIGHUP reads users, rules and certificates again, which a
changed file does too within ten seconds. SIGTERM or Ctrl-C drains: the node hands its work over and
ends; a second one ends it at once.

Exit codes: 0 drained in good order, 1 the node could not start or go on, 4 it was retired from its
cluster and must not be started again as it is.
A node whose storage fails begins again by itself, after eight times in a row it ends.`
}

// AfterApply notes which flags were passed, so that the others do not hide what
// the environment and the file say.
func (c *ServeCmd) AfterApply(k *kong.Context) error { //nolint:unparam // kong's hook
	for _, p := range k.Path {
		if p.Flag != nil && !p.Resolved {
			c.passed = append(c.passed, p.Flag.Name)
		}
	}
	return nil
}

// Run serves until the process is told to stop.
func (c *ServeCmd) Run(ctx context.Context, s Streams) error {
	load := func() (*config.Config, error) {
		return config.Load(config.Source{File: c.ConfigFile, Env: os.LookupEnv, Flags: &c.Config, Passed: c.passed})
	}
	cfg, err := load()
	if err != nil {
		return err
	}
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	defer signal.Stop(hangup)
	return gateway.Serve(ctx, gateway.Options{
		Config: cfg, Version: buildVersion(), Out: s.Out, Err: s.Err, Load: load, Hangup: hangup,
		Misspelled: config.FindMisspelled(os.Environ()),
	})
}
