package house

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

const (
	module = "github.com/selvedge-mq/selvedge"
	root   = "../.."
)

// source is one Go file of the tree.
type source struct {
	path    string // from the root, with slashes
	folder  string // package path in the module, "." for the root
	test    bool
	file    *ast.File
	set     *token.FileSet
	imports []string
}

// sources returns every Go file of the module, those of the tools in .ci apart.
func sources(t *testing.T) []source {
	t.Helper()
	list, err := parsed()
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// parsed reads the tree for all rules at once: nobody changes it.
var parsed = sync.OnceValues(func() (list []source, err error) {
	set := token.NewFileSet()
	err = walk(func(path string) error {
		if !strings.HasSuffix(path, ".go") {
			return nil
		}
		file, err := parser.ParseFile(set, filepath.Join(root, path), nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		s := source{
			path: path, folder: filepath.ToSlash(filepath.Dir(path)),
			test: strings.HasSuffix(path, "_test.go"), file: file, set: set,
		}
		for _, i := range file.Imports {
			name, err := strconv.Unquote(i.Path.Value)
			if err != nil {
				return fmt.Errorf("%s: %w", path, err)
			}
			s.imports = append(s.imports, name)
		}
		list = append(list, s)
		return nil
	})
	return list, err
})

// walk calls f for each file, by its path from the root.
func walk(f func(path string) error) error {
	return filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := d.Name()
		if d.IsDir() {
			if path != root && (strings.HasPrefix(name, ".") || slices.Contains([]string{"vendor", "dist", "selvedge-data", "testdata"}, name)) {
				return filepath.SkipDir
			}
			return nil
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		return f(filepath.ToSlash(rel))
	})
}

// where returns the place of a node as file:line.
func (s source) where(n ast.Node) string {
	return s.path + ":" + strconv.Itoa(s.set.Position(n.Pos()).Line)
}

// support reports whether the package exists for tests only: its name ends in
// "test", or it belongs to the black-box tests.
func support(folder string) bool {
	return strings.HasSuffix(folder, "test") || under(folder, "integration") || under(folder, "routing/sim")
}

// under reports whether a folder is top, or below it.
func under(folder, top string) bool {
	return folder == top || strings.HasPrefix(folder, top+"/")
}
