// Package cursor reads numbers and byte strings from a slice, with one check at
// the end instead of one per field.
package cursor

import "encoding/binary"

// Cursor walks over bytes. After a read past the end Bad is set, and every read
// returns zero. Slices returned alias the bytes.
type Cursor struct {
	Rest []byte
	Off  int // octets read so far
	Bad  bool
}

// New returns a cursor over b.
func New(b []byte) Cursor { return Cursor{Rest: b} }

// More reports whether there is something left to read.
func (c *Cursor) More() bool { return len(c.Rest) > 0 && !c.Bad }

// Take returns the next n octets.
func (c *Cursor) Take(n int) []byte {
	if c.Bad || n < 0 || n > len(c.Rest) {
		c.Bad = true
		return nil
	}
	b := c.Rest[:n:n]
	c.Rest = c.Rest[n:]
	c.Off += n
	return b
}

// Octet returns the next octet.
func (c *Cursor) Octet() byte {
	if b := c.Take(1); b != nil {
		return b[0]
	}
	return 0
}

// U16 returns the next two octets, big endian.
func (c *Cursor) U16() uint16 {
	if b := c.Take(2); b != nil {
		return binary.BigEndian.Uint16(b)
	}
	return 0
}

// U32 returns the next four octets, big endian.
func (c *Cursor) U32() uint32 {
	if b := c.Take(4); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

// U64 returns the next eight octets, big endian.
func (c *Cursor) U64() uint64 {
	if b := c.Take(8); b != nil {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}

// Uvarint returns the next variable-length number.
func (c *Cursor) Uvarint() uint64 {
	if c.Bad {
		return 0
	}
	v, n := binary.Uvarint(c.Rest)
	if n <= 0 {
		c.Bad = true
		return 0
	}
	c.Take(n)
	return v
}

// Bytes returns a byte string that has its length in front.
func (c *Cursor) Bytes() []byte {
	n := c.Uvarint()
	if n > uint64(len(c.Rest)) {
		c.Bad = true
		return nil
	}
	return c.Take(int(n))
}

// AppendBytes appends b with its length in front, as [Cursor.Bytes] reads it.
func AppendBytes[T ~string | ~[]byte](dst []byte, b T) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(b)))
	return append(dst, b...)
}
