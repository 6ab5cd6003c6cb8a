package blocks_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/selvedge-mq/selvedge/cluster/blocks"
)

// live reads a store from a sequence on, with a copy of each record.
func live(dir string, from uint64, between func()) (next uint64, recs [][]byte, err error) {
	next, err = blocks.Live(context.Background(), dir, from, blocks.Options{Name: "S0", Subject: "selvedge.log.0"},
		func(batch []blocks.Record) error {
			for _, r := range batch {
				recs = append(recs, bytes.Clone(r.Msg))
			}
			between()
			return nil
		})
	return next, recs, err
}

// What is not whole in the files is damage only if it stands where the server does
// not write any more.
func TestLive_TellsDamageFromWork(t *testing.T) {
	want := fillers()
	home := t.TempDir()
	n := openAlone(t, home)
	appendAll(t, n.Log(0), 0, want)
	n.Kill()
	block := func(dir, name string) string { return filepath.Join(dir, "msgs", name+".blk") }
	edit := func(t *testing.T, path string, change func(b []byte) []byte) {
		t.Helper()
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, change(b), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	list, err := filepath.Glob(block(streamDir(home), "*"))
	if err != nil || len(list) < 3 {
		t.Fatalf("got the blocks %q, error %v, want three at least", list, err)
	}
	last := len(list)
	name := func(i int) string { return string(rune('0' + i)) }
	for _, c := range []struct {
		name    string
		from    uint64
		harm    func(t *testing.T, dir string)
		between func(t *testing.T, dir string) // once a block was handed out
		damaged bool
		least   uint64 // the records before it are handed out
		all     bool
	}{
		{name: "all is whole", from: 1, all: true},
		{name: "the rest is whole", from: 7, all: true},
		{name: "a bit in a block that nobody asks for", from: uint64(len(want)), harm: func(t *testing.T, dir string) {
			t.Helper()
			edit(t, block(dir, "1"), func(b []byte) []byte { b[len(b)/2] ^= 4; return b })
		}, all: true},
		{name: "nothing is wanted any more", from: uint64(len(want)) + 1, all: true},
		{name: "the end was not written to its end", from: 1, harm: func(t *testing.T, dir string) {
			t.Helper()
			edit(t, block(dir, name(last)), func(b []byte) []byte { return b[:len(b)-5] })
		}, least: uint64(len(want))},
		{name: "a bit in a block that is complete", from: 1, harm: func(t *testing.T, dir string) {
			t.Helper()
			edit(t, block(dir, "2"), func(b []byte) []byte { b[len(b)/2] ^= 4; return b })
		}, damaged: true, least: 2},
		{name: "a bit in the last block, with whole records behind it", from: 1, harm: func(t *testing.T, dir string) {
			t.Helper()
			edit(t, block(dir, name(last)), func(b []byte) []byte { b[30] ^= 4; return b })
		}, damaged: true, least: 2},
		{name: "a complete block that is cut off", from: 1, harm: func(t *testing.T, dir string) {
			t.Helper()
			edit(t, block(dir, "1"), func(b []byte) []byte { return b[:len(b)-9] })
		}, damaged: true, least: 1},
		{name: "the first block is missing", from: 1, harm: func(t *testing.T, dir string) {
			t.Helper()
			if err := os.Remove(block(dir, "1")); err != nil {
				t.Fatal(err)
			}
		}, damaged: true, least: 1},
		{name: "a block that is removed meanwhile", from: 1, between: func(t *testing.T, dir string) {
			t.Helper()
			if err := os.Remove(block(dir, "2")); err != nil && !errors.Is(err, os.ErrNotExist) {
				t.Fatal(err)
			}
		}, least: 2},
		{name: "no files", from: 3, harm: func(t *testing.T, dir string) {
			t.Helper()
			if err := os.RemoveAll(dir); err != nil {
				t.Fatal(err)
			}
		}, least: 3},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "S0")
			if err := os.CopyFS(dir, os.DirFS(streamDir(home))); err != nil {
				t.Fatal(err)
			}
			if c.harm != nil {
				c.harm(t, dir)
			}
			next, recs, err := live(dir, c.from, func() {
				if c.between != nil {
					c.between(t, dir)
				}
			})
			if _, damaged := errors.AsType[*blocks.DamageError](err); damaged != c.damaged || !damaged && err != nil {
				t.Errorf("got the error %v, want damage: %v", err, c.damaged)
			}
			if end := uint64(len(want)) + 1; next < c.least || next > end || c.all != (next == end) {
				t.Errorf("got %d as the next sequence, want at least %d, all: %v", next, c.least, c.all)
			}
			if len(recs) != int(next-c.from) {
				t.Fatalf("got %d records from %d on, the next is %d", len(recs), c.from, next)
			}
			for i, rec := range recs {
				if !bytes.Equal(rec, want[int(c.from)-1+i]) {
					t.Errorf("record %d is another one", int(c.from)+i)
				}
			}
		})
	}
}

// An encrypted store is not for this reader: it says so, and reads nothing.
func TestLive_RefusesAnotherForm(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "meta.key"), []byte("key"), 0o600); err != nil {
		t.Fatal(err)
	}
	if next, recs, err := live(dir, 4, func() {}); !errors.Is(err, blocks.ErrFormat) || next != 4 || len(recs) != 0 {
		t.Errorf("got %d records, %d as the next, error %v, want %v", len(recs), next, err, blocks.ErrFormat)
	}
}
