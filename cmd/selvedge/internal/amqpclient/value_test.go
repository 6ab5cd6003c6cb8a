package amqpclient

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
)

func TestNextReadsEveryWidth(t *testing.T) {
	for name, c := range map[string]struct {
		in   []byte
		want value
	}{
		"null":               {[]byte{0x40}, value{code: 0x40}},
		"true":               {[]byte{0x41}, value{code: 0x41, num: 1}},
		"uint of no byte":    {[]byte{0x43}, value{code: 0x43}},
		"uint of one byte":   {[]byte{0x52, 7}, value{code: 0x52, num: 7, bytes: []byte{7}}},
		"uint":               {[]byte{0x70, 0, 0, 1, 2}, value{code: 0x70, num: 258, bytes: []byte{0, 0, 1, 2}}},
		"ulong":              {[]byte{0x80, 0, 0, 0, 0, 0, 0, 1, 2}, value{code: 0x80, num: 258, bytes: []byte{0, 0, 0, 0, 0, 0, 1, 2}}},
		"uuid":               {append([]byte{0x98}, make([]byte, 16)...), value{code: 0x98, bytes: make([]byte, 16)}},
		"short string":       {[]byte{0xa1, 2, 'h', 'i'}, value{code: 0xa1, bytes: []byte("hi")}},
		"long string":        {[]byte{0xb1, 0, 0, 0, 2, 'h', 'i'}, value{code: 0xb1, bytes: []byte("hi")}},
		"empty list":         {[]byte{0x45}, value{code: 0x45}},
		"short list":         {[]byte{0xc0, 3, 2, 0x40, 0x41}, value{code: 0xc0, count: 2, bytes: []byte{0x40, 0x41}}},
		"long list":          {[]byte{0xd0, 0, 0, 0, 5, 0, 0, 0, 1, 0x40}, value{code: 0xd0, count: 1, bytes: []byte{0x40}}},
		"described":          {[]byte{0, 0x53, 0x24, 0x45}, value{code: 0x45, described: true, descriptor: 0x24}},
		"array of no widths": {[]byte{0xe0, 2, 9, 0x41}, value{code: 0xe0, count: 9, bytes: []byte{0x41}}},
	} {
		t.Run(name, func(t *testing.T) {
			got, rest, err := next(append(c.in, 0xff))
			if err != nil || len(rest) != 1 {
				t.Fatalf("got the rest %x and the error %v, want ff and none", rest, err)
			}
			if diff := cmp.Diff(c.want, got, cmp.AllowUnexported(value{}), cmp.Transformer("bytes", func(b []byte) string { return string(b) })); diff != "" {
				t.Errorf("value (-want +got):\n%s", diff)
			}
		})
	}
}

func TestNextRefusesWhatIsCutOff(t *testing.T) {
	for name, in := range map[string][]byte{
		"nothing":                        {},
		"no such type":                   {0x30},
		"a number":                       {0x70, 0, 0},
		"a string":                       {0xa1, 3, 'h', 'i'},
		"a length":                       {0xb1, 0, 0},
		"a list without a count":         {0xc0, 0},
		"a list with more than it holds": {0xc0, 2, 200, 0x40},
		"a descriptor":                   {0, 0x53},
		"a descriptor that is described": {0, 0, 0x53, 1, 0x53, 2, 0x40},
	} {
		t.Run(name, func(t *testing.T) {
			if v, _, err := next(in); !errors.Is(err, ErrMalformed) {
				t.Errorf("got %v and the error %v, want %v", v, err, ErrMalformed)
			}
		})
	}
}

