package disk

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

func (t *reader) add(e Event) {
	e.At = t.now
	t.events = append(t.events, e)
}

// begin takes the beginning of a call in, which shows its arguments.
func (t *reader) begin(c *call) error {
	args := parse(strings.TrimSuffix(c.text, ")"))
	d := fd(args[0])
	switch c.name {
	case "close": // at once: another thread may get the number before the end is told
		delete(t.files, d.number)
	case "fsync", "fdatasync":
		if path, ok := t.below(d.path); ok {
			t.syncs++
			c.id = t.syncs
			t.add(Event{Kind: SyncBegin, Path: path, ID: c.id})
		}
	case "write", "writev":
		if strings.HasPrefix(d.path, "socket:") {
			data, err := payload(c.name, args)
			if err != nil {
				return err
			}
			t.add(Event{Kind: Said, Path: d.path, Data: data})
		}
	}
	return nil
}

// payload returns the bytes of a write.
func payload(name string, args []string) ([]byte, error) {
	if len(args) < 2 {
		return nil, fmt.Errorf("%w: %s with %d arguments", errTrace, name, len(args))
	}
	if !strings.HasSuffix(name, "v") {
		return quoted(args[1])
	}
	var data []byte
	for _, part := range strings.Split(args[1], "iov_base=")[1:] {
		text, _, _ := strings.Cut(part, ", iov_len")
		b, err := quoted(text)
		if err != nil {
			return nil, err
		}
		data = append(data, b...)
	}
	return data, nil
}

// end takes the end of a call in: its effect.
func (t *reader) end(c call) error {
	text, value, ok := result(c.text)
	if !ok {
		return nil // it failed: no effect
	}
	args := parse(text)
	switch c.name {
	case "openat":
		return t.open(args, value)
	case "write", "writev", "pwrite64":
		return t.write(c.name, args, value)
	case "ftruncate":
		if path, ok := t.below(fd(args[0]).path); ok {
			return t.resize(path, args[1])
		}
	case "fsync", "fdatasync":
		if path, ok := t.below(fd(args[0]).path); ok {
			t.add(Event{Kind: SyncEnd, Path: path, ID: c.id})
		}
	case "lseek":
		if f := t.files[fd(args[0]).number]; f != nil {
			at, err := strconv.ParseInt(value, 10, 64)
			f.offset = at
			return err
		}
	case "mkdirat", "unlinkat":
		return t.entry(c.name, args)
	case "renameat", "renameat2":
		return t.rename(args)
	case "close":
	case "dup", "dup2", "dup3":
		if f := t.files[fd(args[0]).number]; f != nil {
			t.files[fd(value).number] = f
		}
	case "mmap":
		return t.mmap(args)
	default:
		return t.unknown(c.name, text)
	}
	return nil
}

// open takes a descriptor in, and a new file.
func (t *reader) open(args []string, value string) error {
	if len(args) < 3 {
		return fmt.Errorf("%w: openat with %d arguments", errTrace, len(args))
	}
	path, ok, err := t.at(args[0], args[1])
	if err != nil || !ok {
		return err
	}
	flags := strings.Split(args[2], "|")
	has := func(flag string) bool { return slices.Contains(flags, flag) }
	_, known := t.sizes[path]
	if has("O_TRUNC") || has("O_CREAT") && !known {
		t.sizes[path] = 0
		t.add(Event{Kind: Make, Path: path})
	}
	t.files[fd(value).number] = &file{path: path, synced: has("O_SYNC") || has("O_DSYNC"), append: has("O_APPEND")}
	return nil
}

func (t *reader) write(name string, args []string, value string) error {
	d := fd(args[0])
	path, ok := t.below(d.path)
	f := t.files[d.number]
	if !ok {
		return nil // a socket, a pipe, a file elsewhere
	}
	if f == nil {
		return fmt.Errorf("%w: a write to %q, which was not opened", errTrace, path)
	}
	data, err := payload(name, args)
	if err != nil {
		return err
	}
	n, err := strconv.Atoi(value)
	if err != nil || n > len(data) {
		return fmt.Errorf("%w: %s of %d bytes wrote %q", errTrace, name, len(data), value)
	}
	at := f.offset
	switch {
	case name == "pwrite64":
		if at, err = strconv.ParseInt(args[3], 10, 64); err != nil {
			return err
		}
	case f.append:
		at = t.sizes[path]
	}
	if name != "pwrite64" {
		f.offset = at + int64(n)
	}
	t.sizes[path] = max(t.sizes[path], at+int64(n))
	t.add(Event{Kind: Write, Path: path, Data: data[:n], Offset: at, Synced: f.synced})
	return nil
}

func (t *reader) resize(path, length string) error {
	n, err := strconv.ParseInt(length, 10, 64)
	t.sizes[path] = n
	t.add(Event{Kind: Cut, Path: path, Offset: n})
	return err
}

func (t *reader) entry(name string, args []string) error {
	path, ok, err := t.at(args[0], args[1])
	if err != nil || !ok {
		return err
	}
	if name == "mkdirat" {
		t.add(Event{Kind: Folder, Path: path})
		return nil
	}
	delete(t.sizes, path)
	t.add(Event{Kind: Remove, Path: path})
	return nil
}

func (t *reader) rename(args []string) error {
	if len(args) < 4 {
		return fmt.Errorf("%w: rename with %d arguments", errTrace, len(args))
	}
	from, ok, err := t.at(args[0], args[1])
	to, ok2, err2 := t.at(args[2], args[3])
	switch {
	case err != nil:
		return err
	case err2 != nil:
		return err2
	case ok != ok2:
		return fmt.Errorf("%w: a file moved over the edge of the folder", errTrace)
	case !ok:
		return nil
	}
	for path, size := range t.sizes {
		if rest, below := strings.CutPrefix(path, from); below && (rest == "" || rest[0] == '/') {
			delete(t.sizes, path)
			t.sizes[to+rest] = size
		}
	}
	t.add(Event{Kind: Rename, Path: from, To: to})
	return nil
}

// mmap refuses what writes to files without a system call.
func (t *reader) mmap(args []string) error {
	if len(args) < 5 || !strings.Contains(args[2], "PROT_WRITE") || !strings.Contains(args[3], "MAP_SHARED") {
		return nil
	}
	if _, ok := t.below(fd(args[4]).path); ok {
		return fmt.Errorf("%w: a file is written by way of memory, which is not modeled", errTrace)
	}
	return nil
}

// unknown refuses calls that the model has no idea of, if they concern the root.
func (t *reader) unknown(name, text string) error {
	for _, arg := range parse(text) {
		path := fd(arg).path
		if b, err := quoted(arg); err == nil && strings.HasPrefix(arg, `"`) {
			path = string(b)
		}
		if _, ok := t.below(path); ok {
			return fmt.Errorf("%w: %s is not modeled", errTrace, name)
		}
	}
	return nil
}
