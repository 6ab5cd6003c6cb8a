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

// Whatever is wrong with the files, what is read of them is right, and where it is not
// whole the reading ends in front of that.
func TestSome_ReadsWhatIsWholeAndNothingElse(t *testing.T) {
	want := fillers()
	home := t.TempDir()
	n := openAlone(t, home)
	appendAll(t, n.Log(0), 0, want)
	n.Kill()
	end := uint64(len(want)) + 1
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
	block := func(dir, name string) string { return filepath.Join(dir, "msgs", name+".blk") }
	for _, c := range []struct {
		name string
		from uint64
		harm func(t *testing.T, dir string)
		next uint64 // of what was read; 0: it depends on where the blocks end
	}{
		{name: "from the first", from: 1, next: end},
		{name: "from within a block", from: 4, next: end},
		{name: "the last", from: end - 1, next: end},
		{name: "nothing is wanted any more", from: end, next: end},
		{name: "a record that is not there yet", from: end + 5, next: end + 5},
		{name: "a bit of the first record", from: 1, harm: func(t *testing.T, dir string) {
			t.Helper()
			edit(t, block(dir, "1"), func(b []byte) []byte { b[40] ^= 1; return b })
		}, next: 1},
		{name: "a bit of a record before", from: 2, harm: func(t *testing.T, dir string) {
			t.Helper()
			edit(t, block(dir, "1"), func(b []byte) []byte { b[40] ^= 1; return b })
		}, next: end},
		{name: "a length before", from: 2, harm: func(t *testing.T, dir string) {
			t.Helper()
			edit(t, block(dir, "1"), func(b []byte) []byte { b[0]++; return b })
		}, next: 2},
		{name: "a block that is cut off", from: 1, harm: func(t *testing.T, dir string) {
			t.Helper()
			edit(t, block(dir, "2"), func(b []byte) []byte { return b[:len(b)-5] })
		}},
		{name: "a block is missing", from: 1, harm: func(t *testing.T, dir string) {
			t.Helper()
			if err := os.Remove(block(dir, "2")); err != nil {
				t.Fatal(err)
			}
		}},
		{name: "a block that is compressed", from: 1, harm: func(t *testing.T, dir string) {
			t.Helper()
			edit(t, block(dir, "1"), func(b []byte) []byte { return append([]byte("cmp\x01"), b...) })
		}, next: 1},
		{name: "an encrypted store", from: 1, harm: func(t *testing.T, dir string) {
			t.Helper()
			if err := os.WriteFile(filepath.Join(dir, "meta.key"), []byte("key"), 0o600); err != nil {
				t.Fatal(err)
			}
		}, next: 1},
		{name: "no files", from: 1, harm: func(t *testing.T, dir string) {
			t.Helper()
			if err := os.RemoveAll(dir); err != nil {
				t.Fatal(err)
			}
		}, next: 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "S0")
			if err := os.CopyFS(dir, os.DirFS(streamDir(home))); err != nil {
				t.Fatal(err)
			}
			if c.harm != nil {
				c.harm(t, dir)
			}
			next := c.from
			err := blocks.Some(t.Context(), dir, c.from, blocks.Options{Name: "S0", Subject: "selvedge.log.0"}, func(r blocks.Record) error {
				if r.Seq != next || !bytes.Equal(r.Msg, want[next-1]) {
					t.Errorf("got record %d, want %d and its bytes", r.Seq, next)
				}
				next++
				return nil
			})
			if err != nil || c.next != 0 && next != c.next || next > end && next != c.from || c.next == 0 && next == end {
				t.Errorf("got %d as the next sequence, error %v, want %d", next, err, c.next)
			}
		})
	}
	enough := errors.New("enough")
	read := 0
	err := blocks.Some(t.Context(), streamDir(home), 3, blocks.Options{Name: "S0", Subject: "selvedge.log.0"}, func(blocks.Record) error {
		if read++; read == 2 {
			return enough
		}
		return nil
	})
	if !errors.Is(err, enough) || read != 2 {
		t.Errorf("got %d records and the error %v, want 2 and %v", read, err, enough)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err = blocks.Some(ctx, streamDir(home), 1, blocks.Options{Name: "S0", Subject: "selvedge.log.0"}, func(blocks.Record) error { return nil })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got the error %v, want %v", err, context.Canceled)
	}
}
