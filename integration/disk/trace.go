// Package disk is a model of what a disk holds when the power fails. It takes
// the system calls of a process, as strace has recorded them, and makes the
// folder that a cut at any point leaves behind: what was synced, and nothing else
// or not much else. It does not know what the files are for.
package disk

import (
	"bufio"
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Calls are the system calls that a trace must hold: all that can change files,
// and the writes to sockets, which tell when the process said something.
const Calls = "open,openat,creat,close,write,pwrite64,writev,pwritev,pwritev2,ftruncate,truncate,fallocate," +
	"rename,renameat,renameat2,unlink,unlinkat,rmdir,mkdir,mkdirat,link,linkat,symlink,symlinkat," +
	"fsync,fdatasync,sync,syncfs,sync_file_range,lseek,copy_file_range,sendfile,splice,mmap,dup,dup2,dup3"

// Command returns what stands before the command line of the process to be
// traced. The process keeps the id that it would have without; the trace is whole
// when its last line says that the process has ended.
func Command(file string) []string {
	return []string{
		"strace", "-D", "-f", "--seccomp-bpf", "-q", "-ttt", "-T", "-y", "-xx", "-s", strconv.Itoa(longestWrite),
		"-e", "trace=" + Calls, "-e", "signal=none", "-o", file,
	}
}

// longestWrite is the greatest write that a trace holds in full.
const longestWrite = 32 << 20

// longestLine is a write in hexadecimal, and a little.
const longestLine = 4*longestWrite + 1<<16

// Kind says what an event is.
type Kind int

// The events. What has an effect on files has it when the call returns; Said is
// there when the call begins: by then somebody may hear it.
const (
	Make      Kind = iota + 1 // a file begins, or is emptied if it is there (Path)
	Folder                    // a folder begins
	Write                     // Data is written at Offset; with Synced it is on disk, too
	Cut                       // the file gets the length Offset
	Rename                    // Path is To from now on
	Remove                    // Path is gone
	SyncBegin                 // Path is about to be synced; ID joins it with its end
	SyncEnd                   // Path was synced
	Said                      // Data was written to a socket, Path names it
)

// Event is a change to a file below the root, or something said on a socket.
type Event struct {
	At     float64 // seconds since 1970, by the clock of the machine
	Kind   Kind
	Path   string // below the root
	To     string
	Data   []byte
	Offset int64
	Synced bool
	ID     int
}

// errTrace says what is wrong with a line of a trace.
var errTrace = errors.New("disk: trace")

// call is a system call under way.
type call struct {
	name string
	text string // its arguments, as far as they are known
	id   int    // of its SyncBegin
}

// file is what an open descriptor stands for.
type file struct {
	path   string
	offset int64
	synced bool // O_SYNC, O_DSYNC
	append bool
}

// reader turns lines into events.
type reader struct {
	root    string
	pending map[string]call // by thread
	files   map[string]*file
	sizes   map[string]int64 // for O_APPEND
	events  []Event
	now     float64 // of the line, or of the end of its call
	syncs   int
	ended   bool
}

// Read reads a trace and returns what happened below root, in order.
func Read(r io.Reader, root string) ([]Event, error) {
	t := &reader{root: filepath.Clean(root), pending: map[string]call{}, files: map[string]*file{}, sizes: map[string]int64{}}
	in := bufio.NewScanner(r)
	in.Buffer(nil, longestLine)
	for n := 1; in.Scan(); n++ {
		if err := t.line(in.Text()); err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
	}
	if err := in.Err(); err != nil {
		return nil, err
	}
	if !t.ended {
		return nil, fmt.Errorf("%w: it does not tell the end of the process", errTrace)
	}
	return t.events, nil
}

// lookEvery is how often Load looks whether a trace is whole.
const lookEvery = 10 * time.Millisecond

// Load reads the trace of a process that has ended. The tracer ends a moment
// later: Load waits for it until ctx ends.
func Load(ctx context.Context, path, root string) ([]Event, error) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		b, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		if whole(b) {
			return Read(bytes.NewReader(b), root)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil, fmt.Errorf("waiting for the end of the trace: %w", ctx.Err())
		}
	}
}

// whole reports whether the last line of a trace tells the end of its process.
func whole(b []byte) bool {
	b = bytes.TrimRight(b, "\n")
	last := b[bytes.LastIndexByte(b, '\n')+1:]
	return bytes.Contains(last, []byte("+++ exited with "))
}

const (
	unfinished = " <unfinished ...>"
	resumed    = " resumed>"
)

