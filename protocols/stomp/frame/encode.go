package frame

import (
	"bytes"
	"math"
	"strconv"
)

// End is what stands behind a body: NUL, and the LF that some clients count on.
const End = "\x00\n"

// AppendCommand appends a command line.
func AppendCommand(dst []byte, c Command) []byte {
	dst = append(dst, c.String()...)
	return append(dst, '\n')
}

// AppendRaw appends a header that is not escaped: of a CONNECTED frame, or one
// whose text needs no escaping by construction.
func AppendRaw[T string | []byte](dst []byte, key string, value T) []byte {
	dst = append(dst, key...)
	dst = append(dst, ':')
	dst = append(dst, value...)
	return append(dst, '\n')
}

// AppendInt appends a header with a decimal value.
func AppendInt(dst []byte, key string, value int64) []byte {
	dst = append(dst, key...)
	dst = append(dst, ':')
	dst = strconv.AppendInt(dst, value, 10)
	return append(dst, '\n')
}

// AppendHeader appends a header as version v writes it. A header that the
// version cannot express is left out: one with NUL, and in 1.0 one with LF, CR or
// with a colon in its key. Framing is never broken.
func AppendHeader[K, T string | []byte](dst []byte, v Version, key K, value T) []byte {
	start := len(dst)
	if v != V10 {
		dst = AppendEscaped(dst, key)
		dst = append(dst, ':')
		dst = AppendEscaped(dst, value)
		if bytes.IndexByte(dst[start:], 0) >= 0 {
			return dst[:start]
		}
		return append(dst, '\n')
	}
	dst = append(dst, key...)
	if bytes.ContainsAny(dst[start:], "\n\r\x00:") {
		return dst[:start]
	}
	dst = append(dst, ':')
	dst = append(dst, value...)
	if bytes.ContainsAny(dst[start:], "\n\r\x00") {
		return dst[:start]
	}
	return append(dst, '\n')
}

// AppendEcho appends a header with a text that the peer itself chose, as version v
// writes it. In 1.0 it goes back as it came, with a CR in it too: to others a CR in a
// header of 1.0 is left out, for there are clients that take it for an end of the line.
func AppendEcho[T string | []byte](dst []byte, v Version, key string, value T) []byte {
	start := len(dst)
	if v != V10 {
		return AppendHeader(dst, v, key, value)
	}
	dst = AppendRaw(dst, key, value)
	if bytes.ContainsAny(dst[start:len(dst)-1], "\n\x00") {
		return dst[:start]
	}
	return dst
}

// AppendBlock appends header lines that are escaped as in 1.2: as they are for
// 1.1 and 1.2, decoded for 1.0.
func AppendBlock(dst []byte, v Version, lines []byte) []byte {
	if v != V10 {
		return append(dst, lines...)
	}
	for key, value := range Lines(lines) {
		dst = AppendHeader(dst, v, key, value)
	}
	return dst
}

// Lines walks over header lines that are escaped as in 1.2 and yields the
// decoded keys and values. Lines that are not well-formed are skipped.
func Lines(lines []byte) func(yield func(key, value []byte) bool) {
	return func(yield func(key, value []byte) bool) {
		for len(lines) > 0 {
			var line []byte
			line, lines, _ = bytes.Cut(lines, []byte{'\n'})
			k, v, ok := bytes.Cut(line, []byte{':'})
			if !ok {
				continue
			}
			key, err1 := Unescape(k)
			value, err2 := Unescape(v)
			if err1 == nil && err2 == nil && !yield(key, value) {
				return
			}
		}
	}
}

// Heads walks over encoded frames and yields the command and header lines of each
// without the last LF, and its body. It stops at what is no frame.
func Heads(b []byte) func(yield func(head, body []byte) bool) {
	return func(yield func(head, body []byte) bool) {
		for b = bytes.TrimLeft(b, "\n"); len(b) > 0; b = bytes.TrimLeft(b, "\n") {
			head, rest, ok := bytes.Cut(b, []byte("\n\n"))
			n := bytes.IndexByte(rest, 0)
			if length := headLength(head); length >= 0 {
				n = length
			}
			if !ok || n < 0 || n >= len(rest) || !yield(head, rest[:n]) {
				return
			}
			b = rest[n+1:]
		}
	}
}

// Cut cuts the first of encoded frames off, with the LF behind it, or the
// heart-beats in front of it. What is no frame comes in one piece.
func Cut(b []byte) (first, rest []byte) {
	if beats := len(b) - len(bytes.TrimLeft(b, "\n")); beats > 0 {
		return b[:beats:beats], b[beats:]
	}
	head, body, ok := bytes.Cut(b, []byte("\n\n"))
	n := headLength(head)
	if n < 0 {
		n = bytes.IndexByte(body, 0)
	}
	if !ok || n < 0 || n >= len(body) {
		return b, nil
	}
	end := len(head) + 2 + n + 1
	if end < len(b) && b[end] == '\n' {
		end++
	}
	return b[:end:end], b[end:]
}

// headLength returns the content-length that header lines give, -1 without.
func headLength(head []byte) int {
	_, value, ok := bytes.Cut(head, []byte("\ncontent-length:"))
	if !ok {
		return -1
	}
	value, _, _ = bytes.Cut(value, []byte{'\n'})
	n, ok := readLength(value, math.MaxInt32)
	if !ok {
		return -1
	}
	return n
}

// AppendBody appends the end of the headers, the body and the end of the frame.
func AppendBody[T string | []byte](dst []byte, body T) []byte {
	dst = append(dst, '\n')
	dst = append(dst, body...)
	return append(dst, End...)
}
