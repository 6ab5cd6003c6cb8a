package cluster

import (
	"encoding/json"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// stateName is the file in a data folder that says what its logs held when it was
// last written, and whether the node was stopped in order afterwards.
const stateName = "selvedge.state"

// folderState is what that file says. While the node runs it is renewed once a
// second at most, and says what the logs held a second before: so after whatever
// end of the node they hold at least that.
type folderState struct {
	// Clean says that the node was stopped in order, all files synced.
	Clean bool `json:"clean"`
	// Synced says that a record was on disk before it was confirmed.
	Synced bool `json:"synced,omitempty"`
	// Files are the sizes of the files below fabric/ at a clean stop.
	Files map[string]int64 `json:"files,omitempty"`
	// Shards are the replicas here, by shard.
	Shards []replicaState `json:"shards,omitempty"`
}

// replicaState is what is known of a replica.
type replicaState struct {
	// Group is the name of the raft group, empty for a replica on its own.
	Group string `json:"group,omitempty"`
	// Last is a sequence that the log reaches.
	Last uint64 `json:"last"`
	// Replicas are the nodes that hold the log.
	Replicas []string `json:"replicas,omitempty"`
	// Filling says that the replica was emptied, and has not caught up yet.
	Filling bool `json:"filling,omitempty"`
	// Full says that the replica had, at least once, all that the others had.
	Full bool `json:"full,omitempty"`
	// Behind says that the replica may be catching up with the others. Its raft
	// group may then be ahead of its stream, by a snapshot of the leader.
	Behind bool `json:"behind,omitempty"`
	// Stranded has the next start give the raft group up, unless it knows of records
	// beyond this one.
	Stranded uint64 `json:"stranded,omitempty"`
}

// emptied notes that a shard's replica holds nothing, and is to be filled.
func (s *folderState) emptied(shard int) {
	for len(s.Shards) <= shard {
		s.Shards = append(s.Shards, replicaState{})
	}
	s.Shards[shard].Last, s.Shards[shard].Filling, s.Shards[shard].Full = 0, true, false
	s.Shards[shard].Stranded = 0
}

// strand notes that a shard's raft group is to be given up.
func (s *folderState) strand(shard int, upTo uint64) {
	if shard < len(s.Shards) {
		s.Shards[shard].Stranded = upTo
	}
}

// filling says whether a replica was emptied and has not become whole again: it may
// have been filled by a damaged one.
func (s *folderState) filling() bool {
	return slices.ContainsFunc(s.Shards, func(r replicaState) bool { return r.Filling })
}

// catchesUp says whether the replica may have been catching up when the node ended.
func (s *replicaState) catchesUp() bool { return s.Filling || s.Behind }

// shard returns what is known of a shard's replica; nothing is a zero value.
func (s *folderState) shard(shard int) replicaState {
	if shard < len(s.Shards) {
		return s.Shards[shard]
	}
	return replicaState{}
}

// sealedState is the file: the state and its checksum.
type sealedState struct {
	CRC   uint32          `json:"crc32c"`
	State json.RawMessage `json:"state"`
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// loadState reads the state of a folder. One that is missing or damaged says
// nothing: then nothing is relied upon, and all is verified.
func loadState(dir string) folderState {
	var sealed sealedState
	var s folderState
	b, err := os.ReadFile(filepath.Join(dir, stateName)) //nolint:gosec // the operator's folder
	if err != nil || json.Unmarshal(b, &sealed) != nil || crc32.Checksum(sealed.State, castagnoli) != sealed.CRC {
		return folderState{}
	}
	if json.Unmarshal(sealed.State, &s) != nil {
		return folderState{}
	}
	return s
}

// started notes that the node starts: it was not stopped in order until it says
// so, and each replica of several may have to catch up. synced is what Synced says
// from now on.
func (s *folderState) started(synced bool) {
	s.Clean, s.Files, s.Synced = false, nil, synced
	for shard := range s.Shards {
		s.Shards[shard].Behind = s.Shards[shard].Group != ""
	}
}

// saveState replaces the state of a folder. It is on disk when saveState returns:
// a file that replaced the one before without that may be empty after a loss of
// power, and who holds which log in which group would be forgotten.
func saveState(dir string, s folderState) error {
	body, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("cluster: encode the folder's state: %w", err)
	}
	b, err := json.Marshal(sealedState{CRC: crc32.Checksum(body, castagnoli), State: body})
	if err != nil {
		return fmt.Errorf("cluster: encode the folder's state: %w", err)
	}
	name := filepath.Join(dir, stateName)
	if err := writeSynced(name+".new", b); err != nil {
		return fmt.Errorf("cluster: write the folder's state: %w", err)
	}
	if err := os.Rename(name+".new", name); err != nil {
		return fmt.Errorf("cluster: write the folder's state: %w", err)
	}
	return syncDir(dir)
}

// storedFiles returns the sizes of all files that the embedded server stores in
// a data folder.
func storedFiles(dir string) (map[string]int64, error) {
	files := make(map[string]int64)
	err := eachStored(dir, func(path, name string) error {
		fi, err := os.Lstat(path)
		if err == nil {
			files[name] = fi.Size()
		}
		return err
	})
	return files, err
}

// syncStored makes all that the embedded server stored durable, once it has
// ended: it does not sync at its end.
func syncStored(dir string) error {
	return eachStored(dir, func(path, _ string) error {
		f, err := os.Open(path) //nolint:gosec // the operator's folder
		if err != nil {
			return err
		}
		defer func() { _ = f.Close() }() // only read
		return f.Sync()
	})
}

// eachStored calls f for each file below fabric/, with its name in the folder.
func eachStored(dir string, f func(path, name string) error) error {
	root := filepath.Join(dir, storeName)
	err := filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		name, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		return f(path, filepath.ToSlash(name))
	})
	if os.IsNotExist(err) {
		return nil // nothing was stored
	}
	return err
}