// line takes a line in: a call, its beginning, or its end.
func (t *reader) line(text string) error {
	thread, rest, _ := strings.Cut(text, " ")
	when, rest, ok := strings.Cut(strings.TrimLeft(rest, " "), " ")
	now, err := strconv.ParseFloat(when, 64)
	t.now = now
	switch {
	case !ok || err != nil:
		return fmt.Errorf("%w: %q", errTrace, clip(text))
	case strings.HasPrefix(rest, "+++"):
		t.ended = true
		delete(t.pending, thread)
		return nil
	case strings.HasPrefix(rest, "---"):
		return nil
	case strings.HasPrefix(rest, "<... "):
		c, ok := t.pending[thread]
		_, more, ok2 := strings.Cut(rest, resumed)
		if !ok || !ok2 {
			return fmt.Errorf("%w: the end of a call that did not begin: %q", errTrace, clip(rest))
		}
		delete(t.pending, thread)
		more, _ = t.took(more)
		c.text += more
		return t.end(c)
	}
	name, args, ok := strings.Cut(rest, "(")
	if !ok {
		return fmt.Errorf("%w: %q", errTrace, clip(rest))
	}
	c := call{name: name, text: strings.TrimSuffix(args, unfinished)}
	if err := t.begin(&c); err != nil {
		return err
	}
	if strings.HasSuffix(args, unfinished) {
		t.pending[thread] = c
		return nil
	}
	c.text, t.now = t.took(c.text)
	return t.end(c)
}

// took cuts the duration off a call that was told in one line, and returns when
// it ended.
func (t *reader) took(text string) (string, float64) {
	i := strings.LastIndex(text, " <")
	if i < 0 {
		return text, t.now
	}
	seconds, err := strconv.ParseFloat(strings.TrimSuffix(text[i+2:], ">"), 64)
	if err != nil {
		return text, t.now
	}
	return text[:i], t.now + seconds
}

func clip(s string) string { return s[:min(len(s), 200)] }

// descriptor is the first argument of most calls: a number and what it stands for.
type descriptor struct{ number, path string }

// parse splits the arguments of a call.
func parse(text string) (args []string) {
	depth, from, quoted := 0, 0, false
	for i := range len(text) {
		switch c := text[i]; {
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '<' || c == '[' || c == '{':
			depth++
		case c == '>' || c == ']' || c == '}':
			depth--
		case c == ',' && depth == 0:
			args = append(args, strings.TrimSpace(text[from:i]))
			from = i + 1
		}
	}
	return append(args, strings.TrimSpace(text[from:]))
}

// result cuts the result off the arguments; ok says that the call succeeded.
func result(text string) (args, value string, ok bool) {
	i := strings.LastIndex(text, ")")
	if i < 0 {
		return text, "", false
	}
	_, value, ok = strings.Cut(text[i:], "= ")
	// Within a result as "3</a/b>" no parenthesis stands: paths are in hexadecimal.
	if j := strings.LastIndex(text[:i], ") "); j >= 0 && strings.Contains(text[j:i], " = -1 ") {
		return text[:j], "-1", false // = -1 ENOENT (No such file or directory)
	}
	return text[:i], value, ok && !strings.HasPrefix(value, "-1") && !strings.HasPrefix(value, "?")
}

// quoted reads "\x61\x62"; what was cut short by strace is an error.
func quoted(arg string) ([]byte, error) {
	if strings.HasSuffix(arg, "...") {
		return nil, fmt.Errorf("%w: a string that was cut short", errTrace)
	}
	return hex.DecodeString(strings.ReplaceAll(strings.Trim(arg, `"`), `\x`, ""))
}

// fd reads 3<\x2f\x61>. A file that was removed while it was open has no path.
func fd(arg string) descriptor {
	number, rest, _ := strings.Cut(arg, "<")
	path, rest, _ := strings.Cut(rest, ">")
	b, err := quoted(path)
	if err != nil || strings.HasPrefix(rest, "(deleted)") {
		return descriptor{number: number}
	}
	return descriptor{number, string(b)}
}

// below returns the path as it stands below the root; false if it does not.
func (t *reader) below(path string) (string, bool) {
	rel, err := filepath.Rel(t.root, path)
	if err != nil || rel == ".." || strings.HasPrefix(rel, "../") || !filepath.IsAbs(path) {
		return "", false
	}
	return rel, true
}

// at returns the path of a pair of arguments: a folder's descriptor and a name.
func (t *reader) at(dir, name string) (string, bool, error) {
	b, err := quoted(name)
	if err != nil {
		return "", false, err
	}
	path := string(b)
	if !filepath.IsAbs(path) {
		path = filepath.Join(fd(dir).path, path)
	}
	rel, ok := t.below(path)
	return rel, ok, nil
}
