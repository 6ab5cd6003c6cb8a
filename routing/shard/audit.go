package shard

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"github.com/selvedge-mq/selvedge/internal/cursor"
)

// Intact reports whether a record's bytes are as they were written, whatever
// version wrote them.
func Intact(rec []byte) error {
	if len(rec) < headerSize+trailerSize {
		return fmt.Errorf("%w: %d octets", ErrCorrupt, len(rec))
	}
	body := rec[:len(rec)-trailerSize]
	want := binary.BigEndian.Uint32(rec[len(body):])
	if got := crc32.Checksum(body, castagnoli); got != want {
		return fmt.Errorf("%w: checksum %08x, want %08x", ErrCorrupt, got, want)
	}
	return nil
}

// Audit judges the records of a log that is read from its files, before a shard
// replays it. What a newer release wrote is taken as it is. The zero value is
// ready.
type Audit struct {
	cut   uint64 // the log may be purged up to here
	newer bool   // some record was not read: it may hold a cut
}

// Record judges the record at seq. Records come in the order of their sequences.
func (a *Audit) Record(_ uint64, rec []byte) error {
	if err := Intact(rec); err != nil {
		return err
	}
	_, entries, _, err := parseRecord(rec)
	if err != nil {
		a.newer = true
		return nil //nolint:nilerr // it is intact, and of a newer release
	}
	var e entry
	for r := (entryReader{cursor.New(entries)}); r.More(); {
		if err := r.next(&e); err != nil {
			return err
		}
		if e.kind == kindCut {
			a.cut = max(a.cut, e.next)
		}
	}
	return nil
}

// Begin judges the first sequence of the log after all its records: what lies
// before it was purged, which nobody does without having logged a cut.
func (a *Audit) Begin(first uint64) error {
	if a.newer || first <= a.cut+1 {
		return nil
	}
	return fmt.Errorf("%w: the log begins at %d, and may be purged up to %d", ErrCorrupt, first, a.cut)
}
