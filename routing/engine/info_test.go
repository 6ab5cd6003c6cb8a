package engine_test

import (
	"context"
	"fmt"
	"testing"
)

// A list was cut after 10,000 queues of a shard, which nobody was told.
func TestQueues_AreAllListedHoweverMany(t *testing.T) {
	const many = 11_000
	c := newCluster(t, 2, 1, nil)
	c.nodes[1].fabric.Lead(0)
	p := c.nodes[0].client(t)
	for i := range many {
		p.send(uint64(i), fmt.Sprintf("%0200d", i), "x", true)
	}
	p.until("all queues", func() bool { return len(p.results) == many })
	for _, n := range c.nodes {
		qs, err := n.Queues(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		names := map[string]bool{}
		for _, q := range qs {
			names[q.Name] = true
		}
		if len(qs) != many || len(names) != many {
			t.Errorf("node %s lists %d queues with %d names, want %d", n.peers.node, len(qs), len(names), many)
		}
	}
}
