package cluster

import (
	"context"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// ChangeEntry changes an entry of the registry, as a node does.
func (n *Node) ChangeEntry(ctx context.Context, node string, f func(e *Entry) error) error {
	return n.registry.change(ctx, node, f)
}

// ReadEntry reads an entry of the registry from its leader.
func (n *Node) ReadEntry(ctx context.Context, node string) (Entry, error) {
	return n.store.entry(ctx, node)
}

// SilenceRegistry has the registry's stream listen to nothing that nodes write.
func (n *Node) SilenceRegistry(ctx context.Context) error {
	info, err := n.store.info(ctx, registryStream)
	if err != nil {
		return err
	}
	info.Config.Subjects = []string{"selvedge.nothing"}
	var resp server.JSApiStreamUpdateResponse
	return n.store.call(ctx, "STREAM.UPDATE."+registryStream, info.Config, &resp, &resp.ApiResponse)
}

// RaftIDs returns the node's id in raft groups, as it is worked out and as the
// embedded server has it.
func (n *Node) RaftIDs() (ours, servers string) { return raftID(n.opts.Node), n.server.srv.Node() }

// Votes says whether a node belongs to the cluster's own group, as this one sees it.
func (n *Node) Votes(node string) bool {
	votes, _ := n.votes(node)
	return votes
}

// FolderMade is when the node's data folder was made.
func (n *Node) FolderMade() time.Time { return n.marker.Created }
