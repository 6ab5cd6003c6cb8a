package stomp

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

//go:generate go test -run ^TestEveryClauseHasItsTests$ -update .

// clause is one demand on a server.
type clause struct {
	id       string
	versions []string
	level    string
	text     string
	tests    []string // as the table shows them
}

var clauseLine = regexp.MustCompile(`^([A-Z][A-Za-z]+_\d\d) ((?:1\.[012] )+)(must|should|may|field) (.+)$`)

// clauses reads the list.
func clauses(tb testing.TB) map[string]clause {
	tb.Helper()
	all := make(map[string]clause)
	for _, c := range clauseList(tb) {
		all[c.id] = c
	}
	return all
}

func clauseList(tb testing.TB) []clause {
	tb.Helper()
	data, err := os.ReadFile("testdata/clauses.txt")
	if err != nil {
		tb.Fatal(err)
	}
	var list []clause
	for line := range strings.Lines(string(data)) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		m := clauseLine.FindStringSubmatch(line)
		if m == nil {
			tb.Fatalf("clauses.txt: %q is not understood", line)
		}
		list = append(list, clause{id: m[1], versions: strings.Fields(m[2]), level: m[3], text: m[4]})
	}
	return list
}

// clauseTest is a test that names a clause: TestSTOMP12_Send_08_…, or with 10 or
// 11; TestSTOMP_ is one for every version.
var clauseTest = regexp.MustCompile(`(?m)^func (TestSTOMP(?:10|11|12)?_([A-Z][A-Za-z]+_\d\d)\w*)\(`)

// A test of another part has its clauses in its comment: [stomp Send_08].
var (
	marked = regexp.MustCompile(`(?m)((?:^//.*\n)+)^func (Test\w+)\(`)
	mark   = regexp.MustCompile(`\[stomp ([A-Z][A-Za-z]+_\d\d)\]`)
)

// testsOf returns the clauses of each test in a file.
func testsOf(text []byte) (clauses [][2]string) {
	for _, m := range clauseTest.FindAllSubmatch(text, -1) {
		clauses = append(clauses, [2]string{string(m[2]), string(m[1])})
	}
	for _, m := range marked.FindAllSubmatch(text, -1) {
		for _, id := range mark.FindAllSubmatch(m[1], -1) {
			clauses = append(clauses, [2]string{string(id[1]), string(m[2])})
		}
	}
	return clauses
}

// addTests finds the tests of each clause.
func addTests(t *testing.T, list []clause) {
	t.Helper()
	at := make(map[string]*clause)
	for i := range list {
		if at[list[i].id] != nil {
			t.Errorf("clauses.txt: %s stands there twice", list[i].id)
		}
		at[list[i].id] = &list[i]
	}
	covered := make(map[string]map[string]int) // clause, file, cases
	for _, c := range conformanceCases(t) {
		if covered[c.Clause] == nil {
			covered[c.Clause] = make(map[string]int)
		}
		covered[c.Clause][c.File]++
	}
	for id, files := range covered {
		for file, n := range files {
			if c := at[id]; c != nil {
				c.tests = append(c.tests, fmt.Sprintf("%s (%d)", file, n))
			}
		}
	}
	for _, pattern := range []string{"*_test.go", "frame/*_test.go", "../../gateway/*_test.go", "../../gateway/*/*_test.go", "../../integration/*_test.go"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for _, x := range testsOf(text) {
				c := at[x[0]]
				if c == nil {
					t.Errorf("%s: %s names the clause %s, which is not in the list", file, x[1], x[0])
					continue
				}
				c.tests = append(c.tests, "`"+x[1]+"`")
			}
		}
	}
}

const (
	clausePage  = "../../docs/stomp.md"
	clauseBegin = "<!-- made from protocols/stomp/testdata/clauses.txt and the names of the tests: make docs -->\n"
	clauseEnd   = "<!-- end of what is made -->\n"
)

func clauseTable(list []clause) string {
	var b strings.Builder
	b.WriteString(clauseBegin)
	b.WriteString("\n| clause | versions | by | what | tests |\n|---|---|---|---|---|\n")
	for _, c := range list {
		slices.Sort(c.tests)
		text := strings.NewReplacer("|", `\|`, `\`, `\\`).Replace(c.text)
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", c.id, strings.Join(c.versions, " "), c.level, text, strings.Join(c.tests, ", "))
	}
	b.WriteString("\n" + clauseEnd)
	return b.String()
}

// Every demand has a test that bears its name, and docs/stomp.md says which.
func TestEveryClauseHasItsTests(t *testing.T) {
	list := clauseList(t)
	addTests(t, list)
	for _, c := range list {
		if len(c.tests) == 0 {
			t.Errorf("%s has no test: %s", c.id, c.text)
		}
	}
	page, err := os.ReadFile(clausePage)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := bytes.Cut(page, []byte(clauseBegin))
	_, after, ok2 := bytes.Cut(rest, []byte(clauseEnd))
	if !ok || !ok2 {
		t.Fatalf("%s has no place for the table", clausePage)
	}
	want := string(before) + clauseTable(list) + string(after)
	if *update {
		if err := os.WriteFile(clausePage, []byte(want), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(want, string(page)); diff != "" {
		t.Errorf("%s is stale, `make docs` makes it anew (-want +got):\n%s", clausePage, diff)
	}
}
