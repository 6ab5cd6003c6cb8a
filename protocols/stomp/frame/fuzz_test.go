package frame

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
)

// found is what a reader found in a source.
type found struct {
	frames []string // complete ones, as describe writes them, pieces put together
	begun  string   // the beginning of a last one that came in pieces
	err    string   // why the reading ended, empty at the end of the source
}

// readFound reads a source to its end and holds every frame to the limits.
func readFound(t *testing.T, src io.Reader, v Version, limits Limits) found {
	t.Helper()
	var pool Pool
	var all found
	r := NewReader(src, &pool, limits)
	r.SetVersion(v)
	announced, came := -1, 0 // the length of the frame that comes in pieces, what has come
	for {
		b, err := r.Read()
		if err != nil {
			if e, ok := errors.AsType[*SyntaxError](err); ok {
				all.err = fmt.Sprintf("%s, too big %v", e.Reason, e.TooBig)
			} else if !errors.Is(err, io.EOF) {
				all.err = err.Error()
			}
			return all
		}
		if len(b.Frames) == 0 || len(b.Frames) > maxBatch {
			t.Fatalf("got a batch of %d frames, want 1 to %d", len(b.Frames), maxBatch)
		}
		for i := range b.Frames {
			f := &b.Frames[i]
			checkLimits(t, f, limits)
			if f.Continued != (all.begun != "") {
				t.Fatalf("got a piece: %v, want one behind %q", f.Continued, all.begun)
			}
			if !f.Continued {
				all.begun, announced, came = describeHead(f), -1, 0
				if f.HasLength {
					announced = f.Length
				}
			}
			all.begun += string(f.Body)
			if came += len(f.Body); came > limits.Body || announced >= 0 && came > announced {
				t.Fatalf("got %d octets of body, %d were announced, want at most %d", came, announced, limits.Body)
			}
			if f.More {
				continue
			}
			if announced >= 0 && came != announced {
				t.Fatalf("got a body of %d octets, want the %d of its content-length", came, announced)
			}
			all.frames, all.begun = append(all.frames, all.begun), ""
		}
		pool.Put(b)
	}
}

// describeHead writes what a frame says but for its body.
func describeHead(f *Frame) string {
	var s strings.Builder
	fmt.Fprintf(&s, "%q counted %v\n", f.Name(), f.HasLength)
	for i := range f.Len() {
		key, value := f.Header(i)
		fmt.Fprintf(&s, "%q: %q\n", key, value)
	}
	return s.String()
}

// checkLimits finds what a frame has beyond the limits.
func checkLimits(t *testing.T, f *Frame, l Limits) {
	t.Helper()
	if len(f.Name()) > maxCommand || f.Len() > l.HeaderCount || f.HeaderSize() > 4*l.HeaderSize {
		t.Fatalf("got a command of %d octets and %d headers of %d, want at most %d, %d and %d",
			len(f.Name()), f.Len(), f.HeaderSize(), maxCommand, l.HeaderCount, 4*l.HeaderSize)
	}
	for i := range f.Len() {
		if key, value := f.Header(i); len(key) == 0 || len(key)+len(value) > l.HeaderSize {
			t.Fatalf("got the header %q: %q, want a name and at most %d octets", key, value, l.HeaderSize)
		}
	}
	most := l.Body
	if l.Whole > 0 && !f.More && !f.Continued {
		most = l.Whole
	}
	if len(f.Body) > most || f.Continued && (f.Len() > 0 || f.Command != Send) {
		t.Fatalf("got %d octets of body in %s, want at most %d", len(f.Body), f.Command, most)
	}
}

// encodeAgain returns a frame as the encoders write it; ok is false for one that the
// version cannot write as it was read.
func encodeAgain(f *Frame, v Version) (b []byte, ok bool) {
	if f.Command == Unknown || !f.Command.escaped(v) {
		return nil, false
	}
	b = AppendCommand(nil, f.Command)
	for i := range f.Len() {
		key, value := f.Header(i)
		b = AppendHeader(b, v, key, value)
	}
	return AppendBody(b, f.Body), true
}

// checkRoundTrip reads each frame of a source again from what the encoders make of it.
func checkRoundTrip(t *testing.T, in []byte, v Version) {
	t.Helper()
	var pool Pool
	r := NewReader(bytes.NewReader(in), &pool, testLimits)
	r.SetVersion(v)
	wide := testLimits
	wide.HeaderSize *= 2 // escapes take room
	for {
		b, err := r.Read()
		if err != nil {
			return
		}
		for i := range b.Frames {
			f := &b.Frames[i]
			text, ok := encodeAgain(f, v)
			if !ok {
				continue
			}
			want := found{frames: []string{describeHead(f) + string(f.Body)}}
			if got := readFound(t, bytes.NewReader(text), v, wide); !cmp.Equal(want, got, cmp.AllowUnexported(found{})) {
				t.Fatalf("encoded again as %q:\ngot %q\nwant %q", text, got, want)
			}
			if first, rest := Cut(text); !bytes.Equal(first, text) || len(rest) > 0 {
				t.Fatalf("got %q cut off %q, want all of it", first, text)
			}
		}
		pool.Put(b)
	}
}

