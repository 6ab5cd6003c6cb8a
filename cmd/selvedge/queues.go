package main

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strconv"

	"github.com/selvedge-mq/selvedge/gateway/api"
)

// QueuesCmd is the verb queues.
type QueuesCmd struct {
	apiFlags

	Pattern string `arg:"" optional:"" default:"*" help:"Only queues whose name fits; * stands for any text without a slash."`
}

// Help is shown by --help.
func (QueuesCmd) Help() string {
	return `Examples:

    selvedge queues
    selvedge queues 'orders.*'
    selvedge queues --json | jq '.queues[] | select(.consumers == 0) | .name'

DEPTH counts all messages of a queue, those included that are IN FLIGHT: handed to a
consumer and not settled yet. SHARD is the log that the queue lives in, LEADER the node
that serves it now; clients need not care, any node takes and gives messages of any queue.

Exit codes: 0, 1 when queues are missing because their shard has no leader, 3 when the node
cannot be asked.`
}

// Run asks for the queues and prints them.
func (c *QueuesCmd) Run(ctx context.Context, s Streams) error {
	if _, err := path.Match(c.Pattern, ""); err != nil {
		return &exitError{code: exitUsage, err: fmt.Errorf("pattern %q: a [ is not closed, or a \\ stands at the end: write \\[ for a bracket in a name", c.Pattern)}
	}
	var answer api.Queues
	if err := c.get(ctx, api.PathQueues, &answer); err != nil {
		return &exitError{code: exitUnreachable, err: err}
	}
	shown := api.Queues{Queues: []api.Queue{}, Missing: answer.Missing}
	for _, q := range answer.Queues {
		if fits, _ := path.Match(c.Pattern, q.Name); fits || c.Pattern == "*" {
			shown.Queues = append(shown.Queues, q)
		}
	}
	if c.JSON {
		return errors.Join(writeJSON(s.Out, shown), incomplete(answer))
	}
	rows := make([][]string, 0, len(shown.Queues))
	for _, q := range shown.Queues {
		rows = append(rows, []string{
			q.Name, strconv.Itoa(q.Depth), strconv.Itoa(q.InFlight), strconv.Itoa(q.Consumers),
			size(uint64(max(q.Bytes, 0))), rate(q.InPerSecond), rate(q.OutPerSecond), strconv.Itoa(q.Shard), q.Leader,
		})
	}
	err := table(s.Out, []string{"QUEUE", "DEPTH", "IN FLIGHT", "CONSUMERS", "BYTES", "IN/S", "OUT/S", "SHARD", "LEADER"}, rows)
	return errors.Join(err, incomplete(answer))
}

// incomplete returns an error if the answer lacks queues.
func incomplete(q api.Queues) error {
	if q.Missing == "" {
		return nil
	}
	return errors.New(q.Missing)
}
