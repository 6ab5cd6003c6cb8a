package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// bed is this machine with the binary that is measured.
type bed struct {
	dir, binary string
	begun       int // clusters, each of which has a folder
	words       string
}

// openBed builds the binary. Its folder, and those of the nodes, are on the disk of
// TMPDIR.
func openBed(ctx context.Context) (*bed, error) {
	dir, err := os.MkdirTemp("", "selvedge-figures-")
	if err != nil {
		return nil, err
	}
	b := &bed{dir: dir, binary: filepath.Join(dir, "selvedge")}
	system, err := fileSystem(dir)
	if err != nil {
		return nil, errors.Join(err, b.close())
	}
	build := exec.CommandContext(ctx, "go", "build", "-o", b.binary, "./cmd/selvedge")
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		return nil, errors.Join(fmt.Errorf("build: %w", err), b.close())
	}
	commit, err := exec.CommandContext(ctx, "git", "describe", "--always", "--dirty").Output()
	if err != nil {
		commit = []byte("unknown")
	}
	b.words = fmt.Sprintf("Commit %s, %s, %d cores (%s) that nodes and clients share, data on %s, `sync: always`.",
		strings.TrimSpace(string(commit)), runtime.Version(), runtime.NumCPU(), processor(), system)
	return b, nil
}

func (b *bed) describe() string { return b.words }

func (b *bed) close() error { return os.RemoveAll(b.dir) }

// fileSystems are the numbers of statfs(2) of those that are met most.
var fileSystems = map[int64]string{0xEF53: "ext4", 0x58465342: "XFS", 0x9123683E: "btrfs", 0x794C7630: "overlayfs", 0x6969: "NFS"}

// fileSystem names where a folder lies. Memory is refused: a disk is measured too.
func fileSystem(dir string) (string, error) {
	const tmpfs, ramfs = 0x01021994, 0x858458F6
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		return "", err
	}
	if st.Type == tmpfs || st.Type == ramfs {
		return "", fmt.Errorf("%s lies in memory, and the disk is to be measured too: name a folder of a disk by TMPDIR", dir)
	}
	if name, ok := fileSystems[st.Type]; ok {
		return name, nil
	}
	return fmt.Sprintf("a file system %#x", st.Type), nil
}

// processor is the model of the first core.
func processor() string {
	b, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return err.Error()
	}
	for line := range strings.Lines(string(b)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return runtime.GOARCH
}

// tick is the unit of processor times in /proc: USER_HZ.
const tick = 10 * time.Millisecond

// machineTime is what the cores did so far.
type machineTime struct {
	at           time.Time
	busy, stolen time.Duration
}

// readMachine reads the first line of /proc/stat.
func readMachine() (machineTime, error) {
	now := time.Now()
	b, err := os.ReadFile("/proc/stat")
	if err != nil {
		return machineTime{}, err
	}
	line, _, _ := strings.Cut(string(b), "\n")
	fields := strings.Fields(line)
	if len(fields) < 9 {
		return machineTime{}, fmt.Errorf("/proc/stat: got %q, want the times of the cores", line)
	}
	const user, nice, system, steal = 1, 2, 3, 8 // the fields
	m := machineTime{at: now}
	for _, i := range []int{user, nice, system, steal} {
		v, err := strconv.ParseInt(fields[i], 10, 64)
		if err != nil {
			return machineTime{}, fmt.Errorf("/proc/stat: %w", err)
		}
		if i == steal {
			m.stolen += time.Duration(v) * tick
		} else {
			m.busy += time.Duration(v) * tick
		}
	}
	return m, nil
}

// since returns how many cores others used since before, and how many the host kept,
// when those who are measured used own.
func (m machineTime) since(before machineTime, own time.Duration) (others, stolen float64) {
	span := m.at.Sub(before.at).Seconds()
	return max(0, (m.busy-before.busy-own).Seconds()/span), (m.stolen - before.stolen).Seconds() / span
}
