// Command selvedge is the one binary of the broker: a node, and the tools that
// watch, use and measure one.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"syscall"

	"github.com/alecthomas/kong"

	"github.com/selvedge-mq/selvedge/gateway"
)

// Exit codes. Status uses 1 to 3 as the state of the cluster.
const (
	exitOK          = 0
	exitFailed      = 1
	exitDegraded    = 1
	exitNoQuorum    = 2
	exitUnreachable = 3
	exitRetired     = 4
	exitUsage       = 64
)

// Streams are what a verb reads and writes.
type Streams struct {
	In       io.Reader
	Out, Err io.Writer
}

// grammar is the command line: one verb a field.
type grammar struct {
	Serve   ServeCmd   `cmd:"" help:"Run a node: STOMP, AMQP 1.0 and HTTP on one data folder, alone or in a cluster."`
	Status  StatusCmd  `cmd:"" help:"Show all nodes of the cluster, asked from any node."`
	Queues  QueuesCmd  `cmd:"" help:"Show the queues: depth, consumers, in flight, rates."`
	Retire  RetireCmd  `cmd:"" help:"Take a node that is gone for good out of the cluster."`
	Trace   TraceCmd   `cmd:"" help:"Show the frames of connections as they come, passwords masked."`
	Send    SendCmd    `cmd:"" help:"Send messages to a queue or topic: an argument, a file, or the lines of the input."`
	Receive ReceiveCmd `cmd:"" help:"Print the messages of a queue or topic."`
	Bench   BenchCmd   `cmd:"" help:"Put a load on a broker; check loss, duplicates and order; show latencies."`
	Passwd  PasswdCmd  `cmd:"" help:"Turn a password into the hash that stands in the configuration."`
	Version VersionCmd `cmd:"" help:"Show the version."`
}

// exitError ends the process with a code; without err nothing more is said.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit code %d", e.code)
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

func main() {
	os.Exit(run(os.Args[1:], Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}))
}

// run parses the arguments, runs the verb until it ends or the process is asked
// to, and returns the exit code. A second signal kills.
func run(args []string, s Streams) int {
	switch {
	case len(args) == 0:
		args = []string{"--help"}
	case len(args) == 1 && args[0] == "--version": // where others have it
		args = []string{"version"}
	case args[0] == "help": // so too, with a verb behind it or none
		args = append(slices.Clone(args[1:]), "--help")
	}
	var g grammar
	parser := kong.Must(&g,
		kong.Name("selvedge"),
		kong.Description("A message broker cluster for STOMP and AMQP 1.0.\n\nRun \"selvedge VERB --help\" for examples of each verb."),
		kong.Writers(s.Out, s.Err),
	)
	verb, err := parser.Parse(args)
	if err != nil {
		_, _ = fmt.Fprintf(s.Err, "selvedge: %s (see: selvedge --help, selvedge VERB --help)\n", usage(err))
		return exitUsage
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop)
	verb.BindTo(ctx, (*context.Context)(nil))
	verb.Bind(s)
	return exitCode(verb.Run(), s.Err)
}

// exitCode reports an error and returns its code.
func exitCode(err error, out io.Writer) int {
	if err == nil {
		return exitOK
	}
	code := exitFailed
	if errors.Is(err, gateway.ErrRetired) {
		code = exitRetired
	}
	if e, ok := errors.AsType[*exitError](err); ok {
		code = e.code
		if e.err == nil {
			return code
		}
	}
	_, _ = fmt.Fprintf(out, "selvedge: %v\n", err)
	return code
}
