package house

import (
	"bytes"
	"go/ast"
	"go/scanner"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"unicode"
)

// maxLines is how many lines of code a file may have, comments and empty lines apart.
const maxLines = 500

func TestEveryPackageHasAComment(t *testing.T) {
	comments, product := map[string]string{}, map[string]bool{}
	for _, s := range sources(t) {
		if s.test {
			continue
		}
		product[s.folder] = true
		if s.file.Doc == nil {
			continue
		}
		if other, ok := comments[s.folder]; ok {
			t.Errorf("%s: a second package comment, the first is in %s", s.path, other)
		}
		comments[s.folder] = s.path
		want := "Package " + s.file.Name.Name + " "
		if s.file.Name.Name == "main" {
			want = "Command "
		}
		if text := s.file.Doc.Text(); !strings.HasPrefix(text, want) {
			t.Errorf("%s: package comment: got %q, want it to start with %q", s.path, strings.SplitN(text, "\n", 2)[0], want)
		}
	}
	for folder := range product {
		if comments[folder] == "" {
			t.Errorf("%s: no package comment", folder)
		}
	}
}

func TestFilesStayShort(t *testing.T) {
	for _, s := range sources(t) {
		if n := codeLines(t, s.path); n > maxLines {
			t.Errorf("%s: got %d lines of code, want at most %d: it holds more than one idea", s.path, n, maxLines)
		}
	}
}

// codeLines counts the lines that hold a token.
func codeLines(t *testing.T, path string) int {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, path))
	if err != nil {
		t.Fatal(err)
	}
	set := token.NewFileSet()
	file := set.AddFile(path, -1, len(text))
	var sc scanner.Scanner
	sc.Init(file, text, nil, 0)
	lines := map[int]bool{}
	for {
		pos, tok, lit := sc.Scan()
		if tok == token.EOF {
			return len(lines)
		}
		if tok == token.SEMICOLON && lit == "\n" {
			continue
		}
		first := file.Line(pos)
		for i := range strings.Count(lit, "\n") + 1 {
			lines[first+i] = true
		}
	}
}

// Sleeping hides a missing event. Code waits for one, tests of timers run in
// testing/synctest.
func TestNobodySleeps(t *testing.T) {
	for _, s := range sources(t) {
		ast.Inspect(s.file, func(n ast.Node) bool {
			if sel, ok := n.(*ast.SelectorExpr); ok && sel.Sel.Name == "Sleep" {
				if x, ok := sel.X.(*ast.Ident); ok && x.Name == "time" {
					t.Errorf("%s: time.Sleep: wait for an event", s.where(n))
				}
			}
			return true
		})
	}
}

// unfinished are the words that mark work left for later. They are spelled in
// two parts, so that this file does not find itself.
var unfinished = regexp.MustCompile(`\b(TO` + `DO|FIX` + `ME|X` + `XX|HA` + `CK)\b`)

func TestNothingIsLeftForLater(t *testing.T) {
	err := walk(func(path string) error {
		switch filepath.Ext(path) {
		case ".go", ".md", ".yaml", ".yml", ".sh", ".py", "":
		default:
			return nil
		}
		text, err := os.ReadFile(filepath.Join(root, path))
		if err != nil || !unfinished.Match(text) {
			return err
		}
		for i, line := range bytes.Split(text, []byte("\n")) {
			if word := unfinished.Find(line); word != nil {
				t.Errorf("%s:%d: %s: finish it, or write an issue", path, i+1, word)
			}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// fileName is a noun in lower case; _test, and an operating system, may follow.
var fileName = regexp.MustCompile(`^[a-z][a-z0-9]*(_(linux|unix|windows|darwin|other))?(_test)?\.go$`)

func TestFilesAreNamedByANoun(t *testing.T) {
	for _, s := range sources(t) {
		if name := filepath.Base(s.path); !fileName.MatchString(name) {
			t.Errorf("%s: file name: got %s, want lower case without hyphen or underscore", s.path, name)
		}
	}
}

// levels are the methods that begin an event of a zerolog.Logger.
var levels = map[string]bool{
	"Trace": true, "Debug": true, "Info": true, "Warn": true, "Error": true,
	"Err": true, "Fatal": true, "Panic": true, "WithLevel": true, "Log": true,
}

// translators are the files whose log messages come from a table of constants,
// because they translate what another library logs.
var translators = map[string]bool{"cluster/serverlog.go": true}

// A message of the log is a constant in lower case, without a full stop; what
// varies is a field.
func TestLogMessagesAreConstant(t *testing.T) {
	for _, s := range sources(t) {
		if s.test || translators[s.path] {
			continue
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			if call, ok := n.(*ast.CallExpr); ok {
				checkLog(t, s, call)
			}
			return true
		})
	}
}

func checkLog(t *testing.T, s source, call *ast.CallExpr) {
	t.Helper()
	sel, ok := call.Fun.(*ast.SelectorExpr)
	if !ok || sel.Sel.Name != "Msg" && sel.Sel.Name != "Msgf" || !beginsEvent(sel.X) {
		return
	}
	if sel.Sel.Name == "Msgf" {
		t.Errorf("%s: Msgf: variables are fields, the message is constant", s.where(call))
		return
	}
	lit, ok := call.Args[0].(*ast.BasicLit)
	if !ok {
		t.Errorf("%s: the message of a log line must be a literal", s.where(call))
		return
	}
	text, err := strconv.Unquote(lit.Value)
	if err != nil || text == "" {
		t.Errorf("%s: a log line without words", s.where(call))
		return
	}
	// A name in capitals (STOMP, AMQP) may begin a message, a sentence may not.
	runes := []rune(text)
	if unicode.IsUpper(runes[0]) && (len(runes) == 1 || !unicode.IsUpper(runes[1])) || strings.HasSuffix(text, ".") {
		t.Errorf("%s: log message: got %q, want lower case and no full stop", s.where(call), text)
	}
}

// beginsEvent reports whether a chain of calls begins with a level.
func beginsEvent(e ast.Expr) bool {
	for {
		call, ok := e.(*ast.CallExpr)
		if !ok {
			return false
		}
		sel, ok := call.Fun.(*ast.SelectorExpr)
		if !ok {
			return false
		}
		if levels[sel.Sel.Name] {
			return true
		}
		e = sel.X
	}
}
