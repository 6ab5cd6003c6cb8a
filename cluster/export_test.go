package cluster

import (
	"context"
	"errors"
	"maps"
	"slices"
)

// MarkBehind writes into a folder that its replicas were catching up when the node
// ended.
func MarkBehind(dir string) error {
	s := loadState(dir)
	for shard := range s.Shards {
		s.Shards[shard].Behind = true
	}
	return saveState(dir, s)
}

// Raise tells all nodes, as a failed read does, that a log could not be read.
func (n *Node) Raise(shard int) { n.store.raise(shard) }

// The ways in which a log is read.
const (
	ByFiles  = "as a whole, from files" // as a takeover does
	BySome   = "some, from files"
	ByServer = "by way of the server"
)

// ScanBy reads all of a shard's log in one of the ways.
func (n *Node) ScanBy(ctx context.Context, shard int, way string, f func(seq uint64, rec []byte) error) error {
	l := n.logs[shard]
	first, last, err := l.Bounds(ctx)
	if err != nil {
		return err
	}
	fetch := map[string]fetcher{ByFiles: l.fetchAll, BySome: l.fetchHere, ByServer: l.fetch}[way]
	return l.scan(ctx, first, last, fetch, f)
}

// InFile returns a record of a shard's log as it stands in the node's files, nil if it
// does not.
func (n *Node) InFile(ctx context.Context, shard int, seq uint64) []byte {
	return n.logs[shard].readFile(ctx, seq)
}

// InFiles returns the bounds of a shard's log, and how far its records stand in the
// node's files.
func (n *Node) InFiles(ctx context.Context, shard int) (first, next, last uint64, err error) {
	l := n.logs[shard]
	if first, last, err = l.Bounds(ctx); err != nil {
		return 0, 0, 0, err
	}
	err = l.scan(ctx, first, last, func(ctx context.Context, from, last uint64, out chan<- []record, _ <-chan struct{}) error {
		var err error
		next, err = l.fetchFiles(ctx, from, last, out)
		return err
	}, func(uint64, []byte) error { return nil })
	return first, next, last, err
}

// Look returns what is found wrong with the files of a shard's log at the first look.
func (n *Node) Look(ctx context.Context, shard int) error { return n.look(ctx, shard, nil) }

// Leads says whether this node leads a shard whose log takes appends from it.
func (n *Node) Leads(shard int) bool { return slices.Contains(n.leadership.led(), shard) }

// Successor returns the node that would be given a shard.
func (n *Node) Successor(shard int) string { return n.successor(shard) }

// Leave says goodbye.
func (n *Node) Leave() { n.members.leave() }

// Verified returns what a start finds damaged in a folder before the embedded server
// runs: nil if that would start.
func Verified(ctx context.Context, o Options) error {
	o = o.withDefaults()
	m, err := Detect(o.Dir)
	if err != nil {
		return err
	}
	found, err := verify(ctx, o, m.Shards, loadState(o.Dir))
	if err != nil {
		return err
	}
	return errors.Join(append(slices.Collect(maps.Values(found.shards)), found.node)...)
}
