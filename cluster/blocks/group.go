package blocks

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/klauspost/compress/s2"
)

// Names in the folder of a raft group.
const (
	snapshotDir = "snapshots"
	peersFile   = "peers.idx"
	voteFile    = "tav.idx"
)

// Kinds of entries, and operations of a stream in a normal one.
const (
	entryNormal = 0

	opAppend           = 4 // streamMsgOp
	opAppendCompressed = 14
)

// idSize is the size of a node's id in a group.
const idSize = 8

// entryHeader is the fixed part of an entry: leader, four numbers, count.
const entryHeader = idSize + 4*8 + 2

// Group is what a scan found in the folder of a raft group that is not damaged.
type Group struct {
	Entries  Report
	Snapshot Snapshot
	// Appended is the greatest sequence that the stream may have by the entries
	// here, 0 if no entry appends to it.
	Appended uint64
}

// Snapshot is the state of a group up to an entry, with which its entries begin.
type Snapshot struct {
	Term, Index uint64 // Index 0: there is none
	// Stream is what the stream held then, if the group is a stream's.
	Stream *StreamState
}

// StreamState is what a snapshot says of a stream.
type StreamState struct {
	First, Last uint64
	Failed      uint64 // entries that should have appended and did not
}

// Used says whether the group ever held an entry.
func (g *Group) Used() bool { return g.Entries.Last > 0 || g.Snapshot.Index > 0 }

// Known says whether the group says anything of the stream's records.
func (g *Group) Known() bool { return g.Snapshot.Stream != nil || g.Appended != 0 }

// Highest is the greatest sequence that the stream may have, by the group.
func (g *Group) Highest() uint64 {
	if g.Snapshot.Stream == nil {
		return g.Appended
	}
	return max(g.Snapshot.Stream.Last, g.Appended)
}

// ScanGroup reads the folder of a raft group and checks everything in it. The
// error is a [*DamageError] if it is damaged.
func ScanGroup(ctx context.Context, dir, name string, progress func(int64)) (Group, error) {
	var g Group
	var err error
	if g.Snapshot, err = readSnapshot(dir, name); err != nil {
		return g, err
	}
	w := wal{lastTerm: g.Snapshot.Term}
	g.Entries, err = Scan(ctx, dir, Options{Name: name, Record: w.entry, Progress: progress})
	if err != nil {
		return g, err
	}
	if err := aligned(dir, &g); err != nil {
		return g, err
	}
	if len(w.append) > 0 {
		expected, err := expectedLast(w.append)
		if err != nil {
			return g, damaged(dir, 0, "the last append: %v", err)
		}
		g.Appended = expected + 1
		if s := g.Snapshot.Stream; s != nil {
			g.Appended -= min(s.Failed, expected)
		}
	}
	return g, members(dir, w.lastTerm)
}

// aligned checks that the entries begin right behind the snapshot, or earlier.
func aligned(dir string, g *Group) error {
	first, last, snap := g.Entries.First, g.Entries.Last, g.Snapshot.Index
	switch {
	case first > last && last > snap, first <= last && first > snap+1:
		return damaged(dir, 0, "the entries begin at %d, the snapshot ends at %d", first, snap)
	default:
		return nil
	}
}

// wal checks the entries of a group one by one.
type wal struct {
	lastTerm uint64
	append   []byte // the last operation that appends to the stream
}

// entry checks one entry: index, term, and the lengths in it.
func (w *wal) entry(index uint64, b []byte) error {
	if len(b) < entryHeader {
		return fmt.Errorf("an entry of %d octets", len(b))
	}
	le := binary.LittleEndian
	if before := le.Uint64(b[32:]); before != index-1 {
		return fmt.Errorf("an entry behind %d", before)
	}
	w.lastTerm = max(w.lastTerm, le.Uint64(b[8:]))
	rest := b[entryHeader:]
	for range le.Uint16(b[40:]) {
		if len(rest) < 4 {
			return errors.New("an entry ends in a length")
		}
		n := uint64(le.Uint32(rest))
		if rest = rest[4:]; n < 1 || n > uint64(len(rest)) {
			return fmt.Errorf("a part of %d octets, %d are there", n, len(rest))
		}
		part := rest[1:n]
		if rest[0] == entryNormal && len(part) > 0 && (part[0] == opAppend || part[0] == opAppendCompressed) {
			w.append = append(w.append[:0], part...)
		}
		rest = rest[n:]
	}
	return nil
}

