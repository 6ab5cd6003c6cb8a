package blocks

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"

	"github.com/minio/highwayhash"
)

// Sizes of a record.
const (
	headerSize = 22
	hashSize   = 8
	leastSize  = headerSize + hashSize
	// mostSize is above every length that the server writes.
	mostSize = 32 << 20
)

// Bits of a record's length and sequence.
const (
	headersBit   = 1 << 31
	erasedBit    = 1 << 63
	tombstoneBit = 1 << 62
)

// record is a record in a block's bytes.
type record struct {
	size      int // in the block
	seq       uint64
	erased    bool
	tombstone bool
	headers   bool
	subject   []byte
	body      []byte // headers with their length, if there are any, and message
}

// message returns the message without its headers.
func (r *record) message() ([]byte, error) {
	if !r.headers {
		return r.body, nil
	}
	n := int64(binary.LittleEndian.Uint32(r.body))
	if n > int64(len(r.body)-4) {
		return nil, fmt.Errorf("headers of %d octets in %d", n, len(r.body))
	}
	headers, msg := r.body[4:4+n], r.body[4+n:]
	if !bytes.HasPrefix(headers, []byte("NATS/1.0\r\n")) || !bytes.HasSuffix(headers, []byte("\r\n\r\n")) {
		return nil, errors.New("the headers do not end where they should")
	}
	return msg, nil
}

// fault says why bytes are no record.
type fault struct {
	reason string
	// size is the record's length as it says, 0 if that cannot be.
	size int
	// short says that the bytes end before the record does.
	short bool
}

// newHash returns the hash that a name is the key of.
func newHash(name string) hash.Hash64 {
	key := sha256.Sum256([]byte(name))
	h, err := highwayhash.New64(key[:])
	if err != nil {
		panic("blocks: a key of 32 octets is refused: " + err.Error())
	}
	return h
}

// parse reads the record at the start of b and checks it.
func parse(b []byte, h hash.Hash64) (record, *fault) {
	if len(b) < headerSize {
		return record{}, &fault{reason: "the file ends in a record's header", short: true}
	}
	le := binary.LittleEndian
	length, subject := le.Uint32(b), int(le.Uint16(b[20:]))
	r := record{headers: length&headersBit != 0}
	r.size = int(length &^ headersBit)
	fixed := leastSize + subject
	if r.headers {
		fixed += 4
	}
	switch {
	case r.size < fixed || r.size > mostSize:
		return r, &fault{reason: fmt.Sprintf("a record's length is %d", r.size)}
	case r.size > len(b):
		return r, &fault{reason: "the file ends in a record", size: r.size, short: true}
	}
	end := r.size - hashSize
	r.subject, r.body = b[headerSize:headerSize+subject], b[headerSize+subject:end]
	h.Reset()
	_, _ = h.Write(b[4:20]) // a hash never fails
	_, _ = h.Write(r.subject)
	if r.headers {
		_, _ = h.Write(r.body[4:])
	} else {
		_, _ = h.Write(r.body)
	}
	if h.Sum64() != le.Uint64(b[end:]) {
		return r, &fault{reason: "the checksum is wrong", size: r.size}
	}
	seq := le.Uint64(b[4:])
	r.erased, r.tombstone = seq&erasedBit != 0, seq&tombstoneBit != 0
	r.seq = seq &^ (erasedBit | tombstoneBit)
	return r, nil
}
