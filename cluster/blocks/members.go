package blocks

import (
	"encoding/binary"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// mostTerm is above every term that a group reaches: ten elections a second for
// three thousand years.
const mostTerm = 1 << 40

// mostPeers is above every number of members of a group.
const mostPeers = 1 << 10

// members checks the small files of a group. They have no checksums, so only what
// cannot be is found: a term before that of an entry, a vote for nobody. lastTerm
// is the highest term of an entry.
func members(dir string, lastTerm uint64) error {
	path := filepath.Join(dir, peersFile)
	b, err := os.ReadFile(path) //nolint:gosec // the operator's folder
	if errors.Is(err, fs.ErrNotExist) {
		return nil // the server makes it
	}
	if err != nil {
		return unread(path, err)
	}
	ids, ok := peerIDs(b)
	if !ok {
		return damaged(path, 0, "%d octets that are no list of members", len(b))
	}
	return vote(filepath.Join(dir, voteFile), lastTerm, ids)
}

// peerIDs reads the list of members: size of the group, count, ids, and since some
// version two octets more. The size says what a majority is: one that is none of those
// who are listed would have the node decide without them.
func peerIDs(b []byte) ([]string, bool) {
	if len(b) < 8 {
		return nil, false
	}
	size, count := binary.LittleEndian.Uint32(b), binary.LittleEndian.Uint32(b[4:])
	rest := len(b) - 8 - int(min(count, mostPeers))*idSize
	if max(size, count) > mostPeers || rest != 0 && rest != 2 || size/2+1 <= count/2 {
		return nil, false
	}
	ids := make([]string, 0, count)
	for i := range count {
		ids = append(ids, string(b[8+i*idSize:8+(i+1)*idSize]))
	}
	return ids, true
}

// vote checks the term and the vote.
func vote(path string, lastTerm uint64, ids []string) error {
	b, err := os.ReadFile(path) //nolint:gosec // the operator's folder
	if errors.Is(err, fs.ErrNotExist) && lastTerm <= 1 {
		return nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return unread(path, err)
	}
	if len(b) != 8 && len(b) != 8+idSize {
		return damaged(path, 0, "%d octets that are no term", len(b))
	}
	term := binary.LittleEndian.Uint64(b)
	switch {
	case term < lastTerm:
		return damaged(path, 0, "the term is %d, an entry's is %d", term, lastTerm)
	case term > mostTerm:
		return damaged(path, 0, "the term is %d", term)
	case len(b) > 8 && len(ids) > 0 && !slices.Contains(ids, string(b[8:])):
		return damaged(path, 8, "a vote for who is no member")
	default:
		return nil
	}
}

// SmallFiles returns the files of a group that a replica keeps which begins again
// without entries: who the members are, and whom it voted for.
func SmallFiles(dir string) []string {
	peers := filepath.Join(dir, peersFile)
	if _, err := os.Lstat(peers); err != nil || members(dir, 0) != nil {
		return nil
	}
	return []string{peers, filepath.Join(dir, voteFile)}
}
