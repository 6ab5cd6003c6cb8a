package gateway

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/selvedge-mq/selvedge/cluster"
	"github.com/selvedge-mq/selvedge/routing/engine"
)

const progressEvery = 2 * time.Second

// importFolder copies the messages of a standalone folder that waits into the
// cluster, then retires the folder. When it is killed in the middle, the next
// start goes on: the import speaks under the same session each time, so that
// the shards know what they have.
func importFolder(ctx context.Context, n *Node, f fabric) (err error) {
	node := f.(clusterFabric) // made by openCluster
	dir := node.ImportDir()
	if dir == "" {
		return nil
	}
	folder, err := cluster.OpenFolder(ctx, dir, n.base)
	if err != nil {
		return fmt.Errorf("import %s: %w", dir, err)
	}
	retired := false
	defer func() {
		if !retired {
			err = errors.Join(err, folder.Close())
		}
	}()
	n.log.Info().Str("folder", dir).Str("from", folder.Node()).Msg("importing a standalone folder")
	if err := copyFolder(ctx, n, node, folder); err != nil {
		return fmt.Errorf("import %s: %w", dir, err)
	}
	retired = true
	to, err := folder.Retire()
	if err != nil {
		return fmt.Errorf("import %s: %w", dir, err)
	}
	n.log.Info().Str("folder", to).Msg("import done: the old folder may be deleted")
	return nil
}

// copyFolder runs an engine that leads nothing, for the import alone.
func copyFolder(ctx context.Context, n *Node, node clusterFabric, folder *cluster.Folder) error {
	p, closePeers, err := node.OpenPeers(n.cfg.Node+"-import", importSession(folder.Node(), folder.Created()))
	if err != nil {
		return err
	}
	defer closePeers()
	e, err := engine.New(engine.Options{ //nolint:contextcheck // it ends by Close
		Fabric: follower{node}, Peers: p, Log: n.log,
		SendTimeout: time.Hour,                                                                                // a message that waits for a leader is not lost
		DeadLetter:  n.cfg.DeadLetter, MessageSize: engine.MaxLarge, WholeSize: engine.MaxMessage, TxBytes: 1, // whatever a log held once; an import has no transactions
	})
	if err != nil {
		return err
	}
	defer e.Close()
	logs := make([]engine.Log, 0, folder.Shards())
	for shard := range folder.Shards() {
		logs = append(logs, folder.Log(shard))
	}
	began := time.Now()
	var said atomic.Int64                       // how many progressEvery had passed at the last line
	return e.Import(ctx, logs, func(done int) { // from several goroutines
		before, now := said.Load(), int64(time.Since(began)/progressEvery)
		if now > before && said.CompareAndSwap(before, now) {
			n.log.Info().Int("messages", done).Msg("importing")
		}
	})
}

// follower is the cluster as seen by an engine that leads no shard.
type follower struct {
	engine.Fabric
}

// Leadership returns a channel that says nothing.
func (follower) Leadership() <-chan engine.Leadership { return nil }

// importSession is the number under which a folder's import speaks: always the
// same for one folder, never 0, and never that of another.
func importSession(node string, created time.Time) uint64 {
	sum := sha256.Sum256(fmt.Appendf(nil, "selvedge import %q %d", node, created.UnixNano()))
	return binary.BigEndian.Uint64(sum[:]) | 1
}
