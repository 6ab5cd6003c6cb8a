package config

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// maxFile is the greatest configuration file in bytes.
const maxFile = 16 << 20

// yamlFile knows the file's name for its errors.
type yamlFile struct {
	name string
}

func (f yamlFile) fail(n ast.Node, format string, args ...any) error {
	origin := f.name
	if n != nil && n.GetToken() != nil {
		origin = fmt.Sprintf("%s:%d", f.name, n.GetToken().Position.Line)
	}
	return &Error{Origin: origin, Err: fmt.Errorf(format, args...)}
}

func (l *loader) readFile(name string) error {
	f := yamlFile{name: name}
	info, err := os.Stat(name)
	if err != nil {
		return fmt.Errorf("configuration file: %w", err)
	}
	if info.Size() > maxFile {
		return f.fail(nil, "the file has %d bytes, at most %d are allowed", info.Size(), maxFile)
	}
	text, err := os.ReadFile(name) //nolint:gosec // the operator names it
	if err != nil {
		return fmt.Errorf("configuration file: %w", err)
	}
	root, err := f.parse(text)
	if err != nil {
		return err
	}
	known := make(map[string]Setting)
	keys := []string{keyUsers, keyRules, keyListeners}
	for _, s := range Settings() {
		known[s.Name] = s
		keys = append(keys, s.Name)
	}
	lists := make(map[string]*ast.MappingValueNode)
	for _, e := range root {
		switch key := keyOf(e); key {
		case keyUsers, keyRules, keyListeners:
			lists[key] = e
		default:
			s, ok := known[key]
			if !ok {
				return f.unknown(e, keys)
			}
			if err := l.setNode(f, s, e.Value); err != nil {
				return err
			}
		}
	}
	// Rules name users, so these come first.
	if err := l.readUsers(f, lists[keyUsers]); err != nil {
		return err
	}
	if err := l.readRules(f, lists[keyRules]); err != nil {
		return err
	}
	return l.readListeners(f, lists[keyListeners])
}

// parse returns the entries of the file's one mapping.
func (f yamlFile) parse(text []byte) ([]*ast.MappingValueNode, error) {
	file, err := parser.ParseBytes(text, 0)
	if err != nil {
		if e, ok := errors.AsType[yaml.Error](err); ok && e.GetToken() != nil {
			line := fmt.Sprintf("%s:%d", f.name, e.GetToken().Position.Line)
			return nil, &Error{Origin: line, Err: fmt.Errorf("not valid YAML: %s", e.GetMessage())}
		}
		return nil, f.fail(nil, "not valid YAML: %w", err)
	}
	var body ast.Node
	for _, d := range file.Docs {
		if d.Body == nil || d.Body.Type() == ast.NullType || d.Body.Type() == ast.CommentType {
			continue
		}
		if body != nil {
			return nil, f.fail(d.Body, "a second document begins here: a configuration is one, remove the ---")
		}
		body = d.Body
	}
	if body == nil {
		return nil, nil
	}
	return f.entries(body, `data: ./selvedge-data`)
}

// entries returns the entries of a mapping.
func (f yamlFile) entries(n ast.Node, example string) ([]*ast.MappingValueNode, error) {
	switch m := n.(type) {
	case *ast.MappingNode:
		return m.Values, nil
	case *ast.MappingValueNode:
		return []*ast.MappingValueNode{m}, nil
	}
	return nil, f.fail(n, "names and values are wanted here: write for example %q", example)
}

// mostKeys is how many known keys an error names.
const mostKeys = 20

// unknown says which key was probably meant, or which there are.
func (f yamlFile) unknown(e *ast.MappingValueNode, keys []string) error {
	key := keyOf(e)
	if best := nearest(key, keys); best != "" {
		return f.fail(e.Key, "unknown key %q: did you mean %q?", key, best)
	}
	if len(keys) > mostKeys {
		return f.fail(e.Key, "unknown key %q: docs/config.md and selvedge serve --help have the known ones", key)
	}
	slices.Sort(keys)
	return f.fail(e.Key, "unknown key %q: known here are %s", key, strings.Join(keys, ", "))
}

