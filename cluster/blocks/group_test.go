package blocks

import (
	"bytes"
	"encoding/binary"
	"math"
	"runtime"
	"slices"
	"testing"

	"github.com/klauspost/compress/s2"
)

// encodeEntry writes an entry as a raft group does: leader, terms, place, parts, and at
// the end the term of the leader's last one.
func encodeEntry(index, term uint64, parts ...[]byte) []byte {
	le := binary.LittleEndian
	b := make([]byte, idSize, 100)
	b = le.AppendUint64(b, term)
	b = le.AppendUint64(b, 0)
	b = le.AppendUint64(b, term)
	b = le.AppendUint64(b, index-1)
	b = le.AppendUint16(b, uint16(len(parts)))
	for _, part := range parts {
		b = append(le.AppendUint32(b, uint32(len(part))), part...)
	}
	return binary.AppendUvarint(b, term)
}

// part is a part of an entry: an operation of a stream with its body.
func part(kind, op byte, body []byte) []byte { return append([]byte{kind, op}, body...) }

// encodeSnapshot writes a snapshot as a raft group does.
func encodeSnapshot(name string, term, index uint64, peers, state []byte) []byte {
	le := binary.LittleEndian
	b := le.AppendUint64(nil, term)
	b = le.AppendUint64(b, index)
	b = le.AppendUint32(b, uint32(len(peers)))
	b = append(append(b, peers...), state...)
	h := newHash(name)
	_, _ = h.Write(b)
	return le.AppendUint64(b, h.Sum64())
}

// FuzzEntry reads arbitrary bytes as whatever is in a raft group's folder, then those
// things as a group writes them, with arbitrary contents: as they were, or not at all
// if they end too early.
func FuzzEntry(f *testing.F) {
	body := binary.LittleEndian.AppendUint64(nil, 6)
	state := encodeState(&StreamState{First: 2, Last: 7, Failed: 1})
	for _, b := range [][]byte{
		nil, encodeEntry(7, 3, part(entryNormal, opAppend, body)), encodeEntry(7, 3, part(1, opAppend, body), []byte{0}), encodeEntry(1, 0),
		state, append([]byte{2, 0, 0, 0, 1, 0, 0, 0}, "12345678"...), encodeSnapshot("S0", 3, 7, []byte("peers"), state),
		s2.Encode(nil, bytes.Repeat(body, 1000)), binary.AppendUvarint(nil, mostSize), binary.AppendUvarint(nil, math.MaxUint32),
	} {
		f.Add(b, uint64(7), uint64(3), byte(opAppend), byte(0))
		f.Add(b, uint64(1), uint64(math.MaxUint64), byte(opAppendCompressed), byte(1))
	}
	f.Fuzz(func(t *testing.T, b []byte, index, term uint64, op, kind byte) {
		was := bytes.Clone(b)
		checkAnyEntry(t, index, b)
		checkAnyState(t, b)
		checkAnyPeers(t, b)
		if !bytes.Equal(b, was) {
			t.Fatal("the bytes that were read were changed")
		}
		checkEntry(t, index, term, [][]byte{part(entryNormal, opAppend, []byte("before")), part(kind, op, b), {entryNormal}})
		checkAppend(t, b)
		checkSnapshot(t, index, term, b)
	})
}

func checkAnyEntry(t *testing.T, index uint64, b []byte) {
	t.Helper()
	var w wal
	err := w.entry(index, b)
	if len(w.append) > 0 && (w.append[0] != opAppend && w.append[0] != opAppendCompressed || !bytes.Contains(b, w.append)) {
		t.Errorf("got the append %x, which is none of %x", w.append, b)
	}
	if err == nil && len(b) < entryHeader {
		t.Errorf("got no error from an entry of %d octets", len(b))
	}
	for _, op := range []byte{opAppend, opAppendCompressed} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, _ = expectedLast(append([]byte{op}, b...)) // must not panic
		runtime.ReadMemStats(&after)
		if got, most := after.TotalAlloc-before.TotalAlloc, uint64(mostSize+2*len(b)+(1<<20)); got > most {
			t.Errorf("got %d octets allocated for an append of %d, want at most %d", got, len(b), most)
		}
	}
}

func checkAnyState(t *testing.T, b []byte) {
	t.Helper()
	s := streamState(b)
	if s == nil {
		return
	}
	if again := streamState(encodeState(s)); again == nil || *again != *s {
		t.Errorf("got %+v, and %+v when it is written anew", s, again)
	}
	if more := streamState(append(bytes.Clone(b), 1, 2, 3)); more == nil || *more != *s {
		t.Errorf("got %+v, and %+v with what was deleted behind it", s, more)
	}
}

// encodeState writes the state of a stream as a snapshot has it.
func encodeState(s *StreamState) []byte {
	b := []byte{stateMagic, stateVersions}
	for _, v := range []uint64{1, 100, s.First, s.Last, s.Failed} {
		b = binary.AppendUvarint(b, v)
	}
	return b
}

