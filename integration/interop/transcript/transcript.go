// Package transcript reads the conformance suite of STOMP: octets that a client
// sends, and octets that must come. It knows the files, and nothing of a server.
//
//	=== Clause_01 [versions] [dialects] [raw] [users] what is shown
//	> octets to send; | is LF, ^@ is NUL, ^M is CR, {x*3} is xxx
//	< octets that must come, behind those that were looked for before
//	! octets that must not have come so far
//	= closed, or open
//	$ what the broker or the clock does
//
// A digit in front is another client. @1.2, @artemis, @!strict in front of a line
// restrict it. {v} is the version, {:} a colon as the version writes it,
// {ACK id sub} the command and id lines of an acknowledgment.
package transcript

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Dialects are those that a case holds for unless it names some.
func Dialects() []string { return []string{"activemq", "artemis", "rabbitmq", "strict"} }

// Case is one case of the files.
type Case struct {
	File     string
	Clause   string
	Title    string
	Versions []string // empty: those of the clause
	Dialects []string // empty: all
	Raw      bool     // no CONNECT is sent for the case
	Users    bool     // alice alone is admitted, with the password a\nb:c
	Lines    []string
}

// Read reads the files *.txt of a folder.
func Read(folder string) ([]Case, error) {
	files, err := filepath.Glob(filepath.Join(folder, "*.txt"))
	if err != nil {
		return nil, err
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("no transcripts in %s", folder)
	}
	var all []Case
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		for part := range strings.SplitSeq(string(data), "\n=== ") {
			head, body, _ := strings.Cut(strings.TrimPrefix(part, "=== "), "\n")
			words := strings.Fields(head)
			if len(words) == 0 {
				continue
			}
			c := Case{File: filepath.Base(file), Clause: words[0], Lines: strings.Split(strings.TrimSuffix(body, "\n"), "\n")}
			c.options(words[1:])
			all = append(all, c)
		}
	}
	return all, nil
}

// options reads the words behind the clause; the title begins at the first one
// that is no option.
func (c *Case) options(words []string) {
	for i, w := range words {
		switch {
		case w == "raw":
			c.Raw = true
		case w == "users":
			c.Users = true
		case w == "1.0" || w == "1.1" || w == "1.2":
			c.Versions = append(c.Versions, w)
		case slices.Contains(Dialects(), w):
			c.Dialects = append(c.Dialects, w)
		default:
			c.Title = strings.Join(words[i:], " ")
			return
		}
	}
}

// Holds reports whether the case is about a version and a dialect; ofClause are
// the versions of its clause.
func (c *Case) Holds(version, dialect string, ofClause []string) bool {
	versions := c.Versions
	if len(versions) == 0 {
		versions = ofClause
	}
	return slices.Contains(versions, version) && (len(c.Dialects) == 0 || slices.Contains(c.Dialects, dialect))
}

// Kinds of steps.
const (
	Send   = ">"
	Want   = "<"
	Never  = "!"
	State  = "="
	Direct = "$"
)

// Step is a line that applies.
type Step struct {
	Who  string // "", "2" or "3"
	Kind string
	Text string // of Send, Want and Never: to be expanded
}

var stepLine = regexp.MustCompile(`^(2|3|)([><!=$]) ?(.*)$`)

// Steps returns the lines that apply to a version and a dialect.
func (c *Case) Steps(version, dialect string) ([]Step, error) {
	var all []Step
	for _, line := range c.Lines {
		if line = applies(line, version, dialect); line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		m := stepLine.FindStringSubmatch(line)
		if m == nil {
			return nil, fmt.Errorf("%s: what is %q?", c.File, line)
		}
		all = append(all, Step{m[1], m[2], m[3]})
	}
	return all, nil
}

// applies returns the line without its conditions, or nothing if one fails.
func applies(line, version, dialect string) string {
	for strings.HasPrefix(line, "@") {
		cond, rest, _ := strings.Cut(line[1:], " ")
		want := true
		if after, ok := strings.CutPrefix(cond, "!"); ok {
			cond, want = after, false
		}
		has := slices.ContainsFunc(strings.Split(cond, ","), func(s string) bool { return s == version || s == dialect })
		if has != want {
			return ""
		}
		line = rest
	}
	return line
}

var (
	repeated = regexp.MustCompile(`\{(.)\*(\d+)\}`)
	ackMacro = regexp.MustCompile(`\{(N?ACK) (\S+) (\S+)\}`)
)

// slowly in front of a Send asks for it byte by byte.
const slowly = "byte by byte"

// Expand turns the text of a step into octets, and says whether they are to be
// sent one by one.
func (s *Step) Expand(version string) (octets string, oneByOne bool) {
	text, oneByOne := strings.CutPrefix(s.Text, slowly)
	if oneByOne {
		text = strings.TrimPrefix(text, " ")
	}
	text = repeated.ReplaceAllStringFunc(text, func(m string) string {
		parts := repeated.FindStringSubmatch(m)
		n, _ := strconv.Atoi(parts[2]) // digits, by the pattern
		return strings.Repeat(parts[1], n)
	})
	text = ackMacro.ReplaceAllStringFunc(text, func(m string) string {
		parts := ackMacro.FindStringSubmatch(m)
		switch version {
		case "1.2":
			return parts[1] + "|id:" + parts[2]
		case "1.1":
			return parts[1] + "|message-id:" + parts[2] + "|subscription:" + parts[3]
		}
		return parts[1] + "|message-id:" + parts[2]
	})
	colon := `\c`
	if version == "1.0" {
		colon = ":"
	}
	return strings.NewReplacer("{v}", version, "{:}", colon, "|", "\n", "^@", "\x00", "^M", "\r", "^X", "\x16", "^F", "\xff").Replace(text), oneByOne
}

// Connect is what a client sends first, unless the case is raw.
func Connect(version string) string {
	if version == "1.0" {
		return "CONNECT\n\n\x00"
	}
	return "CONNECT\naccept-version:" + version + "\nhost:/\n\n\x00"
}
