// Command mutants plants the faults of list.txt into a copy of the engine, switches
// one after the other on, and prints how many seeds the simulation needs to find it.
package main

import (
	"bufio"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// mutant is a fault and where it is planted.
type mutant struct{ name, file, old, new string }

var (
	unescape = strings.NewReplacer(`\n`, "\n", `\t`, "\t")
	found    = regexp.MustCompile(`(?m)^ +\S+: seed (\d+): (.*)`) // and not how far the run was after each minute
)

func main() {
	list := flag.String("list", ".ci/mutants/list.txt", "the faults")
	only := flag.String("only", "", "a regular expression of the names of those to try")
	seeds := flag.Int("seeds", 2000, "seeds after which a fault counts as not found")
	flag.Parse()
	if err := run(*list, *only, *seeds); err != nil {
		fmt.Fprintln(os.Stderr, "mutants:", err)
		os.Exit(1)
	}
}

func run(list, only string, seeds int) error {
	wanted, err := regexp.Compile(only)
	if err != nil {
		return err
	}
	all, err := read(list)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "mutants-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	joint := filepath.Join(dir, "joint")
	if err := copyEngine(joint); err != nil {
		return err
	}
	alone, err := plant(joint, all)
	if err != nil {
		return err
	}
	if err := build(joint); err != nil {
		return err
	}
	var (
		wg       sync.WaitGroup
		survived atomic.Int64
		places   = make(chan struct{}, runtime.NumCPU())
	)
	for i, m := range all {
		if !wanted.MatchString(m.name) {
			continue
		}
		places <- struct{}{}
		wg.Go(func() {
			defer func() { <-places }()
			begin, where := time.Now(), joint
			var how string
			var err error
			if slices.Contains(alone, i) {
				where = filepath.Join(dir, strconv.Itoa(i))
				err = m.plantAlone(where)
			}
			if err == nil {
				how, err = try(where, i+1, seeds)
			}
			if err != nil {
				how = "NOT TRIED: " + err.Error()
			}
			if strings.HasPrefix(how, "NOT ") {
				survived.Add(1)
			}
			fmt.Printf("%-70s %s (%v)\n", m.name, how, time.Since(begin).Round(time.Second))
		})
	}
	wg.Wait()
	if n := survived.Load(); n > 0 {
		return fmt.Errorf("%d faults were not found", n)
	}
	return nil
}

// read parses the list.
func read(path string) ([]mutant, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var all []mutant
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		key, text, _ := strings.Cut(lines.Text(), " ")
		if key == "name" {
			all = append(all, mutant{name: text})
			continue
		}
		if len(all) == 0 || key == "" {
			continue
		}
		m := &all[len(all)-1]
		switch key {
		case "file":
			m.file = text
		case "old":
			m.old = unescape.Replace(strings.TrimPrefix(text, " "))
		case "new":
			m.new = unescape.Replace(strings.TrimPrefix(text, " "))
		default:
			return nil, fmt.Errorf("%s: unknown word %q", path, key)
		}
	}
	return all, lines.Err()
}

// plantAlone makes a copy of the engine with this fault and no switch.
func (m *mutant) plantAlone(dir string) error {
	if err := copyEngine(dir); err != nil {
		return err
	}
	path := filepath.Join(dir, m.file)
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := os.WriteFile(path, []byte(strings.Replace(string(b), m.old, m.new, 1)), 0o600); err != nil {
		return err
	}
	return build(dir)
}

// binary is the simulation, in the copy of the engine that it is built from.
const binary = "simulation.test"

func build(dir string) error {
	c := exec.Command("go", "test", "-c", "-vet=off", "-o", binary, "./routing/sim")
	c.Dir = dir
	if out, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("it does not compile: %w\n%s", err, out)
	}
	return nil
}

// try runs the simulation with a fault switched on. It returns what found it.
func try(dir string, number, seeds int) (string, error) {
	c := exec.Command(filepath.Join(dir, binary), "-test.run=^TestSeeds$", "-test.v", "-test.timeout=0",
		"-step=1", "-from=1", fmt.Sprintf("-seeds=%d", seeds+1), "-for=1h")
	c.Dir = filepath.Join(dir, "routing", "sim")
	c.Env = append(os.Environ(), fmt.Sprintf("%s=%d", variable, number))
	out, err := c.CombinedOutput()
	if err == nil {
		return "NOT FOUND", nil
	}
	if exit := (*exec.ExitError)(nil); !errors.As(err, &exit) {
		return "", err
	}
	if hit := found.FindSubmatch(out); hit != nil {
		return fmt.Sprintf("seed %s: %s", hit[1], hit[2]), nil
	}
	if _, why, ok := strings.Cut(string(out), "panic: "); ok {
		why, _, _ = strings.Cut(why, "\n")
		return "panic: " + why, nil
	}
	return "", fmt.Errorf("the simulation failed: %s", out)
}

// copyEngine copies what the simulation is built from.
func copyEngine(dir string) error {
	for _, part := range []string{"routing", "internal", "go.mod", "go.sum"} {
		if err := copyTree(part, dir); err != nil {
			return err
		}
	}
	return nil
}

// copyTree copies a file or a folder of the repository.
func copyTree(from, dir string) error {
	return filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		to := filepath.Join(dir, path)
		if d.IsDir() {
			return os.MkdirAll(to, 0o700)
		}
		if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(to, b, 0o600)
	})
}
