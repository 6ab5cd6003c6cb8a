package house

import (
	"go/ast"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// metricName is selvedge_<part>_<what>_<unit>, the unit or _total as they fit.
var metricName = regexp.MustCompile(`^selvedge_[a-z0-9]+(_[a-z0-9]+)+$`)

// metric is a metric as the code makes it.
type metric struct{ name, where string }

// metrics finds every name that the code gives to Prometheus: the literals that
// begin with selvedge_. A name stands there as a whole, so that it is found.
func metrics(t *testing.T) []metric {
	t.Helper()
	var out []metric
	for _, s := range sources(t) {
		if s.test || support(s.folder) || !imports(s, "github.com/prometheus/client_golang/prometheus") {
			continue
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.KeyValueExpr:
				if key, ok := n.Key.(*ast.Ident); ok && (key.Name == "Namespace" || key.Name == "Subsystem") {
					t.Errorf("%s: %s: spell the name of a metric as a whole", s.where(n), key.Name)
				}
			case *ast.BasicLit:
				if n.Kind != token.STRING {
					return true
				}
				if text, err := strconv.Unquote(n.Value); err == nil && strings.HasPrefix(text, "selvedge_") {
					out = append(out, metric{text, s.where(n)})
				}
			}
			return true
		})
	}
	return out
}

func imports(s source, name string) bool { return slices.Contains(s.imports, name) }

func TestMetricNames(t *testing.T) {
	for _, m := range metrics(t) {
		if !metricName.MatchString(m.name) {
			t.Errorf("%s: metric name: got %s, want selvedge_<part>_<what>_<unit>", m.where, m.name)
		}
	}
}

// page reads a page of the documentation; a page that is not there fails the test.
func page(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, "docs", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestEveryMetricIsDocumented(t *testing.T) {
	text := page(t, "metrics.md")
	for _, m := range metrics(t) {
		if !strings.Contains(text, "`"+m.name+"`") {
			t.Errorf("%s: the metric %s is not in docs/metrics.md", m.where, m.name)
		}
	}
}

// Every flag of serve, in its three spellings, stands in docs/config.md. The
// flags are the ones that the command line's structs declare by tags.
func TestEveryFlagIsDocumented(t *testing.T) {
	text := page(t, "config.md")
	found := 0
	for _, s := range sources(t) {
		if s.test || !under(s.folder, "gateway/config") {
			continue
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			field, ok := n.(*ast.Field)
			if !ok || field.Tag == nil {
				return true
			}
			tag, err := strconv.Unquote(field.Tag.Value)
			if err != nil {
				return true
			}
			for _, key := range []string{"flag", "name"} {
				flag, ok := reflect.StructTag(tag).Lookup(key)
				if !ok || flag == "" || flag == "-" {
					continue
				}
				found++
				if !strings.Contains(text, "`--"+flag) {
					t.Errorf("%s: the flag --%s is not in docs/config.md", s.where(field), flag)
				}
				env := "`SELVEDGE_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_")) + "`"
				if !strings.Contains(text, env) {
					t.Errorf("%s: the variable %s is not in docs/config.md", s.where(field), env)
				}
			}
			return true
		})
	}
	if found == 0 {
		t.Error("flags of gateway/config: got none, want every setting's tag")
	}
}
