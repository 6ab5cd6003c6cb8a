package gateway

import (
	"fmt"
	"os"
)

// checkFolder makes the data folder if there is none, and finds out whether it can
// be written to. The cluster locks it, so that two processes never use one.
func checkFolder(dir string) error {
	const advice = "choose another folder by --data"
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("data: the folder cannot be made: %w (%s)", err, advice)
	}
	f, err := os.CreateTemp(dir, ".writable-*")
	if err != nil {
		return fmt.Errorf("data: the folder is not writable: %w (%s)", err, advice)
	}
	_ = f.Close() // nothing was written
	return os.Remove(f.Name())
}
