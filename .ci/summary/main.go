// Command summary reads the JSON of go test on standard input. It passes on the
// lines of the packages, and everything that a failed test said, then counts:
// passed, failed, and skipped with the reasons. It ends with 1 if something failed.
//
// A line of a test with "progress:" is passed on at once, one with "measured:" when
// its test has passed. With -table HEAD the lines with "figure:" are printed as a
// table at the end, instead of what was measured, and each test says how long it took.
//
// The arguments are the command that runs one test by itself, with its JSON: the
// tests of -clocked packages that failed run once more with it (again.go).
package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
)

// event is one line of `go test -json` (go doc test2json).
type event struct {
	Action     string
	Package    string
	ImportPath string
	Test       string
	Output     string
	Elapsed    float64 // seconds, of the end of a test
}

// failure is a test that failed, or a package, of which the test is empty.
type failure struct {
	pkg, test string
	how       string // it did not end, or was not built
	fatal     bool   // another run would prove nothing
}

func (f failure) String() string { return strings.TrimSpace(f.pkg + " " + f.test + " " + f.how) }

// summary is what was seen so far.
type summary struct {
	out                     io.Writer
	head                    string   // of the table; none is printed without it
	figures                 []string // its rows
	passed, failed, skipped int
	packages                int
	broken                  []failure           // packages and tests that failed
	second                  int                 // tests of those that passed, at their second run
	exit                    int                 // of the go test, where its caller tells it
	said                    map[string][]string // output of tests that still run
	reasons                 map[string][]string // reason of a skip → tests
}

func main() {
	head := flag.String("table", "", "head of the table of figures, with | between its columns")
	clocked := flag.String("clocked", "^$", "packages whose tests run against the clock, a pattern")
	flag.Parse()
	s := newSummary(os.Stdout, *head)
	if err := s.read(os.Stdin); err != nil {
		fmt.Fprintln(os.Stderr, "summary:", err)
		os.Exit(1)
	}
	if flag.NArg() > 0 {
		s.again(regexp.MustCompile(*clocked), runner(flag.Args()))
	}
	s.close()
	if !s.whole() {
		os.Exit(1)
	}
}

func newSummary(out io.Writer, head string) *summary {
	return &summary{out: out, head: head, said: map[string][]string{}, reasons: map[string][]string{}}
}

// read takes the output of a go test in.
func (s *summary) read(from io.Reader) error {
	in := bufio.NewScanner(from)
	in.Buffer(nil, 64<<20)
	for in.Scan() {
		var e event
		if err := json.Unmarshal(in.Bytes(), &e); err != nil {
			if _, err := fmt.Sscanf(in.Text(), "go test: exit %d", &s.exit); err != nil {
				fmt.Fprintln(s.out, in.Text()) // words of the go command itself
			}
			continue
		}
		s.add(e)
	}
	return in.Err()
}

// whole says whether something was tested and nothing failed. A go test that ended
// with an error has to have a reason that is known here.
func (s *summary) whole() bool {
	excused := s.exit == 0 || s.exit == 1 && s.second > 0
	return s.failed == 0 && len(s.broken) == 0 && s.packages > 0 && excused
}

// add takes one event in.
func (s *summary) add(e event) {
	key := e.Package + "." + e.Test
	switch e.Action {
	case "output":
		if e.Test == "" {
			if e.Output != "PASS\n" && !strings.HasPrefix(e.Output, "-test.shuffle") {
				fmt.Fprint(s.out, e.Output)
			}
			return
		}
		if _, text, ok := strings.Cut(e.Output, "progress: "); ok {
			fmt.Fprint(s.out, "    ", text)
		}
		if _, row, ok := strings.Cut(e.Output, "figure: "); ok {
			s.figures = append(s.figures, strings.TrimSpace(row))
		}
		s.said[key] = append(s.said[key], e.Output)
	case "build-output":
		fmt.Fprint(s.out, e.Output)
	case "build-fail":
		s.broken = append(s.broken, failure{pkg: e.ImportPath, how: "(build)", fatal: true})
	case "pass", "fail", "skip":
		s.end(e, key)
	}
}

// end takes the end of a test or a package in.
func (s *summary) end(e event, key string) {
	said := s.said[key]
	delete(s.said, key)
	if s.head != "" && e.Test != "" && !strings.Contains(e.Test, "/") {
		fmt.Fprintf(s.out, "%-4s  %s, %.0f s\n", e.Action, e.Test, e.Elapsed)
	}
	switch {
	case e.Test == "" && e.Action == "fail":
		s.packages++
		s.broken = append(s.broken, failure{pkg: e.Package})
		s.unfinished(e.Package)
	case e.Test == "":
		s.packages++
	case e.Action == "pass":
		s.passed++
		s.measures(said)
	case e.Action == "fail":
		s.failed++
		s.broken = append(s.broken, failure{pkg: e.Package, test: e.Test, fatal: slices.ContainsFunc(said, certain)})
		fmt.Fprint(s.out, strings.Join(said, ""))
	default:
		s.skipped++
		r := reason(said)
		s.reasons[r] = append(s.reasons[r], e.Test)
	}
}

// unfinished prints what the tests of a package said that never ended: the
// process died, or ran out of time, while they ran.
func (s *summary) unfinished(pkg string) {
	for _, key := range slices.Sorted(maps.Keys(s.said)) {
		if strings.HasPrefix(key, pkg+".") {
			s.broken = append(s.broken, failure{pkg: pkg, test: key[len(pkg)+1:], how: "(did not end)", fatal: true})
			fmt.Fprint(s.out, strings.Join(s.said[key], ""))
			delete(s.said, key)
		}
	}
}

// measures passes on what a passed test measured: its lines with "measured:".
func (s *summary) measures(said []string) {
	if s.head != "" {
		return
	}
	for _, line := range said {
		if _, text, ok := strings.Cut(line, "measured: "); ok {
			fmt.Fprint(s.out, "    measured: ", text)
		}
	}
}

// reason is the last thing that a skipped test said.
func reason(said []string) string {
	for _, line := range slices.Backward(said) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "=== ") || strings.HasPrefix(line, "--- ") {
			continue
		}
		if _, text, ok := strings.Cut(line, ".go:"); ok {
			if _, text, ok = strings.Cut(text, ": "); ok {
				return text
			}
		}
		return line
	}
	return "no reason given"
}

// table prints the figures as Markdown.
func (s *summary) table() {
	if s.head == "" {
		return
	}
	fmt.Fprintf(s.out, "\n| %s |\n|%s\n", s.head, strings.Repeat("---|", strings.Count(s.head, "|")+1))
	for _, row := range s.figures {
		fmt.Fprintf(s.out, "| %s |\n", row)
	}
	fmt.Fprintln(s.out)
}

// close prints the table and the sums.
func (s *summary) close() {
	s.table()
	var reasons []string
	for r := range s.reasons {
		reasons = append(reasons, r)
	}
	slices.Sort(reasons)
	for _, r := range reasons {
		tests := s.reasons[r]
		fmt.Fprintf(s.out, "skipped %d: %s (%s)\n", len(tests), r, strings.Join(tests, ", "))
	}
	for _, b := range s.broken {
		fmt.Fprintf(s.out, "failed: %s\n", b)
	}
	second := ""
	if s.second > 0 {
		second = fmt.Sprintf(" (%d of them at the second run)", s.second)
	}
	fmt.Fprintf(s.out, "summary: %d packages, %d tests passed%s, %d failed, %d skipped\n",
		s.packages, s.passed, second, s.failed, s.skipped)
}
