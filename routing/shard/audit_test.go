package shard

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"testing"
)

func TestAudit_TheLogBeginsWhereItMay(t *testing.T) {
	plain, _ := seal(make([]byte, headerSize), header{epoch: 1, number: 1})
	cut, _ := seal(appendCut(make([]byte, headerSize), 7), header{epoch: 1, number: 2})
	newer := ofNewerRelease()
	for _, c := range []struct {
		name  string
		recs  [][]byte
		first uint64
		ok    bool
	}{
		{"at the first record that there ever was", [][]byte{plain}, 1, true},
		{"behind records that nobody cut", [][]byte{plain}, 2, false},
		{"right behind the cut", [][]byte{plain, cut, plain}, 8, true},
		{"before the cut, since the purge did not come to pass", [][]byte{plain, cut}, 3, true},
		{"behind a record that is missing after the cut", [][]byte{cut, plain}, 9, false},
		{"anywhere, if a newer release may have cut it", [][]byte{plain, newer}, 9, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			var a Audit
			for i, rec := range c.recs {
				if err := a.Record(c.first+uint64(i), rec); err != nil {
					t.Fatal(err)
				}
			}
			if err := a.Begin(c.first); (err == nil) != c.ok {
				t.Errorf("got %v, want it accepted: %v", err, c.ok)
			}
		})
	}
}

// ofNewerRelease is a record that a newer release wrote.
func ofNewerRelease() []byte {
	body := make([]byte, headerSize)
	header{epoch: 1, number: 1}.put(body)
	body[1] = featureLevel + 1
	return binary.BigEndian.AppendUint32(body, crc32.Checksum(body, castagnoli))
}

func TestIntact_FindsEveryChangedBit(t *testing.T) {
	rec, _ := seal(appendCut(make([]byte, headerSize), 7), header{epoch: 1, number: 2})
	if err := Intact(rec); err != nil {
		t.Fatal(err)
	}
	for at := range len(rec) * 8 {
		b := append([]byte(nil), rec...)
		b[at/8] ^= 1 << (at % 8)
		if err := Intact(b); !errors.Is(err, ErrCorrupt) {
			t.Errorf("bit %d: got %v, want %v", at, err, ErrCorrupt)
		}
		if err := new(Audit).Record(1, b); !errors.Is(err, ErrCorrupt) {
			t.Errorf("bit %d: the audit: got %v, want %v", at, err, ErrCorrupt)
		}
	}
}
