package cluster

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// watchedNames is a folder with one file and one folder in it, which holds a block, and
// what keeps its names; synced tells which folders were synced since it was called last.
func watchedNames(t *testing.T) (dir string, f *folderNames, synced func() []string) {
	t.Helper()
	dir = t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "msgs"), 0o700); err != nil {
		t.Fatal(err)
	}
	touch(t, dir, "meta.inf")
	touch(t, dir, "msgs/1.blk")
	var list []string
	f = newFolderNames(dir, true)
	f.sync = func(d string) error {
		name, err := filepath.Rel(dir, d)
		list = append(list, name)
		return err
	}
	return dir, f, func() []string {
		got := list
		list = nil
		return got
	}
}

func touch(t *testing.T, dir, name string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, filepath.FromSlash(name)), nil, 0o600); err != nil {
		t.Fatal(err)
	}
}

// wantSynced keeps the names and checks which folders that has synced.
func wantSynced(t *testing.T, what string, f *folderNames, synced func() []string, want ...string) {
	t.Helper()
	if err := f.keep(); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	if diff := cmp.Diff(want, synced()); diff != "" {
		t.Errorf("%s: folders synced (-want +got):\n%s", what, diff)
	}
}

// A folder is synced when it holds a new name, also one that came within the same tick of
// the file system's clock, and at no other time.
func TestFolderNames_SyncsFoldersWithNewNames(t *testing.T) {
	dir, f, synced := watchedNames(t)
	wantSynced(t, "the first look", f, synced, ".", "msgs")
	wantSynced(t, "nothing new", f, synced)
	touch(t, dir, "msgs/2.blk")
	wantSynced(t, "a new block", f, synced, "msgs")
	if err := os.Remove(filepath.Join(dir, "msgs", "1.blk")); err != nil {
		t.Fatal(err)
	}
	wantSynced(t, "a block that is gone", f, synced)
	if err := os.MkdirAll(filepath.Join(dir, "obs", "one"), 0o700); err != nil {
		t.Fatal(err)
	}
	touch(t, dir, "obs/one/meta.inf")
	wantSynced(t, "new folders", f, synced, ".", "obs", "obs/one")
	if err := os.RemoveAll(filepath.Join(dir, "msgs")); err != nil {
		t.Fatal(err)
	}
	wantSynced(t, "a folder that is gone", f, synced)
	if err := os.Mkdir(filepath.Join(dir, "msgs"), 0o700); err != nil {
		t.Fatal(err)
	}
	touch(t, dir, "msgs/1.blk")
	wantSynced(t, "a folder that is there again", f, synced, ".", "msgs")
}

// Once the clock has gone on a folder that has not changed is not read any more.
func TestFolderNames_SettlesWhenItsTimeIsPast(t *testing.T) {
	dir, f, synced := watchedNames(t)
	msgs := filepath.Join(dir, "msgs")
	for _, c := range []struct {
		name string
		ago  time.Duration
		want bool
	}{
		{"a change that a clock which is ahead has noted", -time.Hour, false},
		{"a change of some time ago", time.Minute, true},
	} {
		at := time.Now().Add(-c.ago)
		if err := os.Chtimes(msgs, at, at); err != nil {
			t.Fatal(err)
		}
		if err := f.keep(); err != nil {
			t.Fatal(err)
		}
		if got := f.below[0].settled; got != c.want {
			t.Errorf("%s: got settled %v, want %v", c.name, got, c.want)
		}
	}
	if got := synced(); !slices.Contains(got, "msgs") {
		t.Errorf("folders synced: got %q, want msgs among them", got)
	}
	for noted, want := range map[time.Time]time.Duration{time.Unix(7, 0): coarseGrain, time.Unix(7, 1): fineGrain} {
		if got := grain(noted); got != want {
			t.Errorf("grain of %v: got %v, want %v", noted, got, want)
		}
	}
}

// A name counts as durable only when the sync of its folder has succeeded.
func TestFolderNames_TriesAgainAfterAFailedSync(t *testing.T) {
	_, f, synced := watchedNames(t)
	works, broken := f.sync, errors.New("input/output error")
	f.sync = func(string) error { return broken }
	if err := f.keep(); !errors.Is(err, broken) {
		t.Fatalf("got %v, want %v", err, broken)
	}
	f.sync = works
	wantSynced(t, "the next look", f, synced, ".", "msgs")
}
