package blocks

import (
	"encoding/binary"
	"hash"
)

// sector is the least that a disk writes at once.
const sector = 512

// unfinished says whether what is at off of the last block, and is no record,
// may be a write that did not end: a process that is killed leaves a record's
// beginning, a machine that loses its power also sectors of zeros. A whole record
// behind it, or a complete one that is merely wrong, is damage; but where nothing
// was synced whole records may lie behind zeros.
func (s *scan) unfinished(off int, f *fault, h hash.Hash64) bool {
	end := min(off+2*sector, len(s.buf)) // of a length that cannot be
	switch {
	case f.short:
		end = len(s.buf)
	case f.size > 0:
		end = min(off+f.size, len(s.buf))
	}
	hole := zeroed(s.buf[:end], off)
	if s.recordBehind(off, h) {
		return s.o.Unsynced && hole
	}
	return f.short || hole
}

// recordBehind looks for a whole record anywhere behind off.
func (s *scan) recordBehind(off int, h hash.Hash64) bool {
	le := binary.LittleEndian
	highest := s.last + uint64(len(s.buf)/leastSize) + 1
	for p := off + 1; p+leastSize <= len(s.buf); p++ {
		size := int(le.Uint32(s.buf[p:]) &^ headersBit)
		seq := le.Uint64(s.buf[p+4:]) &^ (erasedBit | tombstoneBit)
		if size < leastSize || size > len(s.buf)-p || seq > highest {
			continue
		}
		if _, f := parse(s.buf[p:], h); f == nil {
			return true
		}
	}
	return false
}

// zeroed says whether what b has of some sector, from off on, is all zeros. Parts
// that are shorter than a checksum do not count.
func zeroed(b []byte, off int) bool {
	for off < len(b) {
		end := min(off-off%sector+sector, len(b))
		if end-off >= hashSize && allZero(b[off:end]) {
			return true
		}
		off = end
	}
	return false
}

func allZero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}
