// Package golden reads the files of bytes and what they mean that the tests of
// the AMQP codecs share. It knows no encoding.
//
// A case is a group of lines, set apart by empty lines:
//
//	# what the case shows
//	52 01     # hex, with comments
//	= uint 1  # what it means; may take several lines
//	> 70 ...  # our own encoding, when it is another one
//	! text    # instead of a meaning: part of the error
package golden

import (
	"bufio"
	"encoding/hex"
	"fmt"
	"os"
	"strings"
)

// Case is one case of a file.
type Case struct {
	Name  string
	Bytes []byte
	Want  string // the meaning, lines joined by a newline
	Own   []byte // our own encoding; Bytes unless the file says otherwise
	Error string // part of the error's text; empty when there is a meaning
}

// Read reads the cases of a file.
func Read(path string) ([]Case, error) {
	f, err := os.Open(path) //nolint:gosec // the path is a test's
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // only read
	var cases []Case
	c := new(Case)
	s := bufio.NewScanner(f)
	for n := 1; s.Scan(); n++ {
		line := strings.TrimSpace(s.Text())
		if line == "" {
			cases, c = c.appendTo(cases), new(Case)
			continue
		}
		if err := c.line(line); err != nil {
			return nil, fmt.Errorf("%s:%d: %w", path, n, err)
		}
	}
	return c.appendTo(cases), s.Err()
}

func (c *Case) appendTo(cases []Case) []Case {
	if c.Want == "" && c.Error == "" {
		return cases
	}
	if c.Own == nil {
		c.Own = c.Bytes
	}
	return append(cases, *c)
}

func (c *Case) line(line string) (err error) {
	rest := strings.TrimSpace(line[1:])
	switch line[0] {
	case '#':
		c.Name = strings.TrimSpace(c.Name + " " + rest)
	case '=':
		if c.Want != "" {
			c.Want += "\n"
		}
		c.Want += rest
	case '!':
		c.Error = rest
	case '>':
		c.Own, err = appendHex(c.Own, rest)
	default:
		c.Bytes, err = appendHex(c.Bytes, line)
	}
	return err
}

func appendHex(dst []byte, line string) ([]byte, error) {
	line, _, _ = strings.Cut(line, "#")
	return hex.AppendDecode(dst, []byte(strings.Join(strings.Fields(line), "")))
}