// allocated returns how many octets of memory f takes, used again or not.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// drain reads a source to its end and gives everything back.
func drain(src io.Reader, v Version, limits Limits) {
	var pool Pool
	r := NewReader(src, &pool, limits)
	r.SetVersion(v)
	for {
		b, err := r.Read()
		if err != nil {
			return
		}
		pool.Put(b)
	}
}

// seeds are the frames of the golden file.
func seeds(f *testing.F) {
	f.Helper()
	for _, c := range readCases(f) {
		f.Add([]byte(c.in), uint8(c.version), uint16(3))
	}
}

// FuzzReader reads octets in two ways: what is found may not depend on how they
// arrive, keeps to the limits, survives the encoders, and costs memory by what came,
// not by what was announced.
func FuzzReader(f *testing.F) {
	seeds(f)
	f.Add([]byte("SEND\ndestination:/queue/a\\cb\nreceipt:1\ncontent-length:3\n\na\x00b\x00\n\r\nSUBSCRIBE\r\nid:\\\\\r\n\r\n\x00\n"), uint8(2), uint16(40))
	f.Add([]byte("SEND\ncontent-length:99\n\n"), uint8(1), uint16(9))
	f.Add([]byte("SEND\ncontent-length: 2 \n\n\x01\x00\x00"), uint8(2), uint16(0))
	f.Add([]byte("SEND\ncontent-length:2\\r\n\n\x01\x00\x00"), uint8(2), uint16(0))
	f.Fuzz(func(t *testing.T, in []byte, version uint8, split uint16) {
		v := Version(version % 3)
		i := int(split) % (len(in) + 1)
		whole := readFound(t, bytes.NewReader(in), v, testLimits)
		parts := readFound(t, io.MultiReader(bytes.NewReader(in[:i]), iotest.OneByteReader(bytes.NewReader(in[i:]))), v, testLimits)
		if diff := cmp.Diff(whole, parts, cmp.AllowUnexported(found{})); diff != "" {
			t.Errorf("split at %d (-in one piece +split):\n%s", i, diff)
		}
		if whole, parts := readAll(bytes.NewReader(in), v, testLimits), readAll(iotest.OneByteReader(bytes.NewReader(in)), v, testLimits); whole != parts {
			t.Errorf("in one piece:\n%s\noctet by octet:\n%s", whole, parts)
		}
		checkRoundTrip(t, in, v)
		got := allocated(func() { drain(bytes.NewReader(in), v, Limits{HeaderCount: 100, HeaderSize: 8 << 10, Body: 100 << 20}) })
		if most := uint64(1<<20 + 300*len(in)); got > most {
			t.Errorf("got %d octets of memory for %d of input, want at most %d", got, len(in), most)
		}
	})
}

// FuzzPieces does so with bodies that come in pieces. How much of a body that breaks
// off was handed out depends on how it arrives; nothing else does.
func FuzzPieces(f *testing.F) {
	seeds(f)
	f.Add([]byte("SEND\ncontent-length:24\n\n\x00123456789\x00123456789\x00\n1\x00\x00ACK\n\n\x00"), uint8(2), uint16(3))
	f.Add([]byte("SEND\n\n"+strings.Repeat("x", 70)+"\x00SEND\n\n\x00"), uint8(2), uint16(50))
	f.Add([]byte("SEND\ncontent-length:70\n\n"+strings.Repeat("x", 71)+"\x00"), uint8(0), uint16(50))
	f.Fuzz(func(t *testing.T, in []byte, version uint8, split uint16) {
		v := Version(version % 3)
		i := int(split) % (len(in) + 1)
		whole := readFound(t, bytes.NewReader(in), v, pieceLimits)
		parts := readFound(t, io.MultiReader(bytes.NewReader(in[:i]), iotest.OneByteReader(bytes.NewReader(in[i:]))), v, pieceLimits)
		if !slices.Equal(whole.frames, parts.frames) || whole.err != parts.err {
			t.Errorf("in one piece:\n%q\nsplit at %d:\n%q", whole, i, parts)
		}
		if a, b := whole.begun, parts.begun; a != "" && b != "" && !strings.HasPrefix(a, b) && !strings.HasPrefix(b, a) {
			t.Errorf("in one piece:\n%q\nsplit at %d:\n%q", a, i, b)
		}
		all := readFound(t, bytes.NewReader(in), v, Limits{HeaderCount: pieceLimits.HeaderCount, HeaderSize: pieceLimits.HeaderSize, Body: pieceLimits.Body})
		if n := len(whole.frames); len(all.frames) < n || !slices.Equal(all.frames[:n], whole.frames) {
			t.Errorf("in pieces:\n%q\nas whole frames:\n%q", whole, all)
		}
		got := allocated(func() {
			drain(bytes.NewReader(in), v, Limits{HeaderCount: 100, HeaderSize: 8 << 10, Body: 100 << 20, Whole: 1 << 20})
		})
		if most := uint64(1<<20 + 300*len(in)); got > most {
			t.Errorf("got %d octets of memory for %d of input, want at most %d", got, len(in), most)
		}
	})
}
