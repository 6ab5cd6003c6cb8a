//go:build linux || darwin || freebsd

package gateway

import "syscall"

// freeBytes returns how much a user without privileges may still store on the
// disk that a folder is on.
func freeBytes(dir string) (uint64, error) {
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		return 0, err
	}
	return uint64(max(st.Bavail, 0)) * uint64(st.Bsize), nil //nolint:gosec,unconvert // the types differ by system
}
