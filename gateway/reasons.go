package gateway

import (
	"fmt"

	"github.com/selvedge-mq/selvedge/gateway/api"
)

// reasons says why a cluster is not healthy, for people; nothing of one that is.
// What one of its nodes says explains that replicas are not up to date.
func reasons(c api.Nodes, led, whole bool) []string {
	if c.State == api.StateHealthy {
		return nil
	}
	var out []string
	if !c.Quorum {
		out = append(out, "a majority of the cluster is out of reach: start nodes until there is one, or look at the network between them")
	}
	for _, n := range c.Nodes {
		switch n.State {
		case api.NodeUp, api.NodeRetired:
		case api.NodeStarting, api.NodeDown, api.NodeDraining, api.NodeRepairing, api.NodeAbsent, api.NodeRetiring:
			why := fmt.Sprintf("%s is %s", n.Name, n.State)
			if n.Ended != "" {
				why += " (it could not go on: " + n.Ended + ")"
			}
			out = append(out, why)
		}
		switch n.Disk {
		case api.DiskLow:
			out = append(out, fmt.Sprintf("the disk of %s is low", n.Name))
		case api.DiskFull:
			out = append(out, fmt.Sprintf("the disk of %s is full: no node takes messages until there is room (disk-full)", n.Name))
		case api.DiskOK, api.DiskNone:
		}
		if len(n.NoRoom) > 0 {
			out = append(out, "logs at "+n.Name+" have no room")
		}
	}
	if c.Quorum && !led {
		out = append(out, "a shard has no leader")
	}
	if len(out) == 0 && !whole {
		out = append(out, "a log lacks a replica that is up to date, or a node has not been taken into the cluster yet")
	}
	return out
}
