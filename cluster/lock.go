//go:build unix

package cluster

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// lockFolder makes sure that one process alone uses a data folder. The lock ends
// with the file that is returned, or with the process.
func lockFolder(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, lockName), os.O_RDWR|os.O_CREATE, 0o600) //nolint:gosec // the operator's folder
	if err != nil {
		return nil, fmt.Errorf("cluster: lock the data folder: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		err = fmt.Errorf("%w: %s is in use by another process: stop that one, or use another folder", ErrFolder, dir)
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}
