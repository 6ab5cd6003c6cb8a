package blocks_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/rs/zerolog"

	"github.com/selvedge-mq/selvedge/cluster"
	"github.com/selvedge-mq/selvedge/cluster/blocks"
	"github.com/selvedge-mq/selvedge/cluster/clustertest"
	"github.com/selvedge-mq/selvedge/routing/engine"
)

// The formats that this package reads are the server's own, and may change with
// any version. Whoever changes the version in go.mod compares what doc.go says
// with the new filestore.go and raft.go, and then changes ServerVersion.
func TestServerVersion_HasBeenLookedAt(t *testing.T) {
	if server.VERSION != blocks.ServerVersion {
		t.Fatalf("the embedded server is of version %s, its files were looked at in version %s", server.VERSION, blocks.ServerVersion)
	}
}

// largest is the largest record that a log takes.
const largest = 8<<20 - 1024

// fillers are records of many sizes: small ones, some that a raft group
// compresses, some that do not compress, and the largest.
func fillers() [][]byte {
	random := rand.NewChaCha8([32]byte{1})
	var list [][]byte
	for _, n := range []int{1, 40, 256, 5000, 9000, 9000, 60_000, 1 << 20, largest, 17, largest, 3, 3, 500, 20_000} {
		rec := make([]byte, n)
		if len(list)%2 == 0 {
			_, _ = random.Read(rec) // never fails
		} else {
			copy(rec, bytes.Repeat([]byte("record "), n/7+1))
		}
		list = append(list, rec)
	}
	return list
}

// appendAll appends records behind last.
func appendAll(tb testing.TB, l engine.Log, last uint64, recs [][]byte) {
	tb.Helper()
	for _, rec := range recs {
		if err := appendOne(l, last, rec); err != nil {
			tb.Fatalf("append behind %d: %v", last, err)
		}
		last++
	}
}

// appendOne appends a record, once more where the answer was lost with a leader.
func appendOne(l engine.Log, last uint64, rec []byte) error {
	var failed error
	for range 3 {
		done := make(chan error, 1)
		l.Append(last, rec, func(_ uint64, err error) { done <- err })
		err := <-done
		if err == nil {
			return nil
		}
		failed = errors.Join(failed, err)
		if _, end, err := l.Bounds(context.Background()); err == nil && end == last+1 {
			return nil
		}
	}
	return failed
}

// openAlone opens a node of one shard on its own.
func openAlone(tb testing.TB, dir string) *cluster.Node {
	tb.Helper()
	n, err := cluster.Open(context.Background(), cluster.Options{
		Node: "alone", Dir: dir, Shards: 1, AppendTimeout: clustertest.Patience, Log: zerolog.New(io.Discard),
	})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(n.Kill)
	return n
}

// streamDir is where a node stores the stream of shard 0.
func streamDir(dir string) string {
	return filepath.Join(dir, "fabric", "jetstream", "SELVEDGE", "streams", "S0")
}

// scanned is what a scan hands out, and finds.
func scanned(dir string) (blocks.Report, [][]byte, error) {
	var recs [][]byte
	r, err := blocks.Scan(context.Background(), dir, blocks.Options{
		Name: "S0", Subject: "selvedge.log.0",
		Record: func(_ uint64, rec []byte) error {
			recs = append(recs, slices.Clone(rec))
			return nil
		},
	})
	return r, recs, err
}

func removeIndex(t *testing.T, dir string) {
	t.Helper()
	if err := os.Remove(filepath.Join(dir, "msgs", "index.db")); err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
}

