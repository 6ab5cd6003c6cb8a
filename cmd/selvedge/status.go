package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/selvedge-mq/selvedge/gateway/api"
)

// StatusCmd is the verb status.
type StatusCmd struct {
	apiFlags

	Retired bool `help:"Show also the nodes that were retired."`
}

// Help is shown by --help.
func (StatusCmd) Help() string {
	return `Any node can be asked; it shows all of them.

Examples:

    selvedge status
    selvedge status --http node-b:8161
    selvedge status --json | jq '.nodes[] | {name, state, shards_led}'
    until selvedge status >/dev/null; do sleep 1; done    # until the cluster is healthy
    selvedge status --retired

The columns IN/S and OUT/S are messages taken in and delivered per second, LEADS the
shards that the node leads, LAG the log records that its replicas are behind, FREE what
is left of its disk. DEAD, DROPPED, REDELIVERED and STALE count messages of the shards that
the node led since it started; --json has them by cause.

A node that stores and is not there stays in the list until it comes back or is retired
(selvedge retire).

Exit codes: 0 healthy, 1 degraded (a node is away, a disk is low or a shard has no leader), 2 no
quorum (nothing can be confirmed), 3 the node cannot be asked.`
}

// Run asks for the nodes and prints them.
func (c *StatusCmd) Run(ctx context.Context, s Streams) error {
	var n api.Nodes
	path := api.PathNodes
	if c.Retired {
		path += "?retired=true"
	}
	if err := c.get(ctx, path, &n); err != nil {
		return &exitError{code: exitUnreachable, err: err}
	}
	code, known := stateCodes()[n.State]
	if !known {
		return &exitError{code: exitUnreachable, err: fmt.Errorf("%s is no node of Selvedge: it has the state %q", c.HTTP, n.State)}
	}
	var err error
	if c.JSON {
		err = writeJSON(s.Out, n)
	} else if err = writeNodes(s, n); err == nil {
		err = errors.Join(writeReasons(s.Out, n.Reasons), writeMissing(s.Out, n.Nodes), writeDamaged(s.Out, n.Nodes), writeNoRoom(s.Out, n.Nodes))
	}
	if err == nil && code != exitOK {
		err = &exitError{code: code}
	}
	return err
}

// stateCodes maps the state of the cluster to the exit code.
func stateCodes() map[api.State]int {
	return map[api.State]int{
		api.StateHealthy:  exitOK,
		api.StateDegraded: exitDegraded,
		api.StateNoQuorum: exitNoQuorum,
	}
}

func writeNodes(s Streams, n api.Nodes) error {
	rows := make([][]string, 0, len(n.Nodes))
	for _, node := range n.Nodes {
		rows = append(rows, nodeRow(node))
	}
	header := []string{"NODE", "STATE", "VERSION", "UPTIME", "STOMP", "AMQP", "HTTP", "CLUSTER", "CONNS", "IN/S", "OUT/S", "LEADS", "LAG", "STORED", "FREE", "DEAD", "DROPPED", "REDELIVERED", "STALE"}
	if err := table(s.Out, header, rows); err != nil {
		return err
	}
	name := "a node alone"
	if n.Cluster != "" {
		name = "cluster " + n.Cluster
	}
	c := n.Counts
	_, err := fmt.Fprintf(s.Out, `
%s: %s (asked node %s)
since the nodes' starts: %d dead letters (%d rejected, %d exhausted), %d dropped (%d expired, %d refused,
%d unreadable, %d with a temporary queue, %d by a leader's end), %d redelivered, %d settled too late
`,
		name, n.State, n.Node, c.DeadLettered.Sum(), c.DeadLettered.Rejected, c.DeadLettered.Exhausted,
		c.Dropped.Sum(), c.Dropped.Expired, c.Dropped.Refused, c.Dropped.Unreadable, c.Dropped.Deleted, c.Dropped.LeaderChange, c.Redelivered, c.Stale)
	return err
}

// nodeRow is a node's line. Of a node that is not there the figures are unknown.
func nodeRow(n api.Node) []string {
	row := make([]string, 19)
	copy(row, []string{n.Name, string(n.State), n.Version, "", n.STOMP, n.AMQP, n.HTTP, n.Cluster})
	if !n.There() {
		return row
	}
	row[3] = age(n.UptimeSeconds)
	copy(row[8:], []string{
		strconv.Itoa(n.Connections), rate(n.SendsPerSecond), rate(n.DeliveriesPerSec),
		numbers(n.ShardsLed), count(n.ReplicaLag), size(n.StoredBytes), disk(n),
		count(n.Counts.DeadLettered.Sum()), count(n.Counts.Dropped.Sum()), count(n.Counts.Redelivered), count(n.Counts.Stale),
	})
	return row
}

func count(n uint64) string { return strconv.FormatUint(n, 10) }

// disk says how much is free, and whether that is too little.
func disk(n api.Node) string {
	switch n.Disk {
	case api.DiskOK:
		return size(n.DiskFreeBytes)
	case api.DiskLow, api.DiskFull:
		return size(n.DiskFreeBytes) + " " + string(n.Disk)
	case api.DiskNone:
	}
	return ""
}