func checkAnyPeers(t *testing.T, b []byte) {
	t.Helper()
	ids, ok := peerIDs(b)
	if !ok {
		if ids != nil {
			t.Errorf("got %d members of what is no list", len(ids))
		}
		return
	}
	again := bytes.Clone(b[:4])
	again = binary.LittleEndian.AppendUint32(again, uint32(len(ids)))
	for _, id := range ids {
		again = append(again, id...)
	}
	if !bytes.HasPrefix(b, again) {
		t.Errorf("got the members %q of %x", ids, b)
	}
	if _, ok := peerIDs(again[:len(again)-1]); ok {
		t.Error("got members of a list that ends too early")
	}
}

// checkEntry reads an entry as it was written, with every end too early, and in the
// wrong place.
func checkEntry(t *testing.T, index, term uint64, parts [][]byte) {
	t.Helper()
	b := encodeEntry(index, term, parts...)
	w := wal{lastTerm: 5}
	if err := w.entry(index, bytes.Clone(b)); err != nil {
		t.Fatal(err)
	}
	want := parts[0]
	if p := parts[1]; p[0] == entryNormal && (p[1] == opAppend || p[1] == opAppendCompressed) {
		want = p
	}
	if w.lastTerm != max(5, term) || !bytes.Equal(w.append, want[1:]) {
		t.Errorf("got term %d, append %x, want %d, %x", w.lastTerm, w.append, max(5, term), want[1:])
	}
	clear(b[entryHeader:]) // the scan's buffer is used again
	if !bytes.Equal(w.append, want[1:]) {
		t.Error("got an append that is changed with the bytes it was read from")
	}
	b = encodeEntry(index, term, parts...)
	whole := len(b) - len(binary.AppendUvarint(nil, term))
	for n := 0; n < whole; n += 1 + whole/100 {
		if w.entry(index, b[:n]) == nil {
			t.Errorf("got no error from %d octets of an entry of %d", n, whole)
		}
	}
	if w.entry(index+1, b) == nil {
		t.Error("got no error from an entry in the place of another one")
	}
}

// checkAppend reads an append as it is, and compressed.
func checkAppend(t *testing.T, body []byte) {
	t.Helper()
	got, err := expectedLast(append([]byte{opAppend}, body...))
	if (err == nil) != (len(body) >= 8) || err == nil && got != binary.LittleEndian.Uint64(body) {
		t.Errorf("got %d, %v from %x", got, err, body)
	}
	small, serr := expectedLast(append([]byte{opAppendCompressed}, s2.Encode(nil, body)...))
	if small != got || (serr == nil) != (err == nil) {
		t.Errorf("got %d, %v, and compressed %d, %v", got, err, small, serr)
	}
}

// checkSnapshot reads a snapshot as it was written, with a flipped bit, and with its end
// missing.
func checkSnapshot(t *testing.T, index, term uint64, b []byte) {
	t.Helper()
	name, s := "S-R3F-abc", Snapshot{Term: term, Index: index}
	want := StreamState{First: index, Last: term, Failed: uint64(len(b))}
	whole := encodeSnapshot(name, term, index, b, encodeState(&want))
	if got, err := parseSnapshot("snap", name, whole, s); err != nil || got == nil || *got != want {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
	for n := 0; n < len(whole); n += 1 + len(whole)/20 {
		if _, err := parseSnapshot("snap", name, whole[:n], s); err == nil {
			t.Errorf("got no error from %d octets of a snapshot of %d", n, len(whole))
		}
		flipped := slices.Clone(whole)
		flipped[n] ^= 1 << (n % 8)
		if _, err := parseSnapshot("snap", name, flipped, s); err == nil {
			t.Errorf("got no error from a snapshot with a flipped bit at %d", n)
		}
	}
	for _, other := range []Snapshot{{Term: term + 1, Index: index}, {Term: term, Index: index + 1}} {
		if _, err := parseSnapshot("snap", name, whole, other); err == nil {
			t.Errorf("got no error from a snapshot by the name of another one, %+v", other)
		}
	}
}

// A size of the group that has changed could make a majority of one node alone.
func TestMembers_MajorityIsOneOfTheMembers(t *testing.T) {
	const six = "aaaaaaaabbbbbbbbccccccccddddddddeeeeeeeeffffffff"
	list := func(size, count uint32, rest string) []byte {
		b := binary.LittleEndian.AppendUint32(nil, size)
		b = binary.LittleEndian.AppendUint32(b, count)
		return append(append(b, six[:idSize*min(count, 6)]...), rest...)
	}
	for _, c := range []struct {
		name string
		list []byte
		want bool
	}{
		{"three of three", list(3, 3, "xx"), true},
		{"three of three, as an older version has them", list(3, 3, ""), true},
		{"three that are known of five", list(5, 3, "xx"), true},
		{"three of two that are up", list(2, 3, "xx"), true},
		{"one would decide for three", list(1, 3, "xx"), false},
		{"none would decide for two", list(0, 2, "xx"), false},
		{"two would decide for five", list(2, 5, "xx"), false},
		{"fewer than are listed", append(list(3, 2, "cccccccc"), "xx"...), false},
		{"more than are listed", list(3, 3, "xx")[:24], false},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, got := peerIDs(c.list); got != c.want {
				t.Errorf("got it called a list of members %v, want %v", got, c.want)
			}
		})
	}
}
