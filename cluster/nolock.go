//go:build !unix

package cluster

import (
	"fmt"
	"os"
	"path/filepath"
)

// lockFolder opens the lock file; this system has no lock that ends with the
// process.
func lockFolder(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, lockName), os.O_RDWR|os.O_CREATE, 0o600) //nolint:gosec // the operator's folder
	if err != nil {
		return nil, fmt.Errorf("cluster: lock the data folder: %w", err)
	}
	return f, nil
}
