package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/selvedge-mq/selvedge/gateway/api"
)

// retireSilence ends the wait for a node that tells no more steps: it tells one every
// five seconds at least.
const retireSilence = 30 * time.Second

// RetireCmd is the verb retire.
type RetireCmd struct {
	apiFlags

	Node string `arg:"" placeholder:"NODE" help:"Name of the node that is gone for good."`
	Undo bool   `help:"Let the name of a retired node be used again, by a node with an empty data folder."`
}

// Help is shown by --help.
func (RetireCmd) Help() string {
	return `A node that is gone for good still counts for the majority that the cluster needs, and
for the replicas of its logs. Retiring takes it out: of the cluster's own group and of each log,
whose replicas go to other nodes, as far as there are any. A node that is alive is not
retired, and none whose messages are not whole, with a majority, on the nodes that are up.

Any other node can be asked. It shows what it does and waits for; interrupted or repeated,
at the same or another node, it goes on where it was. A retired node that starts again with its data
folder is refused and ends with exit code 4.

Examples:

    selvedge retire c
    selvedge retire c --http node-b:8161
    selvedge status --retired
    selvedge retire c --undo      # then start c with an empty data folder

Exit codes: 0 retired, 1 refused or not finished, 2 no quorum, 3 the node cannot be asked.`
}

// Run retires the node, or undoes that, and prints the steps.
func (c *RetireCmd) Run(ctx context.Context, s Streams) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	method := http.MethodPost
	if c.Undo {
		method = http.MethodDelete
	}
	silence := time.AfterFunc(max(c.Timeout, retireSilence), func() {
		cancel(fmt.Errorf("no step from %s within %v: try again, it goes on where it was", c.HTTP, max(c.Timeout, retireSilence)))
	})
	defer silence.Stop()
	resp, err := c.request(ctx, method, api.RetirePath(c.Node))
	if err != nil {
		return retireExit(ctx, err)
	}
	defer func() { _ = resp.Body.Close() }() // it was only read
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		silence.Reset(max(c.Timeout, retireSilence))
		var step api.RetireStep
		if err := json.Unmarshal(lines.Bytes(), &step); err != nil {
			return fmt.Errorf("%s is no node of Selvedge: its answer is not the expected JSON: %w", c.HTTP, err)
		}
		if err := c.show(s, lines.Bytes(), step); err != nil || step.Done {
			return err
		}
	}
	if err := lines.Err(); err != nil {
		return retireExit(ctx, err)
	}
	return errors.New("the node ended before it was done: try again, it goes on where it was")
}

// show prints a step, and returns why it is the last one, if that is an error.
func (c *RetireCmd) show(s Streams, line []byte, step api.RetireStep) error {
	var err error
	switch {
	case c.JSON:
		_, err = fmt.Fprintf(s.Out, "%s\n", line)
	case step.Done && c.Undo:
		_, err = fmt.Fprintf(s.Out, "%s may be started again, with an empty data folder\n", c.Node)
	case step.Step != "":
		_, err = fmt.Fprintln(s.Out, step.Step)
	}
	if err == nil && step.Error != "" {
		err = errors.New(step.Error)
	}
	return err
}

// retireExit gives an error of the request its exit code.
func retireExit(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.Canceled) {
		err = cause
	}
	code := exitUnreachable
	if refused, ok := errors.AsType[*answerError](err); ok {
		code = exitFailed
		switch refused.status {
		case http.StatusServiceUnavailable:
			code = exitNoQuorum
		case http.StatusUnauthorized, http.StatusForbidden:
			code = exitUnreachable
		}
	}
	return &exitError{code: code, err: err}
}
