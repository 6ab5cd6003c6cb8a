package config

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Size is a number of bytes, spelled with a unit or without: "4MiB", "64kB", "512".
type Size int

var sizeUnits = []struct {
	name  string
	bytes int64
}{
	// The longer names first: "MiB" ends in "B" too.
	{"KiB", 1 << 10},
	{"MiB", 1 << 20},
	{"GiB", 1 << 30},
	{"TiB", 1 << 40},
	{"kB", 1e3},
	{"KB", 1e3},
	{"MB", 1e6},
	{"GB", 1e9},
	{"B", 1},
}

// UnmarshalText reads a size.
func (s *Size) UnmarshalText(text []byte) error {
	digits, unit := strings.TrimSpace(string(text)), int64(1)
	for _, u := range sizeUnits {
		if n, ok := strings.CutSuffix(digits, u.name); ok {
			digits, unit = strings.TrimSpace(n), u.bytes
			break
		}
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || n < 0 || n > math.MaxInt/unit {
		return fmt.Errorf("%q is not a size: write for example 4MiB or 65536", text)
	}
	*s = Size(n * unit)
	return nil
}

// String returns the shortest exact spelling.
func (s Size) String() string {
	for _, u := range []string{"TiB", "GiB", "MiB", "KiB"} {
		for _, k := range sizeUnits {
			if k.name == u && s > 0 && int64(s)%k.bytes == 0 {
				return strconv.FormatInt(int64(s)/k.bytes, 10) + u
			}
		}
	}
	return strconv.Itoa(int(s))
}

// Sync says when the logs are forced to disk. The zero value means before each
// confirmation.
type Sync struct {
	Interval time.Duration // zero: always
}

// UnmarshalText reads "always" or an interval.
func (s *Sync) UnmarshalText(text []byte) error {
	if string(text) == "always" {
		*s = Sync{}
		return nil
	}
	d, err := time.ParseDuration(string(text))
	if err != nil || d <= 0 {
		return fmt.Errorf("%q is neither always nor an interval: write for example 100ms", text)
	}
	s.Interval = d
	return nil
}

// String returns the spelling that UnmarshalText reads.
func (s Sync) String() string {
	if s.Interval == 0 {
		return "always"
	}
	return s.Interval.String()
}

// Switch is on or off, and always spelled out: "--storage false". It is no bool,
// because a flag of that kind takes no value.
type Switch struct{ On bool }

// UnmarshalText reads "true" or "false".
func (s *Switch) UnmarshalText(text []byte) error {
	switch string(text) {
	case "true":
		s.On = true
	case "false":
		s.On = false
	default:
		return fmt.Errorf("%q is neither true nor false", text)
	}
	return nil
}

// List is several words with commas between them. A comma inside parentheses
// separates nothing: "static:(tcp://a,tcp://b)" is one word.
type List []string

// UnmarshalText reads a list.
func (l *List) UnmarshalText(text []byte) error {
	var words []string
	depth, start := 0, 0
	s := string(text)
	add := func(end int) {
		if w := strings.TrimSpace(s[start:end]); w != "" {
			words = append(words, w)
		}
		start = end + 1
	}
	for i, r := range s {
		switch {
		case r == '(':
			depth++
		case r == ')':
			depth--
		case r == ',' && depth == 0:
			add(i)
		}
	}
	if depth != 0 {
		return errors.New("a parenthesis is not closed")
	}
	add(len(s))
	*l = words
	return nil
}

// String returns the spelling that UnmarshalText reads.
func (l List) String() string { return strings.Join(l, ",") }
