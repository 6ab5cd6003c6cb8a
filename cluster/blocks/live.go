package blocks

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// Record is a record of a store.
type Record struct {
	Seq uint64
	Msg []byte
}

// Live reads a store while its server writes it: the records from the sequence from
// on, without a gap, as far as they are whole in the files. It hands them to take,
// those of a block together; they are valid until the next call of take has returned.
// It returns the sequence of the first record that was not handed out.
//
// The server writes a block to its end before it begins the next one, and replaces
// a block, or removes it, as a whole; the last one grows. So a record that is whole
// is what the server itself would read. What is not whole is looked at twice: where
// the files have changed in between, the server was at work, and Live ends without
// an error. Otherwise the error is a [*DamageError]. Another error says that the
// files cannot be read in this way, such as [ErrFormat].
func Live(ctx context.Context, dir string, from uint64, o Options, take func([]Record) error) (next uint64, err error) {
	if err := plain(dir); err != nil {
		return from, err
	}
	list, err := blocksOf(dir)
	if err != nil {
		return from, err
	}
	l := live{dir: dir, state: liveState{next: from}}
	l.state.s.o = o
	l.state.s.o.Record = func(seq uint64, msg []byte) error { return l.record(o, seq, msg) }
	start := beginsBefore(list, from)
	if start > 0 {
		l.state.prev = list[start-1].index
	}
	for i, b := range list[start:] {
		if err := ctx.Err(); err != nil {
			return l.state.next, err
		}
		before := l.state.next
		err := l.block(b, start+i == len(list)-1)
		if err != nil || l.changed {
			return before, err
		}
		if len(l.records) == 0 {
			continue
		}
		if err := take(l.records); err != nil {
			return before, err
		}
		l.spare[0], l.spare[1] = l.spare[1], l.state.s.buf
	}
	return l.state.next, nil
}

// live is the state of a reading by Live.
type live struct {
	dir     string
	state   liveState
	records []Record  // of the block that was read last
	spare   [2][]byte // the memory of the blocks that were handed out last
	changed bool      // the server changed what is being read
}

// liveState is what has to be as it was for a block to be read once more.
type liveState struct {
	s    scan
	next uint64
	prev uint32 // index of the block before, 0: there was none
}

// record judges a record and keeps it if it is wanted.
func (l *live) record(o Options, seq uint64, msg []byte) error {
	if o.Record != nil {
		if err := o.Record(seq, msg); err != nil {
			return err
		}
	}
	if seq < l.state.next {
		return nil
	}
	if seq > l.state.next {
		return fmt.Errorf("it stands where %d should", l.state.next)
	}
	l.records = append(l.records, Record{seq, msg})
	l.state.next++
	return nil
}

// block reads a block, and once more if something is wrong with it.
func (l *live) block(b blockFile, last bool) error {
	before := l.state
	err := l.read(b, last)
	d, ok := errors.AsType[*DamageError](err)
	if !ok {
		return err
	}
	l.state = before
	if !l.stands(b, last) {
		l.changed = true
		return nil
	}
	err = l.read(b, last)
	if again, ok := errors.AsType[*DamageError](err); err != nil && (!ok || *again == *d) {
		return err
	}
	l.changed = true // by now it is another one
	return nil
}

// read reads a block once.
func (l *live) read(b blockFile, last bool) error {
	l.records = nil
	l.state.s.buf = l.spare[0]
	err := l.state.s.block(b, last)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, io.ErrUnexpectedEOF):
		l.changed = true
		return nil
	case err == nil:
		l.state.prev = b.index
	}
	return err
}

// stands says whether a block is still there, behind the same one, and the last
// one or not as before.
func (l *live) stands(b blockFile, last bool) bool {
	list, err := blocksOf(l.dir)
	if err != nil {
		return false
	}
	i := slices.Index(list, b)
	if i < 0 || (i == len(list)-1) != last {
		return false
	}
	return i == 0 && l.state.prev == 0 || i > 0 && list[i-1].index == l.state.prev
}

// beginsBefore returns the place of the block that a reading from a sequence on begins
// with: all before it hold nothing that is wanted. What its first record says of itself
// is checked when it is read.
func beginsBefore(list []blockFile, from uint64) int {
	for i := len(list) - 1; i > 0; i-- {
		if seq, ok := firstSequence(list[i].path); ok && seq <= from {
			return i
		}
	}
	return 0
}

// firstSequence returns the sequence of the record that a block begins with, if it is
// one that counts.
func firstSequence(path string) (seq uint64, ok bool) {
	f, err := os.Open(path) //nolint:gosec // the operator's folder
	if err != nil {
		return 0, false // who reads it says why
	}
	defer func() { _ = f.Close() }() // only read
	var head [headerSize]byte
	if _, err := io.ReadFull(f, head[:]); err != nil {
		return 0, false
	}
	seq = binary.LittleEndian.Uint64(head[4:])
	return seq, seq&(erasedBit|tombstoneBit) == 0 && seq > 0
}

// plain returns an error if a store is encrypted.
func plain(dir string) error {
	if _, err := os.Lstat(filepath.Join(dir, keyFile)); err == nil {
		return errors.Join(ErrFormat, errors.New(dir+" is encrypted"))
	}
	return nil
}
