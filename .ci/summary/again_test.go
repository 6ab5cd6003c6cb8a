package main

import (
	"io"
	"regexp"
	"strings"
	"testing"
)

// lines makes the output of a go test: each argument is package, test, action and
// what the test said before.
func lines(events ...[4]string) string {
	var b strings.Builder
	for _, e := range events {
		if e[3] != "" {
			b.WriteString(`{"Action":"output","Package":"` + e[0] + `","Test":"` + e[1] + `","Output":"` + e[3] + `\n"}` + "\n")
		}
		b.WriteString(`{"Action":"` + e[2] + `","Package":"` + e[0] + `","Test":"` + e[1] + `"}` + "\n")
	}
	return b.String()
}

func TestAgain(t *testing.T) {
	failed := lines([4]string{"x/cluster", "TestA/part", "fail", "too late"}, [4]string{"x/cluster", "TestA", "fail", ""},
		[4]string{"x/cluster", "TestB", "pass", ""}, [4]string{"x/cluster", "", "fail", ""})
	passes := lines([4]string{"x/cluster", "TestA/part", "pass", ""}, [4]string{"x/cluster", "TestA", "pass", ""}, [4]string{"x/cluster", "", "pass", ""})
	for _, c := range []struct {
		name, first, second string
		runs                int
		whole               bool
	}{
		{"it passes by itself", failed, passes, 1, true},
		{"it fails by itself", failed, failed, 1, false},
		{"by itself it is not found", failed, lines([4]string{"x/cluster", "", "pass", ""}), 1, false},
		{"by itself nothing comes", failed, "", 1, false},
		{"another package", strings.ReplaceAll(failed, "cluster", "shard"), passes, 0, false},
		{"a race", strings.ReplaceAll(failed, "too late", "WARNING: DATA RACE"), passes, 0, false},
		{"a panic", strings.ReplaceAll(failed, "too late", "panic: oh"), passes, 0, false},
		{"a broken promise", strings.ReplaceAll(failed, "too late", "    ledger_test.go:113: breach: confirmed and lost: got 1, want none: a:7"), passes, 0, false},
		{"a client that was told of one", strings.ReplaceAll(failed, "too late", "    x_test.go:1: the node said: breach: x"), passes, 1, true},
		{"a package without a test", lines([4]string{"x/cluster", "TestB", "pass", ""}, [4]string{"x/cluster", "", "fail", ""}), passes, 0, false},
		{"one did not end", lines([4]string{"x/cluster", "TestA", "fail", ""}) + `{"Action":"output","Package":"x/cluster","Test":"TestC","Output":"x"}` + "\n" +
			lines([4]string{"x/cluster", "", "fail", ""}), passes, 0, false},
		{"too many", lines([4]string{"x/cluster", "TestA", "fail", ""}, [4]string{"x/cluster", "TestB", "fail", ""}, [4]string{"x/cluster", "TestC", "fail", ""},
			[4]string{"x/cluster", "TestD", "fail", ""}), passes, 0, false},
		{"nothing failed", passes, passes, 0, true},
		{"it passes by itself, and go test told its exit", failed + "go test: exit 1\n", passes, 1, true},
		{"go test was killed", failed + "go test: exit 137\n", passes, 1, false},
		{"go test failed without a reason", passes + "go test: exit 1\n", passes, 0, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			var out strings.Builder
			s := newSummary(&out, "")
			if err := s.read(strings.NewReader(c.first)); err != nil {
				t.Fatal(err)
			}
			sum, runs := s.passed+s.failed, 0
			s.again(regexp.MustCompile("cluster$"), func(_ failure, w io.Writer) {
				runs++
				_, _ = io.WriteString(w, c.second)
			})
			s.close()
			if runs != c.runs || s.whole() != c.whole || s.passed+s.failed != sum {
				t.Errorf("got %d runs, whole %t, want %d, %t; said:\n%s", runs, s.whole(), c.runs, c.whole, out.String())
			}
			if got := strings.Contains(out.String(), "2 of them at the second run"); got != (c.second == passes && runs > 0) {
				t.Errorf("said:\n%s", out.String())
			}
		})
	}
}
