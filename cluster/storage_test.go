package cluster

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/rs/zerolog"
)

// fillDisk has the next block of a shard's stream be written to a full disk.
func fillDisk(t *testing.T, n *Node, shard int) {
	t.Helper()
	next := filepath.Join(streamDir(n.opts.Dir, shard), "msgs", "2.blk")
	if err := os.Symlink("/dev/full", next); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Remove(next) }) // the test may have removed it
}

// openSilent opens a node of one shard whose failures are meant.
func openSilent(t *testing.T) *Node {
	t.Helper()
	o := testOptions(t)
	o.Shards, o.Log = 1, zerolog.New(io.Discard)
	return openNode(t, o)
}

// wantStorageFailed waits for the node's failure and closes the node: it must not
// say that it was stopped in order.
func wantStorageFailed(t *testing.T, n *Node) {
	t.Helper()
	select {
	case err := <-n.Failed():
		if !errors.Is(err, ErrStorage) || !errors.Is(err, ErrReopen) {
			t.Errorf("got the failure %v, want %v and %v", err, ErrStorage, ErrReopen)
		}
	case <-time.After(patience):
		t.Fatal("the node does not notice that its logs are not written")
	}
	if err := n.Ready(); err == nil {
		t.Error("the node is ready")
	}
	if err := n.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if loadState(n.opts.Dir).Clean {
		t.Error("the node says that it was stopped in order")
	}
}

// The embedded server keeps a write error to itself: it went on, answered no append
// any more, and its stop counted as one in order.
func TestNode_WriteErrorEndsIt(t *testing.T) {
	t.Parallel()
	if _, err := os.Stat("/dev/full"); err != nil {
		t.Skip("needs /dev/full:", err)
	}
	n := openSilent(t)
	fillDisk(t, n, 0)
	// An append that was not answered in time before its turn came is not sent, so the
	// time is long: the end of the node answers.
	rec := bytes.Repeat([]byte("x"), maxRecord/2)
	answers := make(chan error, 3)
	for i := range cap(answers) {
		n.Log(0).Append(uint64(i), rec, func(_ uint64, err error) { answers <- err })
	}
	wantStorageFailed(t, n)
	failed := 0
	for range cap(answers) {
		if err := <-answers; err != nil {
			failed++
		}
	}
	if failed == 0 {
		t.Error("no append has failed")
	}
}

// In a cluster the server gives up its storage as a whole when the disk is full,
// and runs on.
func TestNode_EndOfTheStorageEndsIt(t *testing.T) {
	t.Parallel()
	n := openSilent(t)
	if err := n.server.srv.ShutdownJetStream(); err != nil {
		t.Fatal(err)
	}
	wantStorageFailed(t, n)
}

// The embedded server refused everything, settlements too, beyond three quarters of
// what was free when it started.
func TestNode_WatchedDiskHasNoOtherLimit(t *testing.T) {
	for _, watched := range []bool{true, false} {
		o := testOptions(t)
		o.DiskWatched = watched
		n := openNode(t, o)
		limit := n.server.srv.JetStreamConfig().MaxStore
		if got := limit == unlimitedStore; got != watched {
			t.Errorf("watched %v: got a limit of %d bytes", watched, limit)
		}
		n.Kill()
	}
}
