package amqp

import (
	"cmp"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
)

//go:generate go test -run ^TestEveryAssertionHasATest$ . -update

const (
	manual     = "../../docs/amqp.md"
	tableStart = "<!-- assertions: written by make docs -->\n"
	tableEnd   = "<!-- end -->\n"
)

// assertion is a line of assertions.txt.
type assertion struct {
	id            int
	clause, words string
}

func readAssertions(t *testing.T) []assertion {
	t.Helper()
	b, err := os.ReadFile("assertions.txt")
	if err != nil {
		t.Fatal(err)
	}
	var all []assertion
	for line := range strings.Lines(string(b)) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		f := strings.Split(line, "\t")
		id, err := strconv.Atoi(f[0])
		if err != nil || len(f) != 3 || id != len(all)+1 {
			t.Fatalf("cannot read %q of assertions.txt", line)
		}
		all = append(all, assertion{id, f[1], f[2]})
	}
	return all
}

var (
	marks   = regexp.MustCompile(`\[(\d{1,3})\]`)
	abroad  = regexp.MustCompile(`\[amqp (\d{1,3})\]`) // in the tests of other packages
	scripts = regexp.MustCompile(`script\(t, "(\w+)"\)`)
)

// marked returns the numbers in brackets of a text.
func marked(mark *regexp.Regexp, text string) []int {
	var ids []int
	for _, m := range mark.FindAllStringSubmatch(text, -1) {
		id, err := strconv.Atoi(m[1])
		if err == nil {
			ids = append(ids, id)
		}
	}
	return ids
}

// testsOfAssertions finds the tests that name each assertion: in a comment of
// theirs, or in a comment of the transcript that they play.
func testsOfAssertions(t *testing.T) map[int][]string {
	t.Helper()
	found := make(map[int]map[string]struct{})
	for _, dir := range []string{".", "wire", "frames", "message", "../../gateway", "../../gateway/websock", "../../integration"} {
		mark := marks
		if strings.HasPrefix(dir, "..") {
			mark = abroad
		}
		paths, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range paths {
			if path == "table_test.go" {
				continue
			}
			scan(t, path, func(test, text string) {
				for _, id := range marked(mark, text) {
					if found[id] == nil {
						found[id] = make(map[string]struct{})
					}
					found[id][test] = struct{}{}
				}
			})
		}
	}
	tests := make(map[int][]string, len(found))
	for id, names := range found {
		tests[id] = slices.Sorted(maps.Keys(names))
	}
	return tests
}

// scan calls f with each test function of a file and the comments in it, and in
// the transcript that it plays.
func scan(t *testing.T, path string, f func(test, text string)) {
	t.Helper()
	src, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	file, err := parser.ParseFile(token.NewFileSet(), path, src, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range file.Decls {
		fn, ok := d.(*ast.FuncDecl)
		if !ok || fn.Recv != nil || !strings.HasPrefix(fn.Name.Name, "Test") && !strings.HasPrefix(fn.Name.Name, "Fuzz") {
			continue
		}
		if fn.Doc != nil {
			f(fn.Name.Name, fn.Doc.Text())
		}
		for _, group := range file.Comments {
			if group.Pos() >= fn.Pos() && group.End() <= fn.End() {
				f(fn.Name.Name, group.Text())
			}
		}
		body := src[fn.Pos()-file.FileStart : fn.End()-file.FileStart]
		for _, m := range scripts.FindAllSubmatch(body, -1) {
			f(fn.Name.Name, commentsOf(t, string(m[1])))
		}
	}
}

// commentsOf returns the comments of a transcript.
func commentsOf(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name+".txt"))
	if err != nil {
		t.Fatal(err)
	}
	var comments strings.Builder
	for line := range strings.Lines(string(b)) {
		if strings.HasPrefix(line, "#") {
			comments.WriteString(line)
		}
	}
	return comments.String()
}

// TestEveryAssertionHasATest fails when an assertion has no test, when a test
// names one that there is not, and when the table in docs/amqp.md is old.
func TestEveryAssertionHasATest(t *testing.T) {
	all, tests := readAssertions(t), testsOfAssertions(t)
	var table strings.Builder
	table.WriteString("\n| | clause | what | shown by |\n|---|---|---|---|\n")
	for _, a := range all {
		if len(tests[a.id]) == 0 {
			t.Errorf("assertion %d (%s) has no test: %s", a.id, a.clause, a.words)
		}
		names := make([]string, 0, len(tests[a.id]))
		for _, n := range tests[a.id] {
			names = append(names, "`"+n+"`")
		}
		fmt.Fprintf(&table, "| %d | %s | %s | %s |\n", a.id, a.clause, a.words, strings.Join(names, " "))
	}
	table.WriteString("\n")
	for _, id := range slices.SortedFunc(maps.Keys(tests), cmp.Compare) {
		if id < 1 || id > len(all) {
			t.Errorf("%v name assertion %d, and there is none", tests[id], id)
		}
	}
	b, err := os.ReadFile(manual)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, ok := strings.Cut(string(b), tableStart)
	old, tail, whole := strings.Cut(rest, tableEnd)
	if !ok || !whole {
		t.Fatalf("%s has no place for the table", manual)
	}
	if *update {
		if err := os.WriteFile(manual, []byte(head+tableStart+table.String()+tableEnd+tail), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	if d := gocmp.Diff(strings.Split(old, "\n"), strings.Split(table.String(), "\n")); d != "" {
		t.Errorf("the table of %s is old, renew it with make docs (-have +want):\n%s", manual, d)
	}
}