func TestFrameReader(t *testing.T) {
	e := frame(nil, typeAMQP, descClose)
	whole := e.done(0, []byte("payload"))
	beat := []byte{0, 0, 0, 8, 2, 0, 0, 0}
	r := newFrameReader(bytes.NewReader(append(bytes.Clone(beat), whole...)), 100)
	if f, err := r.next(); err != nil || !f.empty {
		t.Errorf("got %v and the error %v, want a heart-beat", f, err)
	}
	f, err := r.next()
	if err != nil || f.body.descriptor != descClose || string(f.payload) != "payload" {
		t.Errorf("got %v and the error %v, want close with its payload", f, err)
	}
	if _, err := r.next(); !errors.Is(err, io.EOF) {
		t.Errorf("got %v, want %v", err, io.EOF)
	}
	for name, c := range map[string]struct {
		in   []byte
		want error
	}{
		"cut off in the header":         {whole[:5], io.ErrUnexpectedEOF},
		"cut off in the body":           {whole[:12], io.ErrUnexpectedEOF},
		"longer than allowed":           {[]byte{0, 0, 1, 0, 2, 0, 0, 0}, ErrMalformed},
		"shorter than its header":       {[]byte{0, 0, 0, 7, 2, 0, 0, 0}, ErrMalformed},
		"a body that begins behind it":  {[]byte{0, 0, 0, 8, 9, 0, 0, 0}, ErrMalformed},
		"a body without a performative": {[]byte{0, 0, 0, 9, 2, 0, 0, 0, 0x40}, ErrMalformed},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := newFrameReader(bytes.NewReader(c.in), 100).next(); !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
		})
	}
}

func TestParseMessage(t *testing.T) {
	again := []byte{0, 0x53, descHeader, 0xc0, 7, 5, 0x40, 0x40, 0x40, 0x40, 0x52, 2}
	data := func(s string) []byte { return append([]byte{0, 0x53, descData, codeBin8, byte(len(s))}, s...) }
	for name, c := range map[string]struct {
		in          []byte
		body        string
		redelivered bool
	}{
		"one data section":         {NewTemplate(true).encode(nil, []byte("hi")), "hi", false},
		"several data sections":    {bytes.Join([][]byte{data("a"), data("b"), data("c")}, nil), "abc", false},
		"a text":                   {[]byte{0, 0x53, descValue, codeStr8, 2, 'h', 'i'}, "hi", false},
		"delivered before":         {append(bytes.Clone(again), data("hi")...), "hi", true},
		"sections without meaning": {append([]byte{0, 0x53, 0x72, 0xc1, 1, 0}, data("hi")...), "hi", false},
	} {
		t.Run(name, func(t *testing.T) {
			body, redelivered, err := parseMessage(c.in, nil)
			if err != nil || string(body) != c.body || redelivered != c.redelivered {
				t.Errorf("got %q, %v and the error %v, want %q, %v", body, redelivered, err, c.body, c.redelivered)
			}
		})
	}
}

// FuzzFrame reads bytes as they come and one by one: what is found is the same, and
// within the limit.
func FuzzFrame(f *testing.F) {
	e := frame(nil, typeAMQP, descTransfer)
	e.uint(0)
	e.uint(1)
	f.Add(e.done(2, NewTemplate(true).encode(nil, []byte("hi"))))
	f.Add([]byte{0, 0, 0, 8, 2, 0, 0, 0})
	f.Fuzz(func(t *testing.T, in []byte) {
		whole := readFrames(t, bytes.NewReader(in))
		single := readFrames(t, iotest.OneByteReader(bytes.NewReader(in)))
		if !slices.Equal(whole, single) {
			t.Errorf("at once:\n%q\nbyte by byte:\n%q", whole, single)
		}
	})
}

// readFrames describes the frames of a stream, and how it ends.
func readFrames(t *testing.T, in io.Reader) (all []string) {
	t.Helper()
	const most = 1000
	r := newFrameReader(in, most)
	for {
		frame, err := r.next()
		if err != nil {
			return append(all, err.Error())
		}
		if cap(r.buf) > most || len(frame.payload) > most {
			t.Fatalf("got a frame of %d bytes and a payload of %d, want at most %d", cap(r.buf), len(frame.payload), most)
		}
		var fields [10]value
		err = frame.body.fields(fields[:])
		body, found, failed := parseMessage(frame.payload, nil)
		all = append(all, fmt.Sprint(frame.typ, frame.empty, err, string(frame.payload), string(body), found, failed, outcome(frame.body)))
	}
}
