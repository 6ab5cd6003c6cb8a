package cluster_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"github.com/selvedge-mq/selvedge/cluster"
)

// kinds are the files of a data folder, and what is found of them before the embedded
// server starts. The first pattern that matches counts.
var kinds = []struct {
	pattern string // of the path, without the name of a raft group
	found   bool   // wherever a bit flips; else it is harmless: the server does without, or knows better
}{
	{"selvedge.lock", false},                            // empty
	{"selvedge.json", true},                             // also what it says of shards and names
	{"selvedge.state", false},                           // has a checksum; without it all is read through
	{"fabric/jetstream/*/*/*/msgs/index.db", false},     // a summary of the blocks, with a checksum
	{"fabric/jetstream/SELVEDGE/streams/KV_*/*", false}, // the registry: nobody decides by it alone
	{"fabric/jetstream/SELVEDGE/streams/KV_*/*/*", false},
	{"fabric/jetstream/SELVEDGE/streams/S*/meta.*", true},
	{"fabric/jetstream/SELVEDGE/streams/S*/msgs/*.blk", true},
	{"fabric/jetstream/SYS/_js_/*/meta.*", true},
	{"fabric/jetstream/SYS/_js_/*/snapshots/*", true},
	{"fabric/jetstream/SYS/_js_/*/msgs/*.blk", true},
	{"fabric/jetstream/SYS/_js_/*/commit.idx", false}, // has a checksum, and is a lower bound
	{"fabric/jetstream/SYS/_js_/*/tav.idx", false},    // no checksum: a term that is too high, a vote forgotten
	{"fabric/jetstream/SYS/_js_/*/peers.idx", false},  // no checksum: a member that nobody is
}

// isFound says whether a flip in that file of a folder is found wherever it is.
func isFound(t *testing.T, name string) bool {
	t.Helper()
	for _, k := range kinds {
		if ok, err := path.Match(k.pattern, name); err != nil {
			t.Fatal(err)
		} else if ok {
			return k.found
		}
	}
	t.Errorf("%s: a kind of file that nobody has thought of: say what its damage does", name)
	return false
}

