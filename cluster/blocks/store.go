package blocks

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Names in a store.
const (
	blockDir    = "msgs"
	replacedDir = "__new_msgs__" // takes the place of msgs, if it holds a block
	blockSuffix = ".blk"
	metaFile    = "meta.inf"
	metaSum     = "meta.sum"
	keyFile     = "meta.key"
)

// Dir returns the folder of a store that its blocks are in.
func Dir(store string) string { return filepath.Join(store, blockDir) }

// mostBlock is above every size of a block that the server writes.
const mostBlock = 64 << 20

// Options say what a scan is to do.
type Options struct {
	// Name is the store's: the stream's or the raft group's. The checksums have
	// it as a key.
	Name string
	// Subject is what every record's subject must be: the lengths in a record are
	// not part of its checksum.
	Subject string
	// Unsynced says that records were written without a sync after each: then the
	// loss of power may leave holes of zeros with whole records behind them, since
	// the parts of a file reach the disk in any order.
	Unsynced bool
	// Record, if set, judges each record's message. It does not keep the bytes.
	Record func(seq uint64, msg []byte) error
	// Progress, if set, is told the bytes of each block that was read.
	Progress func(bytes int64)
}

// Report is what a scan found in a store that is not damaged.
type Report struct {
	// First and Last are the sequences of what the store holds; First is Last+1
	// when it holds nothing.
	First, Last uint64
	// Bytes is the size of all blocks.
	Bytes int64
	// Torn is where the last block ends in what is no whole record, as a write
	// leaves it that did not end. Nil: it does not.
	Torn *DamageError
	// Index is the last sequence as the server's summary says, 0 if there is
	// none that can be read.
	Index uint64
}

// Scan reads a store and checks every record: its checksum, and that no sequence
// between the first and the last is missing. The error is a [*DamageError] if it is
// damaged. A store that does not exist is empty.
func Scan(ctx context.Context, dir string, o Options) (Report, error) {
	if err := plain(dir); err != nil {
		return Report{}, err
	}
	msgs, err := blocksOf(dir)
	if err != nil {
		return Report{}, err
	}
	s := scan{o: o}
	for i, b := range msgs {
		if err := ctx.Err(); err != nil {
			return Report{}, err
		}
		if err := s.block(b, i == len(msgs)-1); err != nil {
			return Report{}, err
		}
	}
	r, err := s.report(dir)
	if err == nil && len(msgs) > 0 {
		r.Index = readIndex(filepath.Dir(msgs[0].path), o.Name)
	}
	return r, err
}

// Size returns the bytes of all blocks of a store.
func Size(dir string) int64 {
	msgs, err := blocksOf(dir)
	if err != nil {
		return 0 // the scan tells why
	}
	var sum int64
	for _, b := range msgs {
		if fi, err := os.Stat(b.path); err == nil {
			sum += fi.Size()
		}
	}
	return sum
}

// blockFile is a block of a store.
type blockFile struct {
	path  string
	index uint32
}

// blocksOf returns the blocks of a store in their order. A purge replaces the
// folder in several steps; what counts after a kill is what the server takes.
func blocksOf(dir string) ([]blockFile, error) {
	replaced, err := listBlocks(filepath.Join(dir, replacedDir))
	if err != nil || len(replaced) > 0 {
		return replaced, err
	}
	return listBlocks(filepath.Join(dir, blockDir))
}

func listBlocks(dir string) ([]blockFile, error) {
	names, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, unread(dir, err)
	}
	var list []blockFile
	for _, e := range names {
		number, ok := strings.CutSuffix(e.Name(), blockSuffix)
		if !ok {
			continue
		}
		if n, err := strconv.ParseUint(number, 10, 32); err == nil {
			list = append(list, blockFile{filepath.Join(dir, e.Name()), uint32(n)})
		}
	}
	slices.SortFunc(list, func(a, b blockFile) int { return int(int64(a.index) - int64(b.index)) })
	return list, nil
}

// scan is the state of a scan over the blocks of a store.
type scan struct {
	o     Options
	buf   []byte
	first uint64 // of the messages, 0: none yet
	last  uint64
	gone  uint64 // the highest sequence that a tombstone or an erased record names
	bytes int64
	torn  *DamageError
}

