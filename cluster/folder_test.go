package cluster

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rs/zerolog"
)

// standaloneFolder makes a standalone folder with a file in its store.
func standaloneFolder(t *testing.T, dir string) {
	t.Helper()
	if _, _, err := prepareFolder(Options{Node: "old", Dir: dir, Shards: 2}); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, storeName, "data"))
}

func TestOpen_FolderInUseIsRefused(t *testing.T) {
	o := testOptions(t)
	openNode(t, o)
	n, err := Open(t.Context(), o)
	if err == nil {
		n.Kill()
	}
	if !errors.Is(err, ErrFolder) || !strings.Contains(err.Error(), "in use") {
		t.Errorf("got %v, want an ErrFolder: in use", err)
	}
}

func write(t *testing.T, name string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
}

// clusterSettings are options of a node of a cluster.
func clusterSettings(dir string) Options {
	return Options{Node: "n", Dir: dir, Shards: 4, Listen: "127.0.0.1:1", ClusterName: "c"}
}

func TestPrepareFolder_Refusals(t *testing.T) {
	makeCluster := func(t *testing.T, dir string) {
		t.Helper()
		if _, _, err := prepareFolder(clusterSettings(dir)); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		name    string
		make    func(t *testing.T, dir string)
		options func(o *Options)
		want    string
	}{
		{"a cluster's folder without cluster settings", makeCluster, func(o *Options) { o.Listen = "" }, `belongs to the cluster "c": start with`},
		{"a folder of another cluster", makeCluster, func(o *Options) { o.ClusterName = "d" }, `"c", not to "d"`},
		{"a folder of another node", makeCluster, func(o *Options) { o.Node = "m" }, `"n", not to "m"`},
		{"a folder with logs on a node without storage", makeCluster, func(o *Options) { o.FrontOnly = true }, "store nothing"},
		{"logs without a marker", func(t *testing.T, dir string) {
			t.Helper()
			write(t, filepath.Join(dir, storeName, "x"))
		}, func(*Options) {}, "no selvedge.json"},
		{"a damaged marker", func(t *testing.T, dir string) {
			t.Helper()
			write(t, filepath.Join(dir, markerName))
		}, func(*Options) {}, "is damaged: restore that file, or use another folder: "},
		{"a marker that says nothing", func(t *testing.T, dir string) {
			t.Helper()
			if err := os.WriteFile(filepath.Join(dir, markerName), []byte("null"), 0o600); err != nil {
				t.Fatal(err)
			}
		}, func(*Options) {}, "is damaged: restore that file, or use another folder: it has no layout version"},
		{"a folder set aside for import without cluster settings", func(t *testing.T, dir string) {
			t.Helper()
			standaloneFolder(t, dir)
			makeCluster(t, dir)
		}, func(o *Options) { o.Listen = "" }, "waits to be imported"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			c.make(t, dir)
			o := clusterSettings(dir)
			c.options(&o)
			_, _, err := prepareFolder(o)
			if !errors.Is(err, ErrFolder) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want an ErrFolder with %q", err, c.want)
			}
		})
	}
}

func TestPrepareFolder_StandaloneIsSetAside(t *testing.T) {
	for _, c := range []struct {
		name string
		// interrupt brings the folder into the state after a kill.
		interrupt func(t *testing.T, dir string)
	}{
		{"in one go", func(*testing.T, string) {}},
		{"killed before the first rename", func(t *testing.T, dir string) {
			t.Helper()
			if err := os.Mkdir(filepath.Join(dir, importName), 0o700); err != nil {
				t.Fatal(err)
			}
		}},
		{"killed between the renames", func(t *testing.T, dir string) {
			t.Helper()
			if err := os.Mkdir(filepath.Join(dir, importName), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.Rename(filepath.Join(dir, markerName), filepath.Join(dir, importName, markerName)); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			standaloneFolder(t, dir)
			c.interrupt(t, dir)
			for range 2 { // and again at the next start
				m, aside, err := prepareFolder(clusterSettings(dir))
				if err != nil {
					t.Fatal(err)
				}
				if m.Format != FormatCluster || m.Shards != 4 || aside != filepath.Join(dir, importName) {
					t.Errorf("got %+v and %q, want a cluster's folder and the import folder", m, aside)
				}
				old, err := Detect(aside)
				if err != nil || old.Format != FormatStandalone || old.Node != "old" || old.Shards != 2 {
					t.Errorf("got %+v, error %v, want the standalone folder", old, err)
				}
				if !exists(filepath.Join(aside, storeName, "data")) {
					t.Error("the standalone folder's logs are not there")
				}
			}
		})
	}
}

// The number of shards in the settings was ignored without a word when the folder had
// another one.
func TestOpen_TellsThatTheFolderHasOtherShards(t *testing.T) {
	dir := t.TempDir()
	var out bytes.Buffer
	for _, shards := range []int{1, 2} {
		n, err := Open(t.Context(), Options{Node: "n", Dir: dir, Shards: shards, Log: zerolog.New(&out).Level(zerolog.WarnLevel)})
		if err != nil {
			t.Fatal(err)
		}
		if got := n.Shards(); got != 1 {
			t.Errorf("with the setting %d: got %d shards, want 1", shards, got)
		}
		if err := n.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got, want := strings.Contains(out.String(), `"folder":1,"setting":2`), shards == 2; got != want {
			t.Errorf("with the setting %d: got the log %s, want a warning: %v", shards, &out, want)
		}
	}
}

// A retirement was noted in the marker while others may read it; and two that fail the
// node wrote it at the same moment, or the second without what the first had noted.
func TestFolder_TheFirstFailureAloneIsNotedInTheFolder(t *testing.T) {
	n := &Node{
		opts: Options{Dir: t.TempDir(), Log: zerolog.Nop()}, failed: make(chan error, 1),
		marker: Marker{Version: markerVersion, Format: FormatCluster, Shards: 4},
	}
	n.refuse(fmt.Errorf("%w by ann", ErrRetired))
	n.otherShards(8)
	if err := <-n.failed; !errors.Is(err, ErrRetired) {
		t.Errorf("got %v, want %v", err, ErrRetired)
	}
	if !n.marker.Retired.IsZero() || n.marker.Shards != 4 {
		t.Error("the marker was changed that others read")
	}
	if m, err := Detect(n.opts.Dir); err != nil || m.Retired.IsZero() || m.Shards != 4 {
		t.Errorf("got %+v in the folder, error %v, want the retirement noted", m, err)
	}
	n.refuse(ErrRetired)
	if len(n.failed) > 0 {
		t.Error("the failure is told twice")
	}
}
