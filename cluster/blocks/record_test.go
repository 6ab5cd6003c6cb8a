package blocks

import (
	"encoding/binary"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// encode writes a record as the server does.
func encode(store string, block uint32, seq uint64, subject, headers, msg string) []byte {
	le := binary.LittleEndian
	b := make([]byte, headerSize)
	le.PutUint64(b[4:], seq)
	le.PutUint16(b[20:], uint16(len(subject)))
	b = append(b, subject...)
	length := uint32(0)
	h := newHash(store + "-" + strconv.Itoa(int(block)))
	_, _ = h.Write(b[4:20])
	_, _ = h.Write([]byte(subject + headers + msg))
	if headers != "" {
		length = headersBit
		b = le.AppendUint32(b, uint32(len(headers)))
	}
	b = append(append(b, headers...), msg...)
	b = le.AppendUint64(b, h.Sum64())
	le.PutUint32(b, length|uint32(len(b)))
	return b
}

const someHeaders = "NATS/1.0\r\nNats-Expected-Last-Sequence: 1\r\n\r\n"

func TestTorn_WhatAnUnfinishedWriteLeaves(t *testing.T) {
	one := encode("S0", 1, 1, "s", someHeaders, "one")
	two := encode("S0", 1, 2, "s", someHeaders, string(make([]byte, 40))+"two and more of it, up to the next sector"+string(make([]byte, 3000))+"end")
	three := encode("S0", 1, 3, "s", "", "three")
	flip := func(b []byte, at int) []byte {
		c := append([]byte(nil), b...)
		c[at] ^= 4
		return c
	}
	cat := func(parts ...[]byte) (all []byte) {
		for _, p := range parts {
			all = append(all, p...)
		}
		return all
	}
	for _, c := range []struct {
		name    string
		block   []byte
		damaged bool
		torn    bool
		last    uint64
	}{
		{"whole records", cat(one, two, three), false, false, 3},
		{"a record that the process did not write to its end", cat(one, two[:70]), false, true, 1},
		{"a header that was not written to its end", cat(one, two[:9]), false, true, 1},
		{"a record whose last sectors were not written", cat(one, two[:1500], make([]byte, len(two)-1500)), false, true, 1},
		{"zeros in place of a record", cat(one, make([]byte, 700)), false, true, 1},
		{"a complete record with a wrong checksum at the end", cat(one, two, flip(three, 25)), true, false, 0},
		{"a wrong record with a whole one behind it", cat(one, flip(two, 60), three), true, false, 0},
		{"a wrong length with a whole record behind it", cat(one, flip(two, 1), three), true, false, 0},
		{"a hole between two records", cat(one, three), true, false, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := scan{o: Options{Name: "S0", Subject: "s"}, buf: c.block}
			err := s.records(blockFile{"1.blk", 1}, true)
			if (err != nil) != c.damaged {
				t.Fatalf("got the error %v, want one: %v", err, c.damaged)
			}
			if !c.damaged && ((s.torn != nil) != c.torn || s.last != c.last) {
				t.Errorf("got torn %v, last %d, want %v, %d", s.torn, s.last, c.torn, c.last)
			}
			if s = (scan{o: s.o, buf: c.block}); c.torn && s.records(blockFile{"1.blk", 1}, false) == nil {
				t.Error("in a block that is not the last one: got no error")
			}
		})
	}
}

// Where records are not synced one by one the loss of power may leave zeros in the
// middle; a bit that has changed is damage there, too.
func TestTorn_HolesWhereNothingWasSynced(t *testing.T) {
	one := encode("S0", 1, 1, "s", someHeaders, "one")
	two := encode("S0", 1, 2, "s", someHeaders, strings.Repeat("two", 1000))
	three := encode("S0", 1, 3, "s", "", "three")
	lost := append([]byte(nil), two...)
	clear(lost[sector-len(one) : 3*sector-len(one)])
	flipped := append([]byte(nil), two...)
	flipped[1000] ^= 1
	for _, c := range []struct {
		name     string
		block    []byte
		unsynced bool
		torn     bool
	}{
		{"a lost sector, synced one by one", slices.Concat(one, lost, three), false, false},
		{"a lost sector, not synced", slices.Concat(one, lost, three), true, true},
		{"lost sectors with a record's beginning", slices.Concat(one, make([]byte, 3*sector), three), true, true},
		{"a flipped bit, not synced", slices.Concat(one, flipped, three), true, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := scan{o: Options{Name: "S0", Subject: "s", Unsynced: c.unsynced}, buf: c.block}
			if err := s.records(blockFile{"1.blk", 1}, true); (err == nil) != c.torn || c.torn && (s.torn == nil || s.last != 1) {
				t.Errorf("got the error %v, torn %v, last %d, want it torn: %v", err, s.torn, s.last, c.torn)
			}
		})
	}
}

func FuzzRecords(f *testing.F) {
	one := encode("S0", 1, 1, "s", someHeaders, "one")
	two := encode("S0", 1, 2, "s", "", "two")
	gone := encode("S0", 1, 1|tombstoneBit, "", "", "")
	f.Add(append(append(one, two...), gone...))
	f.Add(append(one, two[:9]...))
	f.Add(gone)
	f.Fuzz(func(t *testing.T, b []byte) {
		s := scan{o: Options{Name: "S0", Subject: "s"}, buf: b}
		if s.records(blockFile{"1.blk", 1}, true) != nil {
			return
		}
		if r, err := s.report("S0"); err == nil && r.First > r.Last+1 {
			t.Errorf("got %+v", r)
		}
	})
}
