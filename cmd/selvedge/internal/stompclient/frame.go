package stompclient

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
)

// Limits of a frame that is read.
const (
	readBuffer     = 64 << 10
	maxHead        = 64 << 10
	defaultMaxBody = 128 << 20
)

// ErrMalformed is the error of bytes that are no STOMP frame.
var ErrMalformed = errors.New("malformed frame")

// field is one header line, by its bounds in Frame.head.
type field struct{ name, colon, end int }

// Frame is a frame that was read. It and its slices are valid until the next
// frame is read.
type Frame struct {
	Command []byte
	Body    []byte

	head   []byte
	fields []field
}

// Get returns the value of the first header of that name as it stands on the
// wire, escapes included, or nil.
func (f *Frame) Get(name string) []byte {
	for _, h := range f.fields {
		if string(f.head[h.name:h.colon]) == name {
			return f.head[h.colon+1 : h.end]
		}
	}
	return nil
}

// Each calls do for every header in the order of the wire.
func (f *Frame) Each(do func(name, value []byte)) {
	for _, h := range f.fields {
		do(f.head[h.name:h.colon], f.head[h.colon+1:h.end])
	}
}

// Reader reads frames.
type Reader struct {
	in      *bufio.Reader
	maxBody int
	frame   Frame
	body    []byte // reused for bodies that do not fit the read buffer
	peeked  int    // bytes of in that the last frame's body still uses
}

// NewReader returns a reader of in that refuses bodies over maxBody bytes;
// 0 means 128 MiB.
func NewReader(in io.Reader, maxBody int) *Reader {
	if maxBody <= 0 {
		maxBody = defaultMaxBody
	}
	return &Reader{in: bufio.NewReaderSize(in, readBuffer), maxBody: maxBody}
}

// Next reads the next frame, heart-beats skipped. At the end of the stream
// between two frames it returns io.EOF.
func (r *Reader) Next() (*Frame, error) {
	if _, err := r.in.Discard(r.peeked); err != nil {
		return nil, err
	}
	r.peeked = 0
	f := &r.frame
	f.head, f.fields, f.Body = f.head[:0], f.fields[:0], nil
	command, err := r.command()
	if err != nil {
		return nil, err
	}
	if err := r.headers(); err != nil {
		return nil, unexpected(err)
	}
	f.Command = f.head[:command]
	if err := r.readBody(); err != nil {
		return nil, unexpected(err)
	}
	return f, nil
}

// command reads up to the end of the command and returns its length.
func (r *Reader) command() (int, error) {
	for {
		line, err := r.line()
		if err != nil {
			return 0, err
		}
		if len(line) > 0 {
			r.frame.head = append(r.frame.head, line...)
			return len(line), nil
		}
	}
}

// headers reads the lines up to the empty one.
func (r *Reader) headers() error {
	f := &r.frame
	for {
		line, err := r.line()
		if err != nil {
			return err
		}
		if len(line) == 0 {
			return nil
		}
		colon := bytes.IndexByte(line, ':')
		if colon < 0 {
			return fmt.Errorf("%w: header without a colon", ErrMalformed)
		}
		start := len(f.head)
		if start+len(line) > maxHead {
			return fmt.Errorf("%w: more than %d bytes of headers", ErrMalformed, maxHead)
		}
		f.head = append(f.head, line...)
		f.fields = append(f.fields, field{name: start, colon: start + colon, end: len(f.head)})
	}
}

// line returns the next line without its end.
func (r *Reader) line() ([]byte, error) {
	line, err := r.in.ReadSlice('\n')
	switch {
	case errors.Is(err, bufio.ErrBufferFull):
		return nil, fmt.Errorf("%w: a line over %d bytes", ErrMalformed, readBuffer)
	case err != nil && len(line) > 0:
		return nil, unexpected(err)
	case err != nil:
		return nil, err
	}
	line = line[:len(line)-1]
	return bytes.TrimSuffix(line, []byte{'\r'}), nil
}

// readBody reads the body and the NUL behind it. [STOMP 1.2 Body]
func (r *Reader) readBody() error {
	length := r.frame.Get("content-length")
	if length == nil {
		return r.bodyToNUL()
	}
	n, err := strconv.Atoi(string(length))
	if err != nil || n < 0 {
		return fmt.Errorf("%w: content-length %q", ErrMalformed, length)
	}
	if n > r.maxBody {
		return fmt.Errorf("%w: a body of %d bytes, at most %d are accepted", ErrMalformed, n, r.maxBody)
	}
	var whole []byte
	if n < r.in.Size() {
		if whole, err = r.in.Peek(n + 1); err != nil {
			return err
		}
		r.peeked = n + 1
	} else {
		if cap(r.body) <= n {
			r.body = make([]byte, n+1)
		}
		whole = r.body[:n+1]
		if _, err := io.ReadFull(r.in, whole); err != nil {
			return err
		}
	}
	if whole[n] != 0 {
		return fmt.Errorf("%w: no NUL behind the body", ErrMalformed)
	}
	r.frame.Body = whole[:n]
	return nil
}

func (r *Reader) bodyToNUL() error {
	r.body = r.body[:0]
	for {
		part, err := r.in.ReadSlice(0)
		if len(r.body)+len(part) > r.maxBody+1 {
			return fmt.Errorf("%w: a body of more than %d bytes", ErrMalformed, r.maxBody)
		}
		r.body = append(r.body, part...)
		switch {
		case err == nil:
			r.frame.Body = r.body[:len(r.body)-1]
			return nil
		case !errors.Is(err, bufio.ErrBufferFull):
			return err
		}
	}
}

// unexpected turns the end of the stream within a frame into an error of its
// own.
func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
