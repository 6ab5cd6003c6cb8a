package cluster

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/rs/zerolog"

	"github.com/selvedge-mq/selvedge/routing/engine"
)

// retiredPrefix begins the name of a folder whose import has ended.
const retiredPrefix = "imported-"

// Folder is a standalone folder opened apart, by a server of its own that nobody
// else reaches, to be read and imported.
type Folder struct {
	dir  string
	node *Node
}

// OpenFolder opens a standalone folder, such as [Node.ImportDir] returns. It must
// be closed or retired.
func OpenFolder(ctx context.Context, dir string, log zerolog.Logger) (*Folder, error) {
	m, err := Detect(dir)
	if err != nil {
		return nil, err
	}
	if m.Format != FormatStandalone {
		return nil, fmt.Errorf("%w: %s is not a standalone folder", ErrFolder, dir)
	}
	n, err := open(ctx, Options{Node: m.Node, Dir: dir, Shards: m.Shards, Log: log}, true)
	if err != nil {
		return nil, err
	}
	return &Folder{dir: dir, node: n}, nil
}

// Shards returns the number of shards of the folder, which need not be the
// cluster's.
func (f *Folder) Shards() int { return f.node.Shards() }

// Node returns the name of the node that wrote the folder.
func (f *Folder) Node() string { return f.node.Name() }

// Created returns when the folder was made: with the node's name it tells
// folders apart.
func (f *Folder) Created() time.Time { return f.node.marker.Created }

// Log returns the log of one of the folder's shards.
func (f *Folder) Log(shard int) engine.Log { return f.node.Log(shard) }

// Close ends the access and leaves the folder where it is.
func (f *Folder) Close() error {
	f.node.Kill()
	return nil
}

// Retire ends the access and renames the folder, so that it is not imported
// again. It returns the new name.
func (f *Folder) Retire() (string, error) {
	f.node.Kill()
	parent := filepath.Dir(f.dir)
	to := filepath.Join(parent, retiredPrefix+time.Now().UTC().Format(asideTime))
	if err := os.Rename(f.dir, to); err != nil {
		return "", fmt.Errorf("cluster: retire the imported folder: %w", err)
	}
	return to, syncDir(parent)
}
