package main

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
)

// A test of a real cluster runs against the clock, and now and then a machine that
// others use as well gives it no time for seconds. So a few such tests that failed
// may run once more, each by itself. What they said is printed, and they are counted.
// A race, a panic, a test that did not end or a promise that was broken ("breach:", as
// the tests of integration say of a message that was lost) is certain: it fails at once.

// mostAgain is how many tests may fail and run again: more are not bad luck.
const mostAgain = 3

// certain says whether a line of a test shows what no other run can excuse.
func certain(line string) bool {
	return strings.Contains(line, "DATA RACE") || strings.HasPrefix(strings.TrimSpace(line), "panic: ") ||
		strings.Contains(line, "race detected during execution") || breach.MatchString(line)
}

// breach is how a test says that a promise was broken, behind its file and line.
var breach = regexp.MustCompile(`\.go:\d+: breach: `)

// runner returns what runs one test of a package by a command, and hands on its JSON.
func runner(command []string) func(f failure, out io.Writer) {
	return func(f failure, out io.Writer) {
		args := append(slices.Clone(command[1:]), "-run", "^"+regexp.QuoteMeta(f.test)+"$", f.pkg)
		c := exec.Command(command[0], args...)
		c.Stdout, c.Stderr = out, os.Stderr
		_ = c.Run() // its events tell how it ended
	}
}

// again runs the tests that failed once more, if all that failed are a few tests of
// clocked packages. The parts of a test that failed count with it.
func (s *summary) again(clocked *regexp.Regexp, run func(failure, io.Writer)) {
	var tests []failure
	for _, f := range s.broken {
		if f.fatal || !clocked.MatchString(f.pkg) || f.test == "" && !s.explained(f.pkg) {
			return
		}
		if f.test != "" && !strings.Contains(f.test, "/") {
			tests = append(tests, f)
		}
	}
	if len(tests) > mostAgain {
		return
	}
	for _, f := range tests {
		second := newSummary(s.out, s.head)
		in, out := io.Pipe()
		go func() {
			run(f, out)
			_ = out.Close()
		}()
		if err := second.read(in); err != nil || !second.whole() || second.passed == 0 {
			fmt.Fprintf(s.out, "again: %s failed by itself as well\n", f)
			continue
		}
		fmt.Fprintf(s.out, "again: %s failed among the others, see above, and passed by itself\n", f)
		s.forgive(f, second)
	}
}

// explained says whether a package failed by one of its tests.
func (s *summary) explained(pkg string) bool {
	return slices.ContainsFunc(s.broken, func(f failure) bool { return f.pkg == pkg && f.test != "" })
}

// forgive counts a test, and its parts, as passed.
func (s *summary) forgive(test failure, second *summary) {
	before := len(s.broken)
	s.broken = slices.DeleteFunc(s.broken, func(f failure) bool {
		return f.pkg == test.pkg && (f.test == test.test || strings.HasPrefix(f.test, test.test+"/"))
	})
	n := before - len(s.broken)
	s.failed -= n
	s.passed += n
	s.second += n
	s.figures = append(s.figures, second.figures...)
	if !s.explained(test.pkg) {
		s.broken = slices.DeleteFunc(s.broken, func(f failure) bool { return f.pkg == test.pkg })
	}
}