// setNode reads one setting: a scalar, or a sequence of them for a list.
func (l *loader) setNode(f yamlFile, s Setting, n ast.Node) error {
	origin := fmt.Sprintf("%s:%d", f.name, n.GetToken().Position.Line)
	l.origins[s.Name] = origin
	text, err := scalar(n)
	if list, ok := n.(*ast.SequenceNode); ok && s.list() {
		text, err = join(list)
	}
	if err == nil {
		err = s.set(l.c, text)
	}
	if err != nil {
		return &Error{Origin: origin, Setting: s.Name, Err: err}
	}
	return nil
}

func keyOf(e *ast.MappingValueNode) string { return e.Key.GetToken().Value }

// scalar returns the text of a value as it stands in the file, quotes removed.
func scalar(n ast.Node) (string, error) {
	switch v := n.(type) {
	case *ast.StringNode:
		return v.Value, nil
	case *ast.LiteralNode:
		return strings.TrimSpace(v.Value.Value), nil
	case *ast.NullNode:
		return "", errNoValue
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode:
		return n.GetToken().Value, nil
	}
	return "", errors.New("one value is wanted here, not several")
}

func join(n *ast.SequenceNode) (string, error) {
	words, err := scalars(n)
	return strings.Join(words, ","), err
}

func scalars(n *ast.SequenceNode) ([]string, error) {
	words := make([]string, 0, len(n.Values))
	for _, v := range n.Values {
		w, err := scalar(v)
		if err != nil {
			return nil, err
		}
		words = append(words, w)
	}
	return words, nil
}

// items returns the elements of a sequence.
func (f yamlFile) items(e *ast.MappingValueNode, example string) ([]ast.Node, error) {
	switch n := e.Value.(type) {
	case *ast.SequenceNode:
		return n.Values, nil
	case *ast.NullNode:
		return nil, nil
	}
	return nil, f.fail(e.Value, "%s: a list is wanted here: begin each element with a dash, for example %q", keyOf(e), example)
}

// fields hands the values of a mapping to the function of their key.
func (f yamlFile) fields(n ast.Node, example string, known map[string]func(ast.Node) error) error {
	entries, err := f.entries(n, example)
	if err != nil {
		return err
	}
	for _, e := range entries {
		read, ok := known[keyOf(e)]
		if !ok {
			keys := make([]string, 0, len(known))
			for k := range known {
				keys = append(keys, k)
			}
			return f.unknown(e, keys)
		}
		if err := read(e.Value); err != nil {
			return f.fail(e.Value, "%s: %w", keyOf(e), err)
		}
	}
	return nil
}

func text(to *string) func(ast.Node) error {
	return func(n ast.Node) (err error) {
		*to, err = scalar(n)
		return err
	}
}

// size reads a number of bytes.
func size(to *Size) func(ast.Node) error {
	return func(n ast.Node) error {
		word, err := scalar(n)
		if err != nil {
			return err
		}
		return to.UnmarshalText([]byte(word))
	}
}

// boolean reads true or false.
func boolean(to *bool) func(ast.Node) error {
	return func(n ast.Node) error {
		word, err := scalar(n)
		if err != nil {
			return err
		}
		var s Switch
		err = s.UnmarshalText([]byte(word))
		*to = s.On
		return err
	}
}

// nearest returns the key that differs from what was written by at most two
// letters, or "".
func nearest(written string, keys []string) string {
	best, distance := "", 3
	for _, k := range keys {
		if d := edits(written, k); d < distance && d < len(k) {
			best, distance = k, d
		}
	}
	return best
}

// edits is Levenshtein's distance.
func edits(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		previous := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := previous
			if a[i] != b[j] {
				change++
			}
			previous = row[j+1]
			row[j+1] = min(change, previous+1, row[j]+1)
		}
	}
	return row[len(b)]
}
