package disk

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The shorthands of the tables.
func mk(path string) Event           { return Event{Kind: Make, Path: path} }
func folder(path string) Event       { return Event{Kind: Folder, Path: path} }
func remove(path string) Event       { return Event{Kind: Remove, Path: path} }
func rename(path, to string) Event   { return Event{Kind: Rename, Path: path, To: to} }
func begin(path string, n int) Event { return Event{Kind: SyncBegin, Path: path, ID: n} }
func end(path string, n int) Event   { return Event{Kind: SyncEnd, Path: path, ID: n} }
func cut(path string, n int64) Event { return Event{Kind: Cut, Path: path, Offset: n} }

func put(path, data string, at int64) Event {
	return Event{Kind: Write, Path: path, Data: []byte(data), Offset: at}
}

func putSynced(path, data string) Event {
	return Event{Kind: Write, Path: path, Data: []byte(data), Synced: true}
}

// sync is a whole sync.
func sync(path string) []Event { return []Event{begin(path, 99), end(path, 99)} }

func join(parts ...any) []Event {
	var out []Event
	for _, p := range parts {
		switch p := p.(type) {
		case Event:
			out = append(out, p)
		case []Event:
			out = append(out, p...)
		}
	}
	return out
}

// left returns what a cut behind the events leaves: path → content, folders with
// a slash.
func left(t *testing.T, mode Mode, events []Event, seed uint64) map[string]string {
	t.Helper()
	m, dir := New(mode), filepath.Join(t.TempDir(), "left")
	for i := range events {
		if err := m.Apply(&events[i]); err != nil {
			t.Fatal(err)
		}
	}
	if err := m.Lose(dir, rand.New(rand.NewPCG(seed, 0))); err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		rel, _ := filepath.Rel(dir, path)
		switch {
		case err != nil || rel == ".":
			return err
		case d.IsDir():
			out[rel+"/"] = ""
			return nil
		}
		b, err := os.ReadFile(path)
		out[rel] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestWhatACutLeaves(t *testing.T) {
	for _, c := range []struct {
		name   string
		mode   Mode
		events []Event
		want   map[string]string
	}{
		{
			"what was synced",
			Journal, join(mk("a"), put("a", "one", 0), sync("a")),
			map[string]string{"a": "one"},
		},
		{
			"not what was written behind the sync",
			Journal, join(mk("a"), put("a", "one", 0), sync("a"), put("a", "two", 3), put("a", "O", 0)),
			map[string]string{"a": "one"},
		},
		{
			"not what was written while the sync was under way",
			Journal, join(mk("a"), put("a", "one", 0), begin("a", 1), put("a", "two", 3), end("a", 1)),
			map[string]string{"a": "one"},
		},
		{
			"the length that was synced",
			Journal, join(mk("a"), put("a", "one two", 0), cut("a", 3), sync("a"), cut("a", 0)),
			map[string]string{"a": "one"},
		},
		{
			"a hole",
			Journal, join(mk("a"), put("a", "x", 2), sync("a")),
			map[string]string{"a": "\x00\x00x"},
		},
		{
			"what was written to a file that syncs itself",
			Journal, join(mk("a"), putSynced("a", "one")),
			map[string]string{"a": "one"},
		},
		{
			"the folders of a file that was synced",
			Journal, join(folder("d"), folder("d/e"), mk("d/e/a"), put("d/e/a", "one", 0), sync("d/e/a")),
			map[string]string{"d/": "", "d/e/": "", "d/e/a": "one"},
		},
		{
			"the new name of a file when another was synced since",
			Journal, join(mk("a"), put("a", "one", 0), sync("a"), rename("a", "b"), mk("c"), sync("c")),
			map[string]string{"b": "one", "c": ""},
		},
		{
			"no file that was removed before another was synced",
			Journal, join(mk("a"), sync("a"), mk("b"), remove("a"), sync("b")),
			map[string]string{"b": ""},
		},
		{
			"a file that took another's name, with its own content",
			Journal, join(mk("a"), put("a", "old", 0), sync("a"), mk("a.new"), put("a.new", "new", 0), sync("a.new"), rename("a.new", "a"), sync(".")),
			map[string]string{"a": "new"},
		},
		{
			"strictly: nothing of a file whose folder was not synced",
			Strict, join(mk("a"), put("a", "one", 0), sync("a")),
			map[string]string{},
		},
		{
			"strictly: nothing in a folder whose own folder was not synced",
			Strict, join(folder("d"), mk("d/a"), sync("d/a"), sync("d")),
			map[string]string{},
		},
		{
			"strictly: a file whose folders were synced",
			Strict, join(folder("d"), mk("d/a"), put("d/a", "one", 0), sync("d/a"), sync("d"), sync(".")),
			map[string]string{"d/": "", "d/a": "one"},
		},
		{
			"strictly: the former name of a file until its folder was synced",
			Strict, join(mk("a"), put("a", "one", 0), sync("a"), sync("."), rename("a", "b"), sync("b")),
			map[string]string{"a": "one"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, left(t, c.mode, c.events, 1)); diff != "" {
				t.Errorf("left: (-want +got)\n%s", diff)
			}
		})
	}
}

// What may be there or not is there for some seeds and not for others, in order.
func TestWhatACutMayLeave(t *testing.T) {
	for _, c := range []struct {
		name   string
		mode   Mode
		events []Event
		want   []string // contents of "a", or "-" where it is missing; sorted
	}{
		{"names behind the last sync", Journal, join(mk("b"), sync("b"), mk("a"), remove("a")), []string{"", "-"}},
		{"a rename behind the last sync", Journal, join(mk("b"), put("b", "one", 0), sync("b"), rename("b", "a")), []string{"-", "one"}},
		{"writes behind the last sync, torn", Torn, join(mk("a"), sync("a"), put("a", "xy", 0)), []string{"", "x", "xy"}},
		{"no write without the one before", Torn, join(mk("a"), sync("a"), put("a", "x", 0), put("a", "y", 1)), []string{"", "x", "xy"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got []string
			for seed := range uint64(64) {
				text, ok := left(t, c.mode, c.events, seed)["a"]
				if !ok {
					text = "-"
				}
				got = append(got, text)
			}
			slices.Sort(got)
			if diff := cmp.Diff(c.want, slices.Compact(got)); diff != "" {
				t.Errorf("contents: (-want +got)\n%s", diff)
			}
		})
	}
}

func TestWriteToNothing(t *testing.T) {
	e := put("a", "x", 0)
	if err := New(Journal).Apply(&e); err == nil {
		t.Error("a write to a file that is not there: got no error")
	}
}
