package disk

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// x writes text as strace does: \x61\x62.
func x(text string) string {
	var b strings.Builder
	for i := range len(text) {
		fmt.Fprintf(&b, `\x%02x`, text[i])
	}
	return b.String()
}

// lines makes a trace, with a second between its lines. In it, 'text' stands for
// a string in hexadecimal.
func lines(text string) string {
	var b strings.Builder
	n := 0
	for line := range strings.Lines(strings.TrimLeft(text, "\n")) {
		line = strings.TrimLeft(line, "\t")
		parts := strings.Split(line, "'")
		for i := 1; i < len(parts); i += 2 {
			parts[i] = x(parts[i])
		}
		thread, call, ok := strings.Cut(strings.Join(parts, ""), "  ")
		if !ok {
			b.WriteString(thread)
			continue
		}
		fmt.Fprintf(&b, "%s %d.5 %s", thread, n, call)
		n++
	}
	return b.String()
}

func TestReadATrace(t *testing.T) {
	text := lines(`
		7  mkdirat(AT_FDCWD<'/w'>, "'d'", 0700) = 0
		7  openat(AT_FDCWD<'/w'>, "'d/a'", O_RDWR|O_CREAT|O_CLOEXEC, 0600) = 5<'/w/d/a'>
		7  openat(AT_FDCWD<'/w'>, "'d/a'", O_RDONLY) = -1 ENOENT (No such file or directory)
		7  pwrite64(5<'/w/d/a'>, "'one'", 3, 10) = 3 <0.250000>
		7  write(5<'/w/d/a'>, "'tw,o'", 4 <unfinished ...>
		8  write(6<'socket:[77]'>, "'RECEIPT'", 7 <unfinished ...>
		7  <... write resumed>)              = 2
		8  <... write resumed>)              = 7
		7  write(5<'/w/d/a'>, "'x'", 1) = 1
		7  fsync(5<'/w/d/a'> <unfinished ...>
		8  close(6<'socket:[77]'>) = 0
		7  <... fsync resumed>)              = 0
		7  ftruncate(5<'/w/d/a'>, 4) = 0
		7  close(5<'/w/d/a'> <unfinished ...>
		8  openat(AT_FDCWD<'/w'>, "'/w/d/s'", O_WRONLY|O_CREAT|O_TRUNC|O_SYNC, 0600) = 5<'/w/d/s'>
		7  <... close resumed>)              = 0
		8  write(5<'/w/d/s'>, "'sync'", 4) = 4
		8  writev(9<'socket:[78]'>, [{iov_base="'a, b'", iov_len=4}, {iov_base="'c'", iov_len=1}], 2) = 5
		8  renameat(AT_FDCWD<'/w'>, "'d/s'", AT_FDCWD<'/w'>, "'d/t'") = 0
		8  unlinkat(AT_FDCWD<'/w'>, "'d/a'", 0) = 0
		8  unlinkat(AT_FDCWD<'/w'>, "'elsewhere'", 0) = 0
		8  fsync(4<'/w/d'>) = -1 EIO (Input/output error)
		7  --- SIGURG {si_signo=SIGURG} ---
		8  +++ exited with 0 +++
	`)
	got, err := Read(strings.NewReader(text), "/w/d")
	if err != nil {
		t.Fatal(err)
	}
	said := func(socket, text string) Event { return Event{Kind: Said, Path: socket, Data: []byte(text)} }
	want := []Event{
		folder("."), mk("a"), put("a", "one", 10), said("socket:[77]", "RECEIPT"), put("a", "tw", 0), put("a", "x", 2),
		begin("a", 1), end("a", 1), cut("a", 4), mk("s"), putSynced("s", "sync"), said("socket:[78]", "a, bc"),
		rename("s", "t"), remove("a"), begin(".", 2),
	}
	var times []float64
	for i := range got {
		times = append(times, got[i].At)
		got[i].At = 0
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("events: (-want +got)\n%s", diff)
	}
	// What was told in one line ended when it says, what was told in two when the
	// second says.
	wantTimes := []float64{0.5, 1.5, 3.75, 5.5, 6.5, 8.5, 9.5, 11.5, 12.5, 14.5, 16.5, 17.5, 18.5, 19.5, 21.5}
	if diff := cmp.Diff(wantTimes, times); diff != "" {
		t.Errorf("times: (-want +got)\n%s", diff)
	}
}

func TestTracesThatMustBeRefused(t *testing.T) {
	const over = "\n7  +++ exited with 0 +++\n"
	for _, c := range []struct{ name, text string }{
		{"without an end", `7  close(5<'/x'>) = 0`},
		{"an end that did not begin", `7  <... write resumed>) = 3` + over},
		{"a write that was cut short", `7  openat(AT_FDCWD<'/w'>, "'d/a'", O_WRONLY|O_CREAT, 0600) = 5<'/w/d/a'>` +
			"\n" + `7  write(5<'/w/d/a'>, "'one'"..., 300) = 300` + over},
		{"a write to a file that was not opened", `7  write(5<'/w/d/a'>, "'one'", 3) = 3` + over},
		{"a file that is mapped to write", `7  mmap(NULL, 4096, PROT_READ|PROT_WRITE, MAP_SHARED, 5<'/w/d/a'>, 0) = 0x7f00` + over},
		{"a call that is not modeled", `7  fallocate(5<'/w/d/a'>, 0, 0, 4096) = 0` + over},
		{"a link", `7  linkat(AT_FDCWD<'/w'>, "'/w/d/a'", AT_FDCWD<'/w'>, "'/w/d/b'", 0) = 0` + over},
		{"a file that leaves the folder", `7  renameat(AT_FDCWD<'/w'>, "'d/a'", AT_FDCWD<'/w'>, "'a'") = 0` + over},
		{"garbage", "hello" + over},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got, err := Read(strings.NewReader(lines(c.text)), "/w/d"); err == nil {
				t.Errorf("got %v, want an error", got)
			}
		})
	}
}

// A real program under a real strace: what it wrote and synced is there.
func TestTraceOfAProgram(t *testing.T) {
	if _, err := exec.LookPath("strace"); err != nil {
		t.Skip("strace is missing: apt-get install strace")
	}
	dir := t.TempDir()
	root, trace := filepath.Join(dir, "root"), filepath.Join(dir, "trace")
	script := "mkdir root; printf synced > root/a; sync root/a; printf lost > root/b"
	args := append(Command(trace), "sh", "-c", script)
	cmd := exec.CommandContext(t.Context(), args[0], args[1:]...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		if strings.Contains(string(out), "ptrace") {
			t.Skipf("strace may not trace here: %s", out)
		}
		t.Fatalf("%v: %s", err, out)
	}
	events, err := Load(t.Context(), trace, root)
	if err != nil {
		t.Fatal(err)
	}
	for mode, want := range map[Mode]map[string]string{Journal: {"a": "synced"}, Strict: {}} {
		got := left(t, mode, events, 1)
		delete(got, "b") // a name behind the last sync: there or not
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%v: left: (-want +got)\n%s", mode, diff)
		}
	}
}
