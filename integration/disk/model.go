package disk

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Mode says what a cut of the power leaves besides what was synced.
type Mode int

const (
	// Journal keeps changes of names in their order, as the journals of ext4 and
	// XFS do: all that came before a sync that has ended are there, of any file,
	// and a random number of those behind. What was written and not synced is not
	// there.
	Journal Mode = iota
	// Torn is Journal, but each file keeps a random number of the writes that
	// were not synced, the last of them in part.
	Torn
	// Strict keeps a change of names only when the folder was synced that it is
	// in: the letter of POSIX. What was not synced is not there.
	Strict
)

// String returns the name of the mode.
func (m Mode) String() string { return [...]string{"journal", "torn", "strict"}[m] }

// content is a file or a folder, whatever its names are.
type content struct {
	folder bool
	writes []write
	synced int // so many writes are on disk
}

// write is a change to a file; without data it sets the length.
type write struct {
	data []byte
	at   int64
}

// change is one change of names.
type change struct {
	kind Kind // Make, Folder, Rename, Remove
	path string
	to   string
	c    *content // Make, Folder
	done bool     // is on disk
}

// names is a tree by its paths.
type names map[string]*content

func (n names) apply(c *change) {
	switch c.kind {
	case Make, Folder:
		n[c.path] = c.c
	case Remove:
		delete(n, c.path)
	case Rename:
		for path, what := range n {
			if rest, ok := strings.CutPrefix(path, c.path); ok && (rest == "" || rest[0] == '/') {
				delete(n, path)
				n[c.to+rest] = what
			}
		}
	default:
	}
}

// Model is a disk. It takes events in, and can be cut at any point.
type Model struct {
	mode    Mode
	now     names // as the process sees it
	stable  names // as the disk has it
	changes []change
	begun   map[int]begun // syncs under way
}

// begun is what a sync under way will have on disk when it ends.
type begun struct {
	writes  int
	changes int
	what    *content
}

// New returns an empty disk.
func New(mode Mode) *Model {
	return &Model{mode: mode, now: names{}, stable: names{}, begun: map[int]begun{}}
}

// Apply takes an event in.
func (m *Model) Apply(e *Event) error {
	switch e.Kind {
	case Make:
		if c := m.now[e.Path]; c != nil {
			c.writes = append(c.writes, write{})
			return nil
		}
		m.change(change{kind: Make, path: e.Path, c: &content{}})
	case Folder:
		m.change(change{kind: Folder, path: e.Path, c: &content{folder: true}})
	case Rename, Remove:
		m.change(change{kind: e.Kind, path: e.Path, to: e.To})
	case Write, Cut:
		c := m.now[e.Path]
		if c == nil {
			return fmt.Errorf("disk: a write to %q, which is not there", e.Path)
		}
		w := write{at: e.Offset}
		if e.Kind == Write {
			w.data = e.Data
		}
		c.writes = append(c.writes, w)
		if e.Synced {
			m.synced(e.Path, begun{writes: len(c.writes), changes: len(m.changes), what: c})
		}
	case SyncBegin:
		c := m.now[e.Path]
		b := begun{changes: len(m.changes), what: c}
		if c != nil {
			b.writes = len(c.writes)
		}
		m.begun[e.ID] = b
	case SyncEnd:
		m.synced(e.Path, m.begun[e.ID])
		delete(m.begun, e.ID)
	case Said:
	}
	return nil
}

func (m *Model) change(c change) {
	m.now.apply(&c)
	m.changes = append(m.changes, c)
}

// synced has on disk what a sync promised.
func (m *Model) synced(path string, b begun) {
	if b.what != nil {
		b.what.synced = max(b.what.synced, b.writes)
	}
	for i := range m.changes[:b.changes] {
		c := &m.changes[i]
		if !c.done && (m.mode != Strict || within(path, c.path) || c.to != "" && within(path, c.to)) {
			c.done = true
			m.stable.apply(c)
		}
	}
	first := slices.IndexFunc(m.changes, func(c change) bool { return !c.done })
	if first < 0 {
		first = len(m.changes)
	}
	m.forget(first)
}

// forget drops the first changes, which are done.
func (m *Model) forget(n int) {
	m.changes = m.changes[n:]
	for id, b := range m.begun {
		b.changes = max(0, b.changes-n)
		m.begun[id] = b
	}
}

// within reports whether the path is an entry of the folder.
func within(folder, path string) bool { return filepath.Dir(path) == folder }

// Lose writes the folder that a cut of the power leaves now. The model goes on as
// if nothing had happened.
func (m *Model) Lose(dir string, rng *rand.Rand) error {
	left := maps.Clone(m.stable)
	if m.mode != Strict && len(m.changes) > 0 {
		for i := range rng.IntN(len(m.changes) + 1) {
			left.apply(&m.changes[i])
		}
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	for _, path := range slices.Sorted(maps.Keys(left)) { // folders first
		if path == "." || !reachable(left, path) {
			continue
		}
		if err := m.lay(filepath.Join(dir, path), left[path], rng); err != nil {
			return err
		}
	}
	return nil
}

// reachable reports whether the folders of a path are there.
func reachable(left names, path string) bool {
	for dir := filepath.Dir(path); dir != "."; dir = filepath.Dir(dir) {
		if c := left[dir]; c == nil || !c.folder {
			return false
		}
	}
	return true
}

func (m *Model) lay(path string, c *content, rng *rand.Rand) error {
	if c.folder {
		return os.Mkdir(path, 0o700)
	}
	kept := slices.Clone(c.writes[:c.synced])
	if more := c.writes[c.synced:]; m.mode == Torn && len(more) > 0 {
		kept = append(kept, more[:rng.IntN(len(more)+1)]...)
		if last := len(kept) - 1; last >= c.synced && len(kept[last].data) > 0 {
			kept[last].data = kept[last].data[:1+rng.IntN(len(kept[last].data))]
		}
	}
	var data []byte
	for _, w := range kept {
		data = w.apply(data)
	}
	return os.WriteFile(path, data, 0o600)
}

func (w *write) apply(data []byte) []byte {
	end := w.at + int64(len(w.data))
	if w.data == nil {
		if int64(len(data)) > w.at {
			return data[:w.at]
		}
		end = w.at
	}
	if grow := end - int64(len(data)); grow > 0 {
		data = append(data, make([]byte, grow)...)
	}
	copy(data[w.at:], w.data)
	return data
}
