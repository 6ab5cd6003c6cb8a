package main

import (
	"fmt"
	"io"

	"github.com/selvedge-mq/selvedge/gateway/api"
)

// writeDamaged tells which replicas are not whole, and why.
func writeDamaged(w io.Writer, nodes []api.Node) error {
	for _, node := range nodes {
		for _, d := range node.Damaged {
			if _, err := fmt.Fprintf(w, "node %s: shard %d %s: %s\n", node.Name, d.Shard, d.State, d.Reason); err != nil {
				return err
			}
		}
	}
	return nil
}

// writeNoRoom tells which shards stand still for lack of space.
func writeNoRoom(w io.Writer, nodes []api.Node) error {
	for _, node := range nodes {
		for _, shard := range node.NoRoom {
			if _, err := fmt.Fprintf(w, "node %s: the log of shard %d has no room: free space on its disk\n", node.Name, shard); err != nil {
				return err
			}
		}
	}
	return nil
}
