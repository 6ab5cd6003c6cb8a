package cluster

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// Grains of the times that file systems note: what happened within one of them may bear
// the same time. Some note whole seconds, FAT every second one.
const (
	fineGrain   = 20 * time.Millisecond
	coarseGrain = 2 * time.Second
)

// folderNames keeps durable the names in a folder of the embedded server, which syncs
// its files and not the folders that it makes them in. By the letter of POSIX a new
// file is lost with the power until its folder was synced; ext4 and XFS are kinder.
//
// It looks at the time of the folder's last change, which is cheap enough to be done
// for each append. One goroutine uses it.
type folderNames struct {
	dir  string
	deep bool // the folders below, too
	sync func(dir string) error

	changed time.Time // the folder's last change, by the last look that took its names
	settled bool      // whatever changes after that look bears another time
	names   []string  // those that are durable, sorted
	below   []*folderNames
}

// newFolderNames returns what keeps the names in dir, and of all folders below if deep,
// at the first call of keep and whenever there are new ones.
func newFolderNames(dir string, deep bool) *folderNames {
	return &folderNames{dir: dir, deep: deep, sync: syncDir}
}

// keep returns when all names that there were at its call are durable. A folder that is
// not there has none.
func (f *folderNames) keep() error {
	if err := f.keepHere(time.Now()); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			f.changed, f.names, f.below = time.Time{}, nil, nil
			return nil
		}
		return fmt.Errorf("keep the names of new files: %w", err)
	}
	for _, b := range f.below {
		if err := b.keep(); err != nil {
			return err
		}
	}
	return nil
}

// keepHere is keep for the folder itself.
func (f *folderNames) keepHere(now time.Time) error {
	fi, err := os.Stat(f.dir)
	if err != nil {
		return err
	}
	changed := fi.ModTime()
	if f.settled && changed.Equal(f.changed) {
		return nil
	}
	entries, err := os.ReadDir(f.dir) // sorted
	if err != nil {
		return err
	}
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.Name()
	}
	if slices.ContainsFunc(names, f.unknown) {
		if err := f.sync(f.dir); err != nil {
			return err
		}
	}
	if f.deep {
		f.descend(entries)
	}
	f.changed, f.settled, f.names = changed, now.Sub(changed) > grain(changed), names
	return nil
}

// unknown says whether a name is not known to be durable.
func (f *folderNames) unknown(name string) bool {
	_, known := slices.BinarySearch(f.names, name)
	return !known
}

// descend takes up the folders below that are new, and forgets those that are gone.
func (f *folderNames) descend(entries []fs.DirEntry) {
	var below []*folderNames
	for _, e := range entries {
		if !e.IsDir() {
			continue
		}
		dir := filepath.Join(f.dir, e.Name())
		i := slices.IndexFunc(f.below, func(b *folderNames) bool { return b.dir == dir })
		if i >= 0 && !f.unknown(e.Name()) {
			below = append(below, f.below[i])
			continue
		}
		below = append(below, &folderNames{dir: dir, deep: true, sync: f.sync})
	}
	f.below = below
}

// grain returns within what span a file system that notes this time may note the same
// one again.
func grain(noted time.Time) time.Duration {
	if noted.Nanosecond() == 0 {
		return coarseGrain
	}
	return fineGrain
}
