// Package envelope is the bytes of an envelope, as they stand in the log and
// travel between nodes. A released version never changes; golden files keep it.
//
// Version 1:
//
//	octet    version (1)
//	octet    flags: bit 0 persistent, bits 1–3 kind of address, bits 4–7 encoding
//	octet    priority
//	uvarint  timestamp, expiry, delivery time, each in Unix milliseconds
//	bytes    address name, group, dedupe id, each with a uvarint length in front
//	octets   the payload, up to the end
package envelope

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/selvedge-mq/selvedge/internal/cursor"
	"github.com/selvedge-mq/selvedge/routing"
)

const version = 1

const (
	flagPersistent = 1 << 0
	kindShift      = 1
	kindMask       = 7
	encodingShift  = 4
)

// ErrMalformed says that bytes are not an envelope.
var ErrMalformed = errors.New("envelope: malformed")

// Append appends e to dst.
func Append(dst []byte, e *routing.Envelope) []byte {
	flags := byte(e.Address.Kind)<<kindShift | byte(e.Encoding)<<encodingShift
	if e.Persistent {
		flags |= flagPersistent
	}
	dst = append(dst, version, flags, e.Priority)
	dst = binary.AppendUvarint(dst, uint64(e.Timestamp))
	dst = binary.AppendUvarint(dst, uint64(e.Expiry))
	dst = binary.AppendUvarint(dst, uint64(e.DeliverAt))
	dst = cursor.AppendBytes(dst, e.Address.Name)
	dst = cursor.AppendBytes(dst, e.Group)
	dst = cursor.AppendBytes(dst, e.DedupeID)
	return append(dst, e.Payload...)
}

// Size returns an upper bound of the length that Append adds.
func Size(e *routing.Envelope) int {
	return 3 + 6*binary.MaxVarintLen64 + len(e.Address.Name) + len(e.Group) + len(e.DedupeID) + len(e.Payload)
}

// Head is what the engine reads of an envelope without making strings. Name
// aliases the envelope's bytes.
type Head struct {
	Kind       routing.Kind
	Persistent bool
	Expiry     int64
	Name       []byte
}

// Decode reads an envelope. The payload aliases b; strings are copies.
func Decode(b []byte) (routing.Envelope, error) {
	c := reader{Cursor: cursor.New(b)}
	h, e := c.fixed()
	e.Address = routing.Address{Kind: h.Kind, Name: string(h.Name)}
	e.Group = string(c.Bytes())
	e.DedupeID = string(c.Bytes())
	if err := c.fail(); err != nil {
		return routing.Envelope{}, err
	}
	e.Payload = c.Rest
	return e, nil
}

// DecodeFor reads an envelope whose address the caller knows already; it makes
// no string for it.
func DecodeFor(b []byte, addr routing.Address) (routing.Envelope, error) {
	c := reader{Cursor: cursor.New(b)}
	_, e := c.fixed()
	e.Address = addr
	if g := c.Bytes(); len(g) > 0 {
		e.Group = string(g)
	}
	if d := c.Bytes(); len(d) > 0 {
		e.DedupeID = string(d)
	}
	if err := c.fail(); err != nil {
		return routing.Envelope{}, err
	}
	e.Payload = c.Rest
	return e, nil
}

// Peek reads the head only.
func Peek(b []byte) (Head, error) {
	c := reader{Cursor: cursor.New(b)}
	h, _ := c.fixed()
	return h, c.fail()
}

// reader reads the fields of an envelope in their order.
type reader struct {
	cursor.Cursor
	err error
}

func (r *reader) fixed() (Head, routing.Envelope) {
	fixed := r.Take(3)
	if fixed == nil {
		return Head{}, routing.Envelope{}
	}
	if fixed[0] != version {
		r.err = fmt.Errorf("%w: version %d", ErrMalformed, fixed[0])
		return Head{}, routing.Envelope{}
	}
	e := routing.Envelope{
		Persistent: fixed[1]&flagPersistent != 0,
		Encoding:   routing.Encoding(fixed[1] >> encodingShift),
		Priority:   fixed[2],
	}
	e.Timestamp, e.Expiry, e.DeliverAt = int64(r.Uvarint()), int64(r.Uvarint()), int64(r.Uvarint())
	h := Head{
		Kind:       routing.Kind(fixed[1] >> kindShift & kindMask),
		Persistent: e.Persistent,
		Expiry:     e.Expiry,
		Name:       r.Bytes(),
	}
	return h, e
}

func (r *reader) fail() error {
	if r.err == nil && r.Bad {
		return fmt.Errorf("%w: cut off after %d octets", ErrMalformed, r.Off)
	}
	return r.err
}
