package blocks

import (
	"encoding/binary"
	"os"
	"path/filepath"
)

// The server's summary of a store's blocks: magic, version, then varints, of
// which the fifth is the last sequence, and at the end its checksum.
const (
	indexFile    = "index.db"
	indexMagic   = 11
	indexVersion = 4
)

// readIndex returns the last sequence that the summary in a folder of blocks
// names, 0 if there is none or it is damaged: the server then does without.
func readIndex(dir, name string) uint64 {
	b, err := os.ReadFile(filepath.Join(dir, indexFile)) //nolint:gosec // the operator's folder
	if err != nil || len(b) < 2+hashSize {
		return 0
	}
	body := b[:len(b)-hashSize]
	h := newHash(name)
	_, _ = h.Write(body) // a hash never fails
	if h.Sum64() != binary.LittleEndian.Uint64(b[len(body):]) {
		return 0
	}
	if body[0] != indexMagic || body[1] == 0 || body[1] > indexVersion {
		return 0
	}
	body = body[2:]
	for range 4 { // messages, bytes, first sequence, its time
		_, n := binary.Uvarint(body)
		if n <= 0 {
			return 0
		}
		body = body[n:]
	}
	last, n := binary.Uvarint(body)
	if n <= 0 {
		return 0
	}
	return last
}

// RemoveIndex removes the summary of a store, so that the server makes a new one
// from the blocks themselves. It is the one thing in this package that changes
// a store.
func RemoveIndex(dir string) error {
	for _, sub := range []string{blockDir, replacedDir} {
		if err := os.Remove(filepath.Join(dir, sub, indexFile)); err != nil && !os.IsNotExist(err) {
			return err
		}
	}
	return nil
}
