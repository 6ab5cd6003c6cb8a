package frame

import "bytes"

// escapes maps an octet to the letter that stands for it behind a backslash.
var escapes = [256]byte{'\\': '\\', '\n': 'n', ':': 'c', '\r': 'r'}

// unescape decodes b in place, in one pass from the left. cr says that \r is an
// escape, as in 1.2; many clients send it in 1.1 too. [STOMP 1.2 Value Encoding]
func unescape(b []byte, cr bool) ([]byte, error) {
	i := bytes.IndexByte(b, '\\')
	if i < 0 {
		return b, nil
	}
	n := i
	for ; i < len(b); i++ {
		c := b[i]
		if c == '\\' {
			i++
			if i == len(b) {
				return nil, &SyntaxError{Reason: "a backslash at the end of a header"}
			}
			switch {
			case b[i] == '\\':
				c = '\\'
			case b[i] == 'n':
				c = '\n'
			case b[i] == 'c':
				c = ':'
			case b[i] == 'r' && cr:
				c = '\r'
			default:
				return nil, &SyntaxError{Reason: "undefined escape sequence in a header"}
			}
		}
		b[n] = c
		n++
	}
	return b[:n], nil
}

// AppendEscaped appends s as versions 1.1 and 1.2 write it. CR is written \r in
// 1.1 too: a raw one breaks more clients.
func AppendEscaped[T string | []byte](dst []byte, s T) []byte {
	from := 0
	for i := range len(s) {
		if e := escapes[s[i]]; e != 0 {
			dst = append(dst, s[from:i]...)
			dst = append(dst, '\\', e)
			from = i + 1
		}
	}
	return append(dst, s[from:]...)
}

// Unescape returns the decoded form of an escaped header text; it copies only
// when there is something to decode.
func Unescape(b []byte) ([]byte, error) {
	if bytes.IndexByte(b, '\\') < 0 {
		return b, nil
	}
	return unescape(bytes.Clone(b), true)
}
