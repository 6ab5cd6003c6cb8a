package harness

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// PID returns the id of the node's process.
func (n *Node) PID() int { return n.cmd.Process.Pid }

// Memory returns the resident memory of the node's process in bytes, now and at
// its highest since the process began.
func (n *Node) Memory() (now, highest int64, err error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", n.PID()))
	if err != nil {
		return 0, 0, err
	}
	for line := range strings.Lines(string(b)) {
		key, value, _ := strings.Cut(line, ":")
		kib, _ := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
		switch key {
		case "VmRSS":
			now = kib << 10
		case "VmHWM":
			highest = kib << 10
		}
	}
	if highest == 0 {
		return 0, 0, fmt.Errorf("memory of node %s: nothing in /proc/%d/status", n.Name, n.PID())
	}
	return now, highest, nil
}

// tick is the unit in which the kernel tells processor time, on every Linux.
const tick = time.Second / 100

// CPU returns the processor time that the node's process has used.
func (n *Node) CPU() (time.Duration, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", n.PID()))
	if err != nil {
		return 0, err
	}
	// The name of the program stands in brackets and may hold anything; user and
	// system time are fields 14 and 15, counted from 1. [proc(5)]
	fields := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	const user, system = 14 - 3, 15 - 3
	if len(fields) <= system {
		return 0, fmt.Errorf("processor time of node %s: got %d fields", n.Name, len(fields))
	}
	u, errUser := strconv.ParseInt(fields[user], 10, 64)
	s, errSystem := strconv.ParseInt(fields[system], 10, 64)
	return time.Duration(u+s) * tick, errors.Join(errUser, errSystem)
}

// Written returns the bytes that the node's process has made the kernel write to
// disks: whole pages, each time that one was changed since it was last written, and
// without what the file system writes for itself. [proc(5), write_bytes]
func (n *Node) Written() (int64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/io", n.PID()))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(b)) {
		if value, ok := strings.CutPrefix(line, "write_bytes: "); ok {
			return strconv.ParseInt(strings.TrimSpace(value), 10, 64)
		}
	}
	return 0, fmt.Errorf("writes of node %s: nothing in /proc/%d/io", n.Name, n.PID())
}

// Descriptors returns how many files and sockets the node's process has open.
func (n *Node) Descriptors() (int, error) {
	list, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", n.PID()))
	return len(list), err
}

// Stored returns the bytes of the files in the node's data folder.
func (n *Node) Stored() (bytes int64, err error) {
	err = filepath.WalkDir(n.Data(), func(_ string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // removed while we look
		}
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			bytes += info.Size()
		} else if errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
		return err
	})
	return bytes, err
}

// Logged returns the lines of the node's log that contain one of the texts, from
// the offset on, and the offset of its end.
func (n *Node) Logged(from int64, texts ...string) (lines []string, end int64, err error) {
	b, err := os.ReadFile(n.logFile())
	if err != nil {
		return nil, 0, err
	}
	b = b[:bytes.LastIndexByte(b, '\n')+1] // a line that is being written comes next time
	end = int64(len(b))
	for line := range bytes.Lines(b[min(from, end):]) {
		for _, text := range texts {
			if bytes.Contains(line, []byte(text)) {
				lines = append(lines, strings.TrimSpace(string(line)))
				break
			}
		}
	}
	return lines, end, nil
}
