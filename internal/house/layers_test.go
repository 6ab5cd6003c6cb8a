package house

import (
	"go/ast"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// layer says what the packages of a folder, and below it, may import.
type layer struct {
	folder string
	// own lists the folders of this module that may be imported; "x/..." takes
	// what is below x in, "x" is x alone. What lies below the layer's own folder
	// is allowed when "self" stands there.
	own []string
	// foreign lists the modules that may be imported, as prefixes; nil allows
	// every one, an empty list the standard library alone.
	foreign []string
}

// layers is the import direction: cmd → gateway → {protocols/*, routing/engine,
// cluster} → the contracts of routing. The first folder that fits counts, so the
// narrower ones stand first.
var layers = []layer{
	{"cmd/selvedge/internal/amqptest", []string{"protocols/..."}, nil}, // serves the tests of clients
	{"cmd/selvedge", []string{"self", "gateway/...", "routing", "internal/..."}, nil},
	{"gateway/api", nil, []string{}},
	{"gateway", []string{"self", "protocols/...", "routing/...", "cluster/...", "internal/..."}, nil},
	{"cluster", []string{"self", "routing/engine", "internal/..."}, nil},

	{"protocols/stomp", []string{"self", "protocols", "routing", "internal/..."}, []string{
		"github.com/rs/zerolog", "github.com/prometheus/client_golang",
	}},
	{"protocols/amqp", []string{"self", "protocols", "routing", "internal/..."}, []string{
		"github.com/rs/zerolog", "github.com/prometheus/client_golang",
	}},
	{"protocols/prototest", []string{"protocols", "routing", "internal/..."}, nil},
	{"protocols", []string{"routing"}, []string{"github.com/rs/zerolog", "github.com/prometheus/client_golang"}},

	{"routing/envelope", []string{"routing", "internal/..."}, []string{}},
	{"routing/shard", []string{
		"self", "routing", "routing/envelope", "internal/...",
	}, []string{}},
	{"routing/engine", []string{
		"self", "routing", "routing/envelope", "routing/shard/...", "internal/...",
	}, []string{"github.com/rs/zerolog", "github.com/prometheus/client_golang"}},
	{"routing/memlog", []string{"self", "routing/...", "internal/..."}, nil},
	{"routing/logtest", []string{"self", "routing/...", "internal/..."}, nil},
	{"routing/sim", []string{"self", "routing/...", "internal/..."}, nil},
	{"routing", nil, []string{}},

	{"internal/metrictest", nil, []string{"github.com/prometheus/client_golang"}}, // reads them
	{"internal", []string{"self"}, []string{}},
	{"integration", []string{"self"}, nil},
	{"deploy", []string{"self", "gateway/..."}, nil},
}

// TestImportDirection holds the packages of the product to the table. Tests may
// import more, but no protocol imports another one, not even there.
func TestImportDirection(t *testing.T) {
	for _, s := range sources(t) {
		l := find(s.folder)
		if l == nil {
			t.Errorf("%s: no layer for the folder %s: add it to the table, with a reason", s.path, s.folder)
			continue
		}
		for _, name := range s.imports {
			if foreignProtocol(s.folder, name) {
				t.Errorf("%s: imports %s: a protocol never imports another one", s.path, name)
			}
			if !s.test && !allowed(*l, name) {
				t.Errorf("%s: imports %s: the layer %s may not", s.path, name, l.folder)
			}
		}
	}
}

func find(folder string) *layer {
	for i := range layers {
		if under(folder, layers[i].folder) {
			return &layers[i]
		}
	}
	return nil
}

// allowed reports whether the layer may import the package of that name.
func allowed(l layer, name string) bool {
	first, _, _ := strings.Cut(name, "/")
	if !strings.Contains(first, ".") {
		return true // the standard library
	}
	own, ok := strings.CutPrefix(name, module+"/")
	if !ok {
		return permits(l.foreign, name)
	}
	for _, may := range l.own {
		top, deep := strings.CutSuffix(may, "/...")
		switch {
		case may == "self" && under(own, l.folder), own == top, deep && under(own, top):
			return true
		}
	}
	return false
}

func permits(foreign []string, name string) bool {
	if foreign == nil {
		return true
	}
	for _, prefix := range foreign {
		if under(name, prefix) {
			return true
		}
	}
	return false
}

// foreignProtocol reports whether a package of one protocol imports another's.
func foreignProtocol(folder, name string) bool {
	mine, ok := protocol(folder)
	theirs, ok2 := protocol(strings.TrimPrefix(name, module+"/"))
	return ok && ok2 && mine != theirs
}

// protocol returns the protocol that a folder belongs to.
func protocol(folder string) (string, bool) {
	rest, ok := strings.CutPrefix(folder, "protocols/")
	name, _, _ := strings.Cut(rest, "/")
	return name, ok && name != "prototest"
}

// A row that names a folder which does not exist permits what nobody has looked at.
func TestLayersNameFoldersThatExist(t *testing.T) {
	named := func(folder string) bool {
		info, err := os.Stat(filepath.Join(root, filepath.FromSlash(folder)))
		return err == nil && info.IsDir()
	}
	for _, l := range layers {
		for _, folder := range append([]string{l.folder}, l.own...) {
			if folder = strings.TrimSuffix(folder, "/..."); folder != "self" && !named(folder) {
				t.Errorf("the layer %s: names the folder %s, which does not exist", l.folder, folder)
			}
		}
	}
}

// NATS is a word of cluster alone; the black-box tests may look into the fabric.
func TestNATSStaysInCluster(t *testing.T) {
	for _, s := range sources(t) {
		if under(s.folder, "cluster") || under(s.folder, "integration") {
			continue
		}
		for _, name := range s.imports {
			if strings.HasPrefix(name, "github.com/nats-io/") {
				t.Errorf("%s: imports %s: NATS is a word of cluster alone", s.path, name)
			}
		}
	}
}

// The machine of a shard has neither goroutine nor lock, and its tests have none, so that
// nothing is lost where the race detector does not see them.
func TestTheMachineHasNoGoroutine(t *testing.T) {
	for _, s := range sources(t) {
		if !under(s.folder, "routing/shard") {
			continue
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			if _, ok := n.(*ast.GoStmt); ok {
				t.Errorf("%s: a goroutine: the machine is called by one, its leader's", s.where(n))
			}
			return true
		})
		for _, name := range s.imports {
			if name == "sync" || strings.HasPrefix(name, "sync/") {
				t.Errorf("%s: imports %s: the machine is called by one goroutine", s.path, name)
			}
		}
	}
}

// What helps tests is imported by tests, and by what helps tests.
func TestProductImportsNoTestSupport(t *testing.T) {
	for _, s := range sources(t) {
		if s.test || support(s.folder) {
			continue
		}
		for _, name := range s.imports {
			own, ok := strings.CutPrefix(name, module+"/")
			if name == "testing" || strings.HasPrefix(name, "testing/") || ok && support(own) {
				t.Errorf("%s: imports %s: that is for tests", s.path, name)
			}
		}
	}
}
