package shard

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
)

// A record's bytes, version 1. All numbers of fixed size are big endian.
//
//	octet   version (1)
//	octet   feature level (1)
//	u32     epoch
//	u64     number of the record in its epoch, from 1
//	u32     link: the checksum of the previous record that is not void
//	i64     the leader's time, Unix milliseconds, never less than before
//	entries up to the checksum
//	u32     CRC-32C of everything before
const (
	recordVersion = 1
	featureLevel  = 1 // a release that judges otherwise writes another one, once all nodes know it
	headerSize    = 1 + 1 + 4 + 8 + 4 + 8
	trailerSize   = 4
)

// MaxRecord is the greatest size of a record in bytes: the greatest message and
// what goes with it.
const MaxRecord = 7 << 20

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// ErrCorrupt says that a record's bytes are damaged, or were written by a newer
// version.
var ErrCorrupt = errors.New("shard: corrupt record")

// ErrVoid says that the leader's own record does not continue the chain: its state is
// damaged.
var ErrVoid = errors.New("shard: the leader's own record is void")

type header struct {
	epoch  uint32
	number uint64
	link   uint32
	time   int64
}

func (h header) put(b []byte) {
	b[0], b[1] = recordVersion, featureLevel
	binary.BigEndian.PutUint32(b[2:], h.epoch)
	binary.BigEndian.PutUint64(b[6:], h.number)
	binary.BigEndian.PutUint32(b[14:], h.link)
	binary.BigEndian.PutUint64(b[18:], uint64(h.time))
}

// seal writes the header and the checksum into a record whose first headerSize
// octets were left free, and returns it with its checksum.
func seal(rec []byte, h header) ([]byte, uint32) {
	h.put(rec)
	sum := crc32.Checksum(rec, castagnoli)
	return binary.BigEndian.AppendUint32(rec, sum), sum
}

// parseRecord checks a record and returns its header, its entries and its checksum.
func parseRecord(rec []byte) (h header, entries []byte, sum uint32, err error) {
	if err := Intact(rec); err != nil {
		return h, nil, 0, err
	}
	body := rec[:len(rec)-trailerSize]
	sum = binary.BigEndian.Uint32(rec[len(body):])
	if rec[0] != recordVersion || rec[1] > featureLevel {
		return h, nil, 0, fmt.Errorf("%w: version %d level %d: written by a newer release", ErrCorrupt, rec[0], rec[1])
	}
	h = header{
		epoch:  binary.BigEndian.Uint32(rec[2:]),
		number: binary.BigEndian.Uint64(rec[6:]),
		link:   binary.BigEndian.Uint32(rec[14:]),
		time:   int64(binary.BigEndian.Uint64(rec[18:])),
	}
	return h, body[headerSize:], sum, nil
}
