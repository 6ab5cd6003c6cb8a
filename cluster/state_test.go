package cluster

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestState_IsReadAsItWasWritten(t *testing.T) {
	dir := t.TempDir()
	want := folderState{Clean: true, Files: map[string]int64{"a/b": 3}, Shards: []replicaState{
		{Group: "g", Last: 7, Replicas: []string{"a", "b"}, Full: true, Behind: true},
	}}
	if err := saveState(dir, want); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, loadState(dir)); diff != "" {
		t.Errorf("state (-want +got):\n%s", diff)
	}
}

// A replica of several may have to catch up with what was confirmed without it; who
// holds one alone has nobody to catch up with.
func TestState_Started(t *testing.T) {
	s := folderState{Clean: true, Files: map[string]int64{"a": 1}, Shards: []replicaState{{Group: "g", Last: 7, Full: true}, {Last: 3}}}
	s.started(true)
	want := folderState{Synced: true, Shards: []replicaState{{Group: "g", Last: 7, Full: true, Behind: true}, {Last: 3}}}
	if diff := cmp.Diff(want, s); diff != "" {
		t.Errorf("state (-want +got):\n%s", diff)
	}
	s.emptied(0)
	if got := s.shard(0); got.Full || got.Last != 0 || !got.Filling || got.Group != "g" {
		t.Errorf("emptied: got %+v, want it filled anew", got)
	}
}

// A replica whose raft group is not known was set aside without the group, which then
// told the others of records that were gone.
func TestRepair_UnknownGroupIsNotLeftBehind(t *testing.T) {
	damage := errors.New("a bit has changed")
	for _, c := range []struct {
		name      string
		clustered bool
		known     []replicaState
		all       bool
	}{
		{"nothing is known", true, nil, true},
		{"the group is known", true, []replicaState{{Group: "g", Replicas: []string{"a", "b"}}}, false},
		{"only the names are known", true, []replicaState{{Replicas: []string{"a", "b"}}}, true},
		{"the only replica has no group", true, []replicaState{{Replicas: []string{"a"}}}, false},
		{"a node alone has no group", false, nil, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			n := &Node{state: folderState{Shards: c.known}}
			if c.clustered {
				n.opts.Listen = "127.0.0.1:1"
			}
			if err := n.wholeNode(&verification{shards: map[int]error{0: damage}}); (err != nil) != c.all {
				t.Errorf("got %v, want all replicas set aside: %v", err, c.all)
			}
		})
	}
}

// A state that is damaged must not hide damage: it says nothing, least of all
// that the node was stopped in order.
func TestState_DamagedSaysNothing(t *testing.T) {
	dir := t.TempDir()
	if err := saveState(dir, folderState{Clean: true, Shards: []replicaState{{Last: 7}}}); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(dir, stateName)
	whole, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	for at := range whole {
		b := append([]byte(nil), whole...)
		b[at] ^= 1
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
		if got := loadState(dir); got.Clean || len(got.Shards) > 0 {
			t.Errorf("octet %d changed: got %+v, want nothing", at, got)
		}
	}
}

func TestMoveAside_KeepsTheNewestOfEach(t *testing.T) {
	dir := t.TempDir()
	for _, old := range []string{"20200101T000000.000-shard0", "20200101T000000.000-shard1"} {
		write(t, filepath.Join(dir, damagedName, old, "x"))
	}
	write(t, filepath.Join(streamDir(dir, 0), "msgs", "1.blk"))
	kept, err := setAsideShard(dir, 0, "")
	if err != nil {
		t.Fatal(err)
	}
	if !exists(filepath.Join(kept, "S0", "msgs", "1.blk")) || exists(streamDir(dir, 0)) {
		t.Errorf("the stream is not in %s alone", kept)
	}
	names, err := os.ReadDir(filepath.Join(dir, damagedName))
	if err != nil || len(names) != 2 || names[0].Name() != "20200101T000000.000-shard1" {
		t.Errorf("got %v, error %v, want the old one of shard 1 and the new one", names, err)
	}
}

func TestKnownNames_MadeUpNamesAreNotRemembered(t *testing.T) {
	before, now := []string{"a", "b"}, []string{"a", "b", "c"}
	if got := knownNames(now, before); !cmp.Equal(got, now) {
		t.Errorf("got %q, want %q", got, now)
	}
	if got := knownNames([]string{"?xyz", "a"}, before); !cmp.Equal(got, before) {
		t.Errorf("got %q, want %q", got, before)
	}
	if got := knownNames([]string{"?xyz", "a"}, nil); got != nil {
		t.Errorf("got %q, want nothing: the node is not known to be alone", got)
	}
}
