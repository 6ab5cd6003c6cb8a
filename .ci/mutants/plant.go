package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"sort"
	"strings"
)

// variable is the environment's word on which fault is switched on, by its number.
const variable = "SELVEDGE_MUTANT"

// switchFile declares in a package the number of the fault that is switched on.
const switchFile = `package %s

import (
	"os"
	"strconv"
)

var mutantOn = func() int { n, _ := strconv.Atoi(os.Getenv("` + variable + `")); return n }()
`

// plant puts all faults into the copy of the engine in dir, switched off: each
// function with a fault gets a twin that has it, and calls the twin when the fault
// is switched on. A fault outside of any function cannot be planted like that: its
// number is returned.
func plant(dir string, all []mutant) (alone []int, err error) {
	byFile := map[string][]int{}
	for i, m := range all {
		byFile[m.file] = append(byFile[m.file], i)
	}
	for file, numbers := range byFile {
		left, err := plantFile(dir, file, all, numbers)
		if err != nil {
			return nil, err
		}
		alone = append(alone, left...)
	}
	sort.Ints(alone)
	return alone, nil
}

// edit is text that comes into a file at an offset.
type edit struct {
	at   int
	text string
}

func plantFile(dir, file string, all []mutant, numbers []int) (alone []int, err error) {
	path := filepath.Join(dir, file)
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	src := string(b)
	tree, err := parser.ParseFile(token.NewFileSet(), path, b, parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	var edits []edit
	for _, i := range numbers {
		m := &all[i]
		if n := strings.Count(src, m.old); n != 1 {
			return nil, fmt.Errorf("%s: %s has the text %d times, want once: %q", m.name, m.file, n, m.old)
		}
		at := strings.Index(src, m.old)
		f := enclosing(tree, at, at+len(m.old))
		if f == nil {
			alone = append(alone, i)
			continue
		}
		call, twin := twins(src, f, i+1)
		body := int(f.Body.Lbrace)
		mutated := src[body-1:at] + m.new + src[at+len(m.old):int(f.Body.Rbrace)]
		edits = append(edits, edit{at: body, text: call}, edit{at: len(src), text: "\n" + twin + mutated + "\n"})
	}
	sort.SliceStable(edits, func(a, b int) bool { return edits[a].at > edits[b].at })
	for _, e := range edits {
		src = src[:e.at] + e.text + src[e.at:]
	}
	if err := os.WriteFile(path, []byte(src), 0o600); err != nil {
		return nil, err
	}
	decl := fmt.Sprintf(switchFile, tree.Name.Name)
	return alone, os.WriteFile(filepath.Join(filepath.Dir(path), "mutanton.go"), []byte(decl), 0o600)
}

// enclosing returns the function in whose body some text of a file lies, from an
// offset to another one.
func enclosing(tree *ast.File, from, to int) *ast.FuncDecl {
	for _, d := range tree.Decls {
		if f, ok := d.(*ast.FuncDecl); ok && f.Body != nil && int(f.Body.Lbrace) <= from && to <= int(f.Body.Rbrace) {
			return f
		}
	}
	return nil
}

// twins returns the call of a function's twin, and the head of that twin.
func twins(src string, f *ast.FuncDecl, number int) (call, twin string) {
	text := func(from, to token.Pos) string { return src[from-1 : to-1] }
	var args []string
	for _, p := range f.Type.Params.List {
		for _, n := range p.Names {
			args = append(args, n.Name)
		}
	}
	name := fmt.Sprintf("%sMutant%d", f.Name.Name, number)
	callee, receiver := name, ""
	if f.Recv != nil {
		receiver = text(f.Recv.Pos(), f.Recv.End())
		callee = f.Recv.List[0].Names[0].Name + "." + name
	}
	call = callee + "(" + strings.Join(args, ", ") + ")"
	if f.Type.Results == nil {
		call += "; return"
	} else {
		call = "return " + call
	}
	return fmt.Sprintf("\n\tif mutantOn == %d { %s }\n", number, call),
		"func " + receiver + " " + name + text(f.Type.Params.Pos(), f.Type.End()) + " "
}