// block checks one block.
func (s *scan) block(b blockFile, lastBlock bool) error {
	if err := s.read(b.path); err != nil {
		return err
	}
	if err := s.records(b, lastBlock); err != nil {
		return err
	}
	s.bytes += int64(len(s.buf))
	if s.o.Progress != nil {
		s.o.Progress(int64(len(s.buf)))
	}
	return nil
}

// records checks the records of the block that is in memory.
func (s *scan) records(b blockFile, lastBlock bool) error {
	if bytes.HasPrefix(s.buf, []byte("cmp\x01")) {
		return errors.Join(ErrFormat, errors.New(b.path+" is compressed"))
	}
	h := newHash(s.o.Name + "-" + strconv.FormatUint(uint64(b.index), 10))
	for off := 0; off < len(s.buf); {
		r, f := parse(s.buf[off:], h)
		if f != nil {
			d := &DamageError{File: b.path, Offset: int64(off), Reason: f.reason}
			if !lastBlock || !s.unfinished(off, f, h) {
				return d
			}
			s.torn = d
			break
		}
		if err := s.take(b.path, off, &r); err != nil {
			return err
		}
		off += r.size
	}
	return nil
}

// read brings a block into memory.
func (s *scan) read(path string) error {
	f, err := os.Open(path) //nolint:gosec // the operator's folder
	if err != nil {
		return unread(path, err)
	}
	defer func() { _ = f.Close() }() // only read
	fi, err := f.Stat()
	if err != nil {
		return unread(path, err)
	}
	if fi.Size() > mostBlock {
		return damaged(path, 0, "a block of %d octets", fi.Size())
	}
	s.buf = slices.Grow(s.buf[:0], int(fi.Size()))[:fi.Size()]
	if _, err := io.ReadFull(f, s.buf); err != nil {
		return unread(path, err)
	}
	return nil
}

// take enters a record into the state.
func (s *scan) take(path string, off int, r *record) error {
	switch {
	case r.tombstone || r.erased || r.seq == 0:
		s.gone = max(s.gone, r.seq)
		if r.erased && s.first != 0 && r.seq > s.last {
			return damaged(path, int64(off), "record %d was erased", r.seq)
		}
		return nil
	case r.seq <= s.last:
		return nil // a copy of one that was there: the server skips it, too
	case s.first == 0:
		s.first = r.seq
	case r.seq != s.last+1 && s.last > s.gone:
		return damaged(path, int64(off), "record %d follows %d", r.seq, s.last)
	case r.seq != s.last+1:
		s.first = r.seq // all before was removed, and its block is still there
	}
	s.last = r.seq
	if string(r.subject) != s.o.Subject {
		return damaged(path, int64(off), "record %d has the subject %.40q", r.seq, r.subject)
	}
	msg, err := r.message()
	if err == nil && s.o.Record != nil {
		err = s.o.Record(r.seq, msg)
	}
	if err != nil {
		return damaged(path, int64(off), "record %d: %v", r.seq, err)
	}
	return nil
}

// report sums up. What tombstones name was removed from the front; a store from
// which all was removed is a new one with a tombstone.
func (s *scan) report(dir string) (Report, error) {
	r := Report{First: s.first, Last: s.last, Bytes: s.bytes, Torn: s.torn}
	switch {
	case s.first == 0:
		r.First, r.Last = s.gone+1, s.gone
	case s.gone >= s.last:
		return r, damaged(dir, 0, "records up to %d are there, %d was removed", s.last, s.gone)
	default:
		r.First = max(r.First, s.gone+1)
	}
	return r, nil
}

// Configuration checks a store's meta.inf, which must be there.
func Configuration(dir, name string) error {
	path := filepath.Join(dir, metaFile)
	conf, err := os.ReadFile(path) //nolint:gosec // the operator's folder
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return damaged(path, 0, "it is missing")
		}
		return unread(path, err)
	}
	sum, err := os.ReadFile(filepath.Join(dir, metaSum)) //nolint:gosec // the operator's folder
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return unread(path, err)
	}
	h := newHash(name)
	_, _ = h.Write(conf) // a hash never fails
	if hex.EncodeToString(h.Sum(nil)) != string(sum) {
		return damaged(path, 0, "the checksum is wrong")
	}
	return nil
}