// expectedLast returns the last sequence that an append was made behind.
func expectedLast(op []byte) (uint64, error) {
	body := op[1:]
	if op[0] == opAppendCompressed {
		n, err := s2.DecodedLen(body)
		if err != nil || n > mostSize {
			return 0, errors.New("it cannot be decompressed")
		}
		if body, err = s2.Decode(nil, body); err != nil {
			return 0, fmt.Errorf("it cannot be decompressed: %w", err)
		}
	}
	if len(body) < 8 {
		return 0, fmt.Errorf("%d octets", len(body))
	}
	return binary.LittleEndian.Uint64(body), nil
}

// readSnapshot reads the newest snapshot of a group: lengths and checksum.
func readSnapshot(dir, name string) (Snapshot, error) {
	var s Snapshot
	folder := filepath.Join(dir, snapshotDir)
	files, err := os.ReadDir(folder)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return s, unread(folder, err)
	}
	newest := ""
	for _, f := range files {
		term, index, ok := snapshotName(f.Name())
		if ok && (term > s.Term || term == s.Term && index > s.Index) {
			s.Term, s.Index, newest = term, index, filepath.Join(folder, f.Name())
		}
	}
	if newest == "" {
		return s, nil
	}
	b, err := os.ReadFile(newest)
	if err != nil {
		return s, unread(newest, err)
	}
	s.Stream, err = parseSnapshot(newest, name, b, s)
	return s, err
}

// snapshotName reads the numbers in a snapshot's name.
func snapshotName(file string) (term, index uint64, ok bool) {
	parts := strings.Split(file, ".")
	if len(parts) != 3 || parts[0] != "snap" {
		return 0, 0, false
	}
	term, terr := strconv.ParseUint(parts[1], 10, 64)
	index, ierr := strconv.ParseUint(parts[2], 10, 64)
	return term, index, terr == nil && ierr == nil
}

// parseSnapshot checks a snapshot's bytes: term, index, length of the members,
// the members, the state, checksum.
func parseSnapshot(file, name string, b []byte, s Snapshot) (*StreamState, error) {
	const fixed = 8 + 8 + 4
	if len(b) < fixed+hashSize {
		return nil, damaged(file, 0, "%d octets", len(b))
	}
	le := binary.LittleEndian
	body := b[:len(b)-hashSize]
	h := newHash(name)
	_, _ = h.Write(body) // a hash never fails
	if h.Sum64() != le.Uint64(b[len(body):]) {
		return nil, damaged(file, 0, "the checksum is wrong")
	}
	if le.Uint64(body) != s.Term || le.Uint64(body[8:]) != s.Index {
		return nil, damaged(file, 0, "its name is another snapshot's")
	}
	peers := int64(le.Uint32(body[16:]))
	if peers > int64(len(body)-fixed) {
		return nil, damaged(file, 16, "members of %d octets", peers)
	}
	return streamState(body[fixed+peers:]), nil
}

// The state of a stream in a snapshot begins with magic and version.
const (
	stateMagic      = 42
	stateVersions   = 2
	stateHeaderSize = 2
)

// streamState reads the state of a stream, nil if it is another state.
func streamState(b []byte) *StreamState {
	if len(b) < stateHeaderSize || b[0] != stateMagic || b[1] == 0 || b[1] > stateVersions {
		return nil
	}
	b = b[stateHeaderSize:]
	var v [5]uint64 // messages, bytes, first, last, failed
	for i := range v {
		value, n := binary.Uvarint(b)
		if n <= 0 {
			return nil
		}
		v[i], b = value, b[n:]
	}
	return &StreamState{First: v[2], Last: v[3], Failed: v[4]}
}