func TestScan_ReadsWhatTheServerWrites(t *testing.T) {
	want := fillers()
	for _, c := range []struct {
		name  string
		purge uint64
		end   func(n *cluster.Node)
	}{
		{"as it is appended, then killed", 0, (*cluster.Node).Kill},
		{"with a prefix purged in the first block", 3, (*cluster.Node).Kill},
		{"with whole blocks purged", 10, (*cluster.Node).Kill},
		{"with all purged", 15, (*cluster.Node).Kill},
		{"stopped in order", 9, func(n *cluster.Node) { _ = n.Close(context.Background()) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			n := openAlone(t, dir)
			appendAll(t, n.Log(0), 0, want)
			if c.purge > 0 {
				if err := n.Log(0).Purge(t.Context(), c.purge); err != nil {
					t.Fatal(err)
				}
			}
			c.end(n)
			for _, index := range []bool{true, false} {
				if !index {
					removeIndex(t, streamDir(dir))
				}
				r, recs, err := scanned(streamDir(dir))
				if err != nil {
					t.Fatal(err)
				}
				if r.First != c.purge+1 || r.Last != uint64(len(want)) || r.Torn != nil {
					t.Errorf("got %d to %d, torn %v, want %d to %d", r.First, r.Last, r.Torn, c.purge+1, len(want))
				}
				kept := want[c.purge:]
				if len(recs) < len(kept) || !slices.EqualFunc(recs[len(recs)-len(kept):], kept, bytes.Equal) {
					t.Errorf("got %d records, want the last %d as they were appended", len(recs), len(kept))
				}
				if index && (r.Index != 0 && r.Index != r.Last) {
					t.Errorf("the summary ends at %d, want %d", r.Index, r.Last)
				}
				if err := blocks.Configuration(streamDir(dir), "S0"); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// What the reader calls whole the server must call whole, too.
func TestScan_AgreesWithTheServerAfterARestart(t *testing.T) {
	dir, recs := t.TempDir(), fillers()
	for round := range uint64(3) {
		n := openAlone(t, dir)
		last := round * uint64(len(recs))
		appendAll(t, n.Log(0), last, recs)
		if err := n.Log(0).Purge(t.Context(), last+4); err != nil {
			t.Fatal(err)
		}
		first, end, err := n.Log(0).Bounds(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		n.Kill()
		r, _, err := scanned(streamDir(dir))
		if err != nil || r.First != first || r.Last != end {
			t.Errorf("round %d: got %d to %d, error %v, want %d to %d", round, r.First, r.Last, err, first, end)
		}
	}
}

func TestScanGroup_ReadsWhatTheServerWrites(t *testing.T) {
	k := clustertest.Start(t, 3, func(_ int, o *cluster.Options) { o.Shards, o.AppendTimeout = 1, clustertest.Patience })
	k.WaitHealthy()
	l, recs := k.Node(k.WaitLeader(0)).Log(0), fillers()
	appendAll(t, l, 0, recs)
	if err := l.Purge(t.Context(), 9); err != nil {
		t.Fatal(err)
	}
	appendAll(t, l, uint64(len(recs)), recs[:7])
	k.WaitHealthy()
	for i := range k.Len() {
		k.Kill(i)
	}
	want := uint64(len(recs) + 7)
	for i := range k.Len() {
		dir := k.Options(i).Dir
		groups, err := filepath.Glob(filepath.Join(dir, "fabric", "jetstream", "SYS", "_js_", "*"))
		if err != nil || len(groups) != 3 {
			t.Fatalf("got the groups %q, error %v, want those of the cluster, the log and the registry", groups, err)
		}
		logs := 0
		for _, g := range groups {
			found, err := blocks.ScanGroup(t.Context(), g, filepath.Base(g), nil)
			if err != nil {
				t.Errorf("n%d: %v", i, err)
				continue
			}
			if filepath.Base(g) == "_meta_" {
				continue
			}
			if found.Known() && found.Highest() == want {
				logs++
			}
			if err := blocks.Configuration(g, filepath.Base(g)); err != nil {
				t.Error(err)
			}
		}
		if logs != 1 {
			t.Errorf("n%d: %d groups know %d records, want the log's", i, logs, want)
		}
		if r, _, err := scanned(streamDir(dir)); err != nil || r.Last != want || r.First != 10 {
			t.Errorf("n%d: got %d to %d, error %v, want 10 to %d", i, r.First, r.Last, err, want)
		}
	}
}

// harm is a way to damage a file.
type harm struct {
	name string
	do   func(t *testing.T, path string, random *rand.Rand) (where int64)
}

func flipBit(t *testing.T, path string, random *rand.Rand) int64 {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	at := random.Int64N(int64(len(b)))
	b[at] ^= 1 << random.IntN(8)
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return at
}

func truncate(t *testing.T, path string, random *rand.Rand) int64 {
	t.Helper()
	fi, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	at := random.Int64N(fi.Size())
	if err := os.Truncate(path, at); err != nil {
		t.Fatal(err)
	}
	return at
}

// harmed damages a copy of a folder: one of the files whose names end in suffix.
func harmed(t *testing.T, dir, suffix string, h harm, random *rand.Rand) (copied, where string) {
	t.Helper()
	copied = filepath.Join(t.TempDir(), filepath.Base(dir))
	if err := os.CopyFS(copied, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	var files []string
	err := filepath.WalkDir(copied, func(path string, e os.DirEntry, err error) error {
		if err == nil && !e.IsDir() && strings.Contains(path, suffix) {
			files = append(files, path)
		}
		return err
	})
	if err != nil || len(files) == 0 {
		t.Fatalf("got the files %q, error %v", files, err)
	}
	path := files[random.IntN(len(files))]
	return copied, fmt.Sprintf("%s at %d", path, h.do(t, path, random))
}

// Wherever a bit is flipped or a file ends, the scan does not call it whole: it
// finds damage, or fewer records than there were.
func TestScan_FindsDamageAnywhere(t *testing.T) {
	k := clustertest.Start(t, 3, func(_ int, o *cluster.Options) { o.Shards, o.AppendTimeout = 1, clustertest.Patience })
	l := k.Node(k.WaitLeader(0)).Log(0)
	var recs [][]byte
	for i := range 60 {
		recs = append(recs, bytes.Repeat([]byte{byte(i)}, 40+i*i*7))
	}
	appendAll(t, l, 0, recs)
	k.WaitHealthy()
	k.Kill(0)
	dir := k.Options(0).Dir
	groups, err := filepath.Glob(filepath.Join(dir, "fabric", "jetstream", "SYS", "_js_", "S-*"))
	groups = slices.DeleteFunc(groups, func(group string) bool { // that of the registry
		g, err := blocks.ScanGroup(t.Context(), group, filepath.Base(group), nil)
		return err == nil && g.Highest() != uint64(len(recs))
	})
	if err != nil || len(groups) != 1 {
		t.Fatalf("got the groups %q, error %v, want one", groups, err)
	}
	whole, err := blocks.ScanGroup(t.Context(), groups[0], filepath.Base(groups[0]), nil)
	if err != nil {
		t.Fatal(err)
	}
	random := rand.New(rand.NewPCG(1, 2))
	for _, h := range []harm{{"a flipped bit", flipBit}, {"a truncated file", truncate}} {
		t.Run(h.name+" in the stream", func(t *testing.T) {
			for range 60 {
				copied, where := harmed(t, streamDir(dir), ".blk", h, random)
				if r, _, err := scanned(copied); err == nil && r.Last == uint64(len(recs)) {
					t.Errorf("%s: got %+v, want damage or fewer records", where, r)
				}
			}
		})
		t.Run(h.name+" in the group's entries", func(t *testing.T) {
			for range 60 {
				copied, where := harmed(t, groups[0], ".blk", h, random)
				g, err := blocks.ScanGroup(t.Context(), copied, filepath.Base(copied), nil)
				if err == nil && g.Entries.Last == whole.Entries.Last {
					t.Errorf("%s: got %+v, want damage or fewer entries", where, g)
				}
			}
		})
	}
}

func TestScan_RefusesWhatSelvedgeDoesNotMake(t *testing.T) {
	write := func(t *testing.T, path, text string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct{ name, file, text string }{
		{"an encrypted store", "meta.key", "key"},
		{"a compressed block", "msgs/1.blk", "cmp\x01\x10 and so on"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			write(t, filepath.Join(dir, c.file), c.text)
			if _, _, err := scanned(dir); !errors.Is(err, blocks.ErrFormat) {
				t.Errorf("got %v, want %v", err, blocks.ErrFormat)
			}
		})
	}
}

func BenchmarkScan(b *testing.B) {
	dir := b.TempDir()
	n := openAlone(b, dir)
	rec := bytes.Repeat([]byte("0123456789abcdef"), 1<<15) // 512 KiB
	var recs [][]byte
	for range 128 {
		recs = append(recs, rec)
	}
	appendAll(b, n.Log(0), 0, recs)
	n.Kill()
	b.SetBytes(blocks.Size(streamDir(dir)))
	for b.Loop() {
		if _, err := blocks.Scan(b.Context(), streamDir(dir), blocks.Options{Name: "S0", Subject: "selvedge.log.0"}); err != nil {
			b.Fatal(err)
		}
	}
}
