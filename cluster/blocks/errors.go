package blocks

import (
	"errors"
	"fmt"
	"syscall"
)

// ErrFormat says that a store has a form which this package does not read, and
// Selvedge does not make: encrypted or compressed.
var ErrFormat = errors.New("blocks: a form of storage that cannot be verified")

// DamageError is an error that says where a store is damaged.
type DamageError struct {
	File   string
	Offset int64
	Reason string
}

// Error implements error.
func (d *DamageError) Error() string {
	return fmt.Sprintf("%s at %d: %s", d.File, d.Offset, d.Reason)
}

// damaged makes a DamageError.
func damaged(file string, offset int64, format string, args ...any) error {
	return &DamageError{File: file, Offset: offset, Reason: fmt.Sprintf(format, args...)}
}

// unread judges an error of reading a file: what the disk cannot give back is
// damage, everything else is not for this package to judge.
func unread(file string, err error) error {
	if errors.Is(err, syscall.EIO) {
		return damaged(file, 0, "the disk cannot read it")
	}
	return fmt.Errorf("blocks: %w", err)
}