// eachFile calls f for each file of a folder, with its name in it and its bytes.
func eachFile(t *testing.T, dir string, f func(name string, b []byte)) {
	t.Helper()
	err := filepath.WalkDir(dir, func(file string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		name, err := filepath.Rel(dir, file)
		if err != nil {
			return err
		}
		b, err := os.ReadFile(file)
		if err == nil {
			f(filepath.ToSlash(name), b)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func overwrite(t *testing.T, dir, name string, b []byte) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, filepath.FromSlash(name)), b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// markSize is the length of what a purge leaves behind the last record of a block. When its
// own length has changed it looks like a write that did not end, and goes: what was purged
// is there again then, as if nobody had asked for that.
const markSize = 30

// wantFlipsFound flips a bit in each octet, or in most of them at most, of each file of
// which a start is said to find it before the embedded server runs, and checks that.
func wantFlipsFound(t *testing.T, o cluster.Options, most int) {
	t.Helper()
	if err := cluster.Verified(t.Context(), o); err != nil {
		t.Fatalf("a folder that is whole: %v", err)
	}
	eachFile(t, o.Dir, func(name string, b []byte) {
		if !isFound(t, name) {
			return
		}
		for at := 0; at < len(b); at += 1 + len(b)/most {
			bit := byte(1) << (at % 8)
			b[at] ^= bit
			overwrite(t, o.Dir, name, b)
			b[at] ^= bit
			if strings.HasSuffix(name, ".blk") && at >= len(b)-markSize || name == "selvedge.json" && keepsMeaning(b, at, bit) {
				continue
			}
			if err := cluster.Verified(t.Context(), o); err == nil {
				t.Errorf("%s: bit %#x of octet %d of %d flipped: got it called whole", name, bit, at, len(b))
			}
		}
		overwrite(t, o.Dir, name, b)
	})
}

// keepsMeaning says whether a flip leaves a marker's values as they are: in the name of
// its checksum, or of one that is not there, or by making a letter of a name large.
func keepsMeaning(b []byte, at int, bit byte) bool {
	line := b[strings.LastIndexByte(string(b[:at]), '\n')+1:]
	return len(line) > 0 && (strings.HasPrefix(string(line), `  "crc32c"`) || bit == ' ')
}

// alone is the folder of a node on its own, killed with twelve records of which two were
// purged, and the rest of them.
func alone(t *testing.T) (o cluster.Options, want []string) {
	t.Helper()
	o = cluster.Options{Node: "alone", Dir: t.TempDir(), Shards: 1, Log: zerolog.New(io.Discard)}
	n := openStandalone(t, o.Dir)
	recs := numbered(12)
	for i, rec := range recs {
		mustAppend(t, n.Log(0), uint64(i), rec)
	}
	if err := n.Log(0).Purge(t.Context(), 2); err != nil {
		t.Fatal(err)
	}
	if err := n.Close(t.Context()); err != nil { // notes what the log holds
		t.Fatal(err)
	}
	openStandalone(t, o.Dir).Kill()
	return o, recs[2:]
}

// Wherever a bit flips in a file that matters, a start says so; it is not called whole.
func TestVerify_FindsAFlippedBitInEachOctet(t *testing.T) {
	t.Parallel()
	o, _ := alone(t)
	wantFlipsFound(t, o, 2000) // all of them
}

// The same for a node of a cluster, with its raft groups.
func TestVerify_FindsAFlippedBitInEachFileOfACluster(t *testing.T) {
	t.Parallel()
	k, _ := filled(t)
	victim := (k.WaitLeader(0) + 1) % k.Len()
	o := k.Options(victim)
	o.Log = zerolog.New(io.Discard)
	asLeft := copied(t, o.Dir)
	k.Kill(victim)
	wantFlipsFound(t, o, 60)
	o.Dir = asLeft // what a process leaves that is killed: entries, no summary
	wantFlipsFound(t, o, 60)
}

// Whatever file of a node on its own is damaged, cut off or gone: the node says so and
// does not start, or serves everything.
func TestNode_AnyDamageAloneIsToldOrHarmless(t *testing.T) {
	t.Parallel()
	o, want := alone(t)
	harms := []struct {
		name string
		do   func(b []byte) []byte // nil: the file is gone
	}{
		{"a flipped bit", func(b []byte) []byte { b[len(b)/2] ^= 1; return b }},
		{"a flipped bit at the end", func(b []byte) []byte { b[len(b)-1] ^= 4; return b }},
		{"half of it", func(b []byte) []byte { return b[:len(b)/2] }},
		{"nothing of it", func([]byte) []byte { return []byte{} }},
		{"no file", func([]byte) []byte { return nil }},
	}
	eachFile(t, o.Dir, func(name string, b []byte) {
		for _, h := range harms {
			t.Run(fmt.Sprintf("%s of %s", h.name, strings.ReplaceAll(name, "/", "|")), func(t *testing.T) {
				o := o
				whole := o.Dir
				o.Dir = t.TempDir()
				if err := os.CopyFS(o.Dir, os.DirFS(whole)); err != nil {
					t.Fatal(err)
				}
				if left := slices.Clone(b); len(left) == 0 {
					remove(t, filepath.Join(o.Dir, filepath.FromSlash(name)))
				} else if left = h.do(left); left == nil {
					remove(t, filepath.Join(o.Dir, filepath.FromSlash(name)))
				} else {
					overwrite(t, o.Dir, name, left)
				}
				wantToldOrWhole(t, o, want)
			})
		}
	})
}

// wantToldOrWhole starts a node and checks that it refuses with a reason, or has all
// records, takes more, and knows itself.
func wantToldOrWhole(t *testing.T, o cluster.Options, want []string) {
	t.Helper()
	n, err := cluster.Open(t.Context(), o)
	if err != nil {
		if !errors.Is(err, cluster.ErrDamaged) && !errors.Is(err, cluster.ErrFolder) {
			t.Errorf("got the refusal %v, want %v or %v", err, cluster.ErrDamaged, cluster.ErrFolder)
		}
		return
	}
	defer n.Kill()
	got := records(t, n.Log(0))
	if more := len(got) - len(want); more < 0 || more > 2 || !slices.Equal(got[more:], want) {
		t.Errorf("got %q served, want %q", got, want)
	}
	if got := n.Shards(); got != 1 {
		t.Errorf("got %d shards, want 1", got)
	}
	mustAppend(t, n.Log(0), 12, "one more")
}

// Files of a node of a cluster that have no checksum, or that matter to nobody else, or of
// the groups beside the first log: what cannot be told is harmless, and the node comes back
// with everything.
func TestNode_DamageOfSmallFilesIsRepairedOrHarmless(t *testing.T) {
	t.Parallel()
	k, want := filled(t)
	const registry, small, meta = "SELVEDGE/streams/KV_*/", "SYS/_js_/" + logGroup + "/", "SYS/_js_/_meta_/"
	gone := func(t *testing.T, path string) { t.Helper(); remove(t, path) }
	flipped := func(t *testing.T, path string) { t.Helper(); flip(t, path, 0, 100) }
	for _, c := range []struct {
		name, pattern string
		harm          func(t *testing.T, path string)
		aside         string // see harmAndRestart
	}{
		{"a flipped bit in the log's configuration", "SELVEDGE/streams/S0/meta.inf", flipped, "shard0"},
		{"no checksum of it", "SELVEDGE/streams/S0/meta.sum", gone, "shard0"},
		{"a flipped bit in the group's configuration", small + "meta.inf", flipped, "shard0"},
		{"a member's name that is another one", small + "peers.idx", flipMember, ""}, // it may have been voted for
		{"a majority that is none", small + "peers.idx", flipSize, "shard0"},
		{"no members", small + "peers.idx", gone, nothing},
		{"no vote", small + "tav.idx", gone, ""}, // a later term needs one
		{"half a vote", small + "tav.idx", shorten, ""},
		{"a flipped bit in the registry", registry + "msgs/*.blk", flipped, nothing},
		{"a registry cut off", registry + "msgs/*.blk", shorten, nothing},
		{"a flipped bit in the registry's configuration", registry + "meta.inf", flipped, nothing},
		{"a flipped bit in the cluster's own entries", meta + "msgs/*.blk", flipEntry, "node"},
		{"the cluster's own entries cut off", meta + "msgs/*.blk", shorten, ""},
		{"a wrong count of what the cluster has committed", meta + "commit.idx", miscounted, nothing},
	} {
		t.Run(c.name, func(t *testing.T) {
			harmAndRestart(t, k, want, func(t *testing.T, dir string) {
				t.Helper()
				c.harm(t, files(t, dir, c.pattern)[0])
			}, c.aside)
		})
	}
}

// flipAt flips a bit of a file.
func flipAt(t *testing.T, path string, at int, bit byte) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b[at] ^= bit
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// flipSize makes one of a group's size of three.
func flipSize(t *testing.T, path string) { t.Helper(); flipAt(t, path, 0, 2) }

// flipMember flips a bit in the name of a group's first member.
func flipMember(t *testing.T, path string) { t.Helper(); flipAt(t, path, 10, 1) }

// miscounted puts a count far above what there is into a file of commits, whose checksum
// is wrong. The file is empty while a snapshot holds all that is committed.
func miscounted(t *testing.T, path string) {
	t.Helper()
	const counted = 8 + 32 // the count, its checksum
	if err := os.WriteFile(path, bytes.Repeat([]byte{1}, counted), 0o600); err != nil {
		t.Fatal(err)
	}
}

// flipEntry flips a bit in the first record of a block, behind its length.
func flipEntry(t *testing.T, path string) { t.Helper(); flipAt(t, path, 9, 1) }
