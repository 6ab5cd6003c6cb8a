//go:build !linux && !darwin && !freebsd

package gateway

import "errors"

// freeBytes cannot tell on this system: the disk is not watched.
func freeBytes(string) (uint64, error) { return 0, errors.ErrUnsupported }
