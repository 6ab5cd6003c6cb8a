package stompclient

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
)

func TestReaderNext(t *testing.T) {
	type frame struct{ Command, Subscription, Body string }
	big := strings.Repeat("x", 3*readBuffer)
	for name, c := range map[string]struct {
		in   string
		want []frame
		err  error
	}{
		"an empty stream ends in order":                {in: "", err: io.EOF},
		"heart-beats before a frame are skipped":       {in: "\n\r\n\nRECEIPT\nreceipt-id:7\n\n\x00", want: []frame{{Command: "RECEIPT"}}, err: io.EOF},
		"a body with its length may hold NULs":         {in: "MESSAGE\nsubscription:a\ncontent-length:3\n\na\x00b\x00", want: []frame{{"MESSAGE", "a", "a\x00b"}}, err: io.EOF},
		"a body without length ends at the NUL":        {in: "MESSAGE\nsubscription:a\n\nabc\x00\nMESSAGE\n\n\x00", want: []frame{{"MESSAGE", "a", "abc"}, {Command: "MESSAGE"}}, err: io.EOF},
		"lines may end in CR LF":                       {in: "MESSAGE\r\nsubscription:a\r\n\r\nabc\x00\r\n", want: []frame{{"MESSAGE", "a", "abc"}}, err: io.EOF},
		"the first of two equal headers counts":        {in: "MESSAGE\nsubscription:a\nsubscription:b\n\n\x00", want: []frame{{Command: "MESSAGE", Subscription: "a"}}, err: io.EOF},
		"a body larger than the buffer":                {in: "MESSAGE\ncontent-length:196608\n\n" + big + "\x00", want: []frame{{Command: "MESSAGE", Body: big}}, err: io.EOF},
		"a body without length larger than the buffer": {in: "MESSAGE\n\n" + big + "\x00", want: []frame{{Command: "MESSAGE", Body: big}}, err: io.EOF},
		"a body over the limit":                        {in: "MESSAGE\ncontent-length:200001\n\n", err: ErrMalformed},
		"a body without length over the limit":         {in: "MESSAGE\n\n" + big + big, err: ErrMalformed},
		"a negative length":                            {in: "MESSAGE\ncontent-length:-1\n\n\x00", err: ErrMalformed},
		"no NUL where the length ends":                 {in: "MESSAGE\ncontent-length:1\n\nabc\x00", err: ErrMalformed},
		"a header without a colon":                     {in: "MESSAGE\nsubscription\n\n\x00", err: ErrMalformed},
		"a line without an end":                        {in: strings.Repeat("M", readBuffer+1), err: ErrMalformed},
		"too many headers":                             {in: "MESSAGE\n" + strings.Repeat("a:b\n", maxHead/3+1) + "\n\x00", err: ErrMalformed},
		"the stream ends in a command":                 {in: "MESS", err: io.ErrUnexpectedEOF},
		"the stream ends in the headers":               {in: "MESSAGE\na:b\n", err: io.ErrUnexpectedEOF},
		"the stream ends in the body":                  {in: "MESSAGE\ncontent-length:3\n\na", err: io.ErrUnexpectedEOF},
	} {
		t.Run(name, func(t *testing.T) {
			r := NewReader(strings.NewReader(c.in), 200_000)
			var got []frame
			for {
				f, err := r.Next()
				if err != nil {
					if !errors.Is(err, c.err) {
						t.Errorf("got the error %v, want %v", err, c.err)
					}
					break
				}
				got = append(got, frame{string(f.Command), string(f.Get("subscription")), string(f.Body)})
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("frames (-want +got):\n%s", diff)
			}
		})
	}
}

func TestEscapesAreUndone(t *testing.T) {
	const text = "a:b\\c\r\nd"
	b := appendEscaped(nil, text)
	if got, want := string(b), `a\cb\\c\r\nd`; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := unescape(b); got != text {
		t.Errorf("got %q, want %q", got, text)
	}
}

// FuzzReader reads bytes as they come and one by one: what is found is the same, and
// within the limits.
func FuzzReader(f *testing.F) {
	f.Add([]byte("MESSAGE\nsubscription:a\ncontent-length:3\n\na\x00b\x00\nRECEIPT\nreceipt-id:1\n\n\x00"))
	f.Add([]byte("ERROR\r\nmessage:no\\cgood\r\n\r\nbecause\x00"))
	f.Add([]byte("\n\n\nMESSAGE\ncontent-length:99999999999999999999\n\n"))
	f.Add([]byte("MESSAGE\na:1\na:2\n\nbody\x00\n\nMESSAGE\n:\n\n\x00"))
	f.Fuzz(func(t *testing.T, in []byte) {
		whole := readFrames(t, bytes.NewReader(in))
		single := readFrames(t, iotest.OneByteReader(bytes.NewReader(in)))
		if diff := cmp.Diff(whole, single); diff != "" {
			t.Errorf("(-at once +byte by byte):\n%s", diff)
		}
	})
}

// readFrames describes the frames of a stream, and how it ends.
func readFrames(t *testing.T, in io.Reader) (all []string) {
	t.Helper()
	r := NewReader(in, 1000)
	for {
		frame, err := r.Next()
		if err != nil {
			return append(all, err.Error())
		}
		if len(frame.Body) > 1000 || len(frame.head) > maxHead {
			t.Fatalf("got a body of %d bytes and headers of %d, want at most 1000 and %d", len(frame.Body), len(frame.head), maxHead)
		}
		one := string(frame.Command)
		frame.Each(func(name, value []byte) {
			one += "\n" + string(name) + ":" + string(value)
			if first := frame.Get(string(name)); first == nil {
				t.Fatalf("got no header %q, want the first of that name", name)
			}
			if text := unescape(value); unescape(appendEscaped(nil, text)) != text {
				t.Fatalf("got %q escaped as %q, which says something else", text, appendEscaped(nil, text))
			}
		})
		all = append(all, one+"\n\n"+string(frame.Body))
	}
}
