package cluster

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/selvedge-mq/selvedge/cluster/blocks"
)

// damagedName is the folder in a data folder that keeps damaged replicas, for
// whoever wants to know what happened: the newest of each shard.
const damagedName = "damaged"

// asideTime is how the time stands in the names of what is kept.
const asideTime = "20060102T150405.000"

// setAsideShard moves the files of a shard's replica away, so that the embedded
// server finds none. It keeps where they are, and may be repeated after a kill.
func setAsideShard(dir string, shard int, group string) (kept string, err error) {
	move := []string{streamDir(dir, shard)}
	if group != "" {
		move = append(move, groupDir(dir, group))
	}
	return moveAside(dir, "shard"+strconv.Itoa(shard), move)
}

// setAsideGroup moves the files of a shard's raft group away, and keeps its records.
func setAsideGroup(dir string, shard int, group string) (kept string, err error) {
	return moveAside(dir, "group"+strconv.Itoa(shard), []string{groupDir(dir, group)})
}

// setAsideNode moves the files of all replicas away, those of the cluster's own
// group with them.
func setAsideNode(dir string) (kept string, err error) {
	streams := filepath.Dir(streamDir(dir, 0))
	groups, err := os.ReadDir(groupsDir(dir))
	if err != nil && !os.IsNotExist(err) {
		return "", fmt.Errorf("cluster: set the damaged files aside: %w", err)
	}
	move := []string{streams}
	for _, g := range groups {
		move = append(move, filepath.Join(groupsDir(dir), g.Name()))
	}
	return moveAside(dir, "node", move)
}

// moveAside moves folders into one of the time's name. Of a raft group it copies
// back who the members are and whom this node voted for: a node that forgot its
// vote could vote again.
func moveAside(dir, what string, folders []string) (string, error) {
	parent := filepath.Join(dir, damagedName)
	if err := dropOlder(parent, what); err != nil {
		return "", fmt.Errorf("cluster: remove what was set aside before: %w", err)
	}
	kept := filepath.Join(parent, time.Now().UTC().Format(asideTime)+"-"+what)
	if err := os.MkdirAll(kept, 0o700); err != nil {
		return "", fmt.Errorf("cluster: set the damaged files aside: %w", err)
	}
	for _, from := range folders {
		if err := moveFolder(from, filepath.Join(kept, filepath.Base(from))); err != nil {
			return "", fmt.Errorf("cluster: set the damaged files aside: %w", err)
		}
	}
	return kept, errors.Join(syncDir(kept), syncDir(parent), syncDir(dir))
}

func moveFolder(from, to string) error {
	if !exists(from) {
		return nil // moved before a kill, or never made
	}
	if err := os.Rename(from, to); err != nil {
		return err
	}
	small := blocks.SmallFiles(to)
	if len(small) > 0 {
		if err := os.MkdirAll(from, 0o700); err != nil {
			return err
		}
	}
	for _, path := range small {
		b, err := os.ReadFile(path) //nolint:gosec // the operator's folder
		if os.IsNotExist(err) {
			continue
		}
		if err != nil {
			return err
		}
		if err := writeSynced(filepath.Join(from, filepath.Base(path)), b); err != nil {
			return err
		}
	}
	return syncDir(filepath.Dir(from))
}

// dropOlder removes what was kept of the same replica before, so that there is
// never more than one of each. One that was begun within the last minute belongs
// to a repair that was interrupted and stays.
func dropOlder(parent, what string) error {
	names, err := os.ReadDir(parent)
	if os.IsNotExist(err) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range names {
		at, rest, ok := strings.Cut(e.Name(), "-")
		begun, perr := time.Parse(asideTime, at)
		if !ok || rest != what || perr != nil || time.Since(begun) < time.Minute {
			continue
		}
		if err := os.RemoveAll(filepath.Join(parent, e.Name())); err != nil {
			return err
		}
	}
	return nil
}
