package bench

import "bytes"

// The head of a body, in ASCII so that it survives every conversion:
// "sb1.RRRRRRRR.PPPP.SSSSSSSSSS.TTTTTTTTTTTTTTTT." with run, producer, sequence
// number and time of sending in hexadecimal digits. The rest is filler.
const (
	magic       = "sb1."
	runDigits   = 8
	prodDigits  = 4
	seqDigits   = 10
	timeDigits  = 16
	filler      = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ+-"
	hexadecimal = "0123456789abcdef"

	// MinSize is the length of a body without filler.
	MinSize = len(magic) + runDigits + 1 + prodDigits + 1 + seqDigits + 1 + timeDigits + 1

	maxProducers = 1 << (4 * prodDigits)
)

// stamp is what the head of a body says.
type stamp struct {
	run      uint32
	producer uint32
	seq      uint64
	sent     int64 // nanoseconds of the Unix epoch
}

// newBody returns a body of that size with its filler.
func newBody(size int) []byte {
	return append(make([]byte, MinSize, size), bytes.Repeat([]byte(filler), (size-MinSize)/len(filler)+1)[:size-MinSize]...)
}

// write puts the stamp into the head of the body.
func (s stamp) write(body []byte) {
	at := copy(body, magic)
	at = putHex(body, at, uint64(s.run), runDigits)
	at = putHex(body, at, uint64(s.producer), prodDigits)
	at = putHex(body, at, s.seq, seqDigits)
	putHex(body, at, uint64(s.sent), timeDigits)
}

// readStamp reads the head of a body; false if it is none of ours or damaged.
func readStamp(body []byte) (s stamp, ok bool) {
	if len(body) < MinSize || string(body[:len(magic)]) != magic {
		return stamp{}, false
	}
	at, good := len(magic), true
	var run, producer, sent uint64
	for _, f := range []struct {
		value  *uint64
		digits int
	}{{&run, runDigits}, {&producer, prodDigits}, {&s.seq, seqDigits}, {&sent, timeDigits}} {
		for _, c := range body[at : at+f.digits] {
			d, isDigit := fromHex(c)
			good = good && isDigit
			*f.value = *f.value<<4 | d
		}
		at += f.digits
		good = good && body[at] == '.'
		at++
	}
	s.run, s.producer, s.sent = uint32(run), uint32(producer), int64(sent)
	return s, good
}

// fillerIntact reports whether the rest of a body is what was sent.
func fillerIntact(body, want []byte) bool {
	return len(body) == len(want) && bytes.Equal(body[MinSize:], want[MinSize:])
}

// putHex writes digits and a point, and returns where it ended.
func putHex(b []byte, at int, v uint64, digits int) int {
	for i := digits - 1; i >= 0; i-- {
		b[at+i] = hexadecimal[v&15]
		v >>= 4
	}
	b[at+digits] = '.'
	return at + digits + 1
}

func fromHex(c byte) (uint64, bool) {
	switch {
	case c >= '0' && c <= '9':
		return uint64(c - '0'), true
	case c >= 'a' && c <= 'f':
		return uint64(c-'a') + 10, true
	default:
		return 0, false
	}
}
