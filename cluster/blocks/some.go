package blocks

import (
	"bytes"
	"context"
	"encoding/binary"
	"hash"
	"os"
	"sort"
	"strconv"
)

// Some reads the records from a sequence on, without a gap, beside the server that
// writes the store, until take returns an error. It is for few of them: of what lies
// before them it looks at the lengths alone, and it holds one record in memory, which
// take owns.
//
// Each record that take gets is whole, and the one that the server would read. What is
// not there, or not whole, ends the reading without a word: the server says what
// that means. The error is that of take, or of the context.
func Some(ctx context.Context, dir string, from uint64, o Options, take func(Record) error) error {
	if plain(dir) != nil {
		return nil
	}
	list, err := blocksOf(dir)
	if err != nil {
		return nil //nolint:nilerr // the server says what it means
	}
	s := some{o: o, next: from, take: take}
	for _, b := range list[holding(list, from):] {
		if err := ctx.Err(); err != nil {
			return err
		}
		if goesOn, err := s.block(b); !goesOn || err != nil {
			return err
		}
	}
	return nil
}

// holding returns the place of the block that holds a sequence, if any does.
func holding(list []blockFile, seq uint64) int {
	told := true
	i := sort.Search(len(list), func(i int) bool {
		first, ok := firstSequence(list[i].path)
		told = told && ok
		return first > seq
	})
	if !told { // a block that does not begin with a record
		return beginsBefore(list, seq)
	}
	return max(i-1, 0)
}

// some is the state of a reading by Some.
type some struct {
	o    Options
	next uint64
	take func(Record) error

	f      *os.File
	h      hash.Hash64
	window []byte // of the file, from at on
	at     int64
}

// lookAhead is how many bytes of a block are read at once to find a record in it.
const lookAhead = 64 << 10

// block reads a block. It reports whether the next one may go on with it.
func (s *some) block(b blockFile) (goesOn bool, err error) {
	f, err := os.Open(b.path)
	if err != nil {
		return false, nil //nolint:nilerr // the server has removed it
	}
	defer func() { _ = f.Close() }() // only read
	s.f, s.window, s.at = f, s.window[:0], 0
	s.h = newHash(s.o.Name + "-" + strconv.FormatUint(uint64(b.index), 10))
	for off := int64(0); ; {
		head := s.look(off)
		if len(head) == 0 {
			return true, nil
		}
		size := int64(0)
		if len(head) == headerSize && !bytes.HasPrefix(head, []byte("cmp\x01")) {
			size = int64(binary.LittleEndian.Uint32(head) &^ headersBit)
		}
		if size < leastSize || size > mostSize {
			return false, nil
		}
		if seq := binary.LittleEndian.Uint64(head[4:]); seq&(erasedBit|tombstoneBit) == 0 && seq >= s.next {
			if whole, err := s.record(off, size); !whole || err != nil {
				return false, err
			}
		}
		off += size
	}
}

// look returns the header of the record at an offset, or less where the file ends.
func (s *some) look(off int64) []byte {
	if off < s.at || off+headerSize > s.at+int64(len(s.window)) {
		s.window = append(s.window[:0], make([]byte, lookAhead)...)
		n, _ := s.f.ReadAt(s.window, off) // less at the end of the file
		s.window, s.at = s.window[:n], off
	}
	from := min(off-s.at, int64(len(s.window)))
	return s.window[from:min(from+headerSize, int64(len(s.window)))]
}

// record hands out the record at an offset. It reports false if that is not the one
// that is wanted.
func (s *some) record(off, size int64) (whole bool, err error) {
	buf := make([]byte, size)
	if _, err := s.f.ReadAt(buf, off); err != nil {
		return false, nil //nolint:nilerr // it is not written to its end
	}
	r, f := parse(buf, s.h)
	if f != nil || r.seq != s.next || string(r.subject) != s.o.Subject {
		return false, nil
	}
	msg, err := r.message()
	if err == nil && s.o.Record != nil {
		err = s.o.Record(r.seq, msg)
	}
	if err != nil {
		return false, nil //nolint:nilerr // the server's record is judged, too
	}
	s.next++
	return true, s.take(Record{r.seq, msg})
}
